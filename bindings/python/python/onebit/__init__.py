"""1-bit convolutional networks: run at popcount speed, described, imported, packed.

``load`` opens a packed model; ``graph`` describes a network; ``onebit.torch`` trains it in PyTorch; ``pack`` makes the file and
proves that it computes the same.
"""

from . import data
from ._native import (
    DisagreementError,
    FormatError,
    Graph,
    Model,
    Node,
    Param,
    Prediction,
    __version__,
    architectures,
    graph,
    import_checkpoint,
    import_onnx,
    inspect,
    load,
    pack_weights,
    verify,
)
from ._pack import Report, pack

__all__ = [
    "DisagreementError",
    "FormatError",
    "Graph",
    "Model",
    "Node",
    "Param",
    "Prediction",
    "Report",
    "__version__",
    "architectures",
    "data",
    "graph",
    "import_checkpoint",
    "import_onnx",
    "inspect",
    "load",
    "pack",
    "pack_weights",
    "verify",
]


def _load_with(content: bytes, threads: int) -> Model:
    """What unpickling a model calls."""
    return load(content, threads=threads)
