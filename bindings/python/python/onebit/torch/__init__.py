"""Training 1-bit networks in PyTorch: the networks, weights and stages of the Rust trainer.

``Network`` makes a module of a graph, ``nn`` has the layers for modules of your own, which ``trace`` makes graphs of; ``load`` and ``save`` share the trainer's
files.
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError("onebit.torch needs PyTorch, which is not installed: `pip install onebit[torch]`") from None

from . import nn
from .groups import param_groups
from .loss import distillation
from .network import Network
from .nn import set_stage
from .proof import observe, packable
from .tracing import trace
from .weights import load, save

__all__ = ["Network", "distillation", "load", "nn", "observe", "packable", "param_groups", "save", "set_stage", "trace"]
