"""Modules of your own as graphs.

torch.fx records what a module's ``forward`` calls while it computes two images; each call becomes a node of the graph or is
refused, by what it is and not by what it is named. Shapes are those of the two images, so that code which looks at them runs
as it always does; only what depends on the number of images or on their values cannot be recorded.
"""

from .traced import Traced, trace

__all__ = ["Traced", "trace"]
