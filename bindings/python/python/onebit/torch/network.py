"""A graph as a module of PyTorch."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from onebit import Graph, Node

from .estimators import ActivationEstimator, ApproxSign, Clip, WeightEstimator
from .hyper import HyperHead, HyperTrunk
from .nn import (
    BinaryConv2d,
    BinaryLinear,
    ChannelShuffle,
    OffsetRectifier,
    OffsetSign,
    RSign,
    Sign,
    StaticRectifier,
    set_stage,
)

_PREFIXES = ("module.", "_orig_mod.")
_COUNTER = ".num_batches_tracked"
# They read a vector, or a map flattened with channels innermost.
_OF_VECTORS = ("linear", "linear_bin", "hyper_head")


class _Step(NamedTuple):
    """One operation: where its module is, which values it reads, which nothing reads after it."""

    name: str
    path: Tuple[str, ...]
    inputs: Tuple[int, ...]
    last_read: Tuple[int, ...]
    of_vector: bool
    is_sign: bool


class Network(nn.Module):
    """The network that a graph describes.

    Its convolutions, batch normalizations and linear layers are PyTorch's, the rest is of ``onebit.torch.nn``. The names of its
    state dict are those of our files, so that both programs train the same weights.

    Weights are drawn from PyTorch's generator with the Rust trainer's distributions, not its numbers: uniform within
    1/sqrt(fan-in) for convolutions and linear layers (PyTorch's own), no biases, slopes 1 and 0.25, thresholds and shifts 0, and
    hyper functions that give 0, so that a DyBNN computes at first what a ReActNet with the same weights does, bit for bit.

    Shapes: float32 [N, C, H, W], normalised as ``graph.mean`` and ``graph.std`` say, to logits [N, classes]. Images of another
    size than the graph's are taken where every layer fits.

    Args:
        activation: What stands for the derivative of the activations' signs.
        weight: What stands for the derivative of the weights' signs.

    Raises:
        ValueError: The graph is one of a packed file, which cannot be trained.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        activation: ActivationEstimator = ApproxSign(),
        weight: WeightEstimator = Clip(),
    ) -> None:
        super().__init__()
        if not isinstance(graph, Graph):
            raise TypeError(f"the graph is of type {type(graph).__name__}, expected onebit.Graph: `onebit.graph` makes one")
        self.graph = graph
        nodes = graph.nodes
        places = {node.name: place for place, node in enumerate(nodes)}
        last_reader = {source: node.name for node in nodes for source in node.inputs}
        self._channels = graph.input_shape[0]
        steps: List[_Step] = []
        for node in nodes[1:]:
            inputs = tuple(places[source] for source in node.inputs)
            done = tuple(places[source] for source in set(node.inputs) if last_reader[source] == node.name)
            path = tuple(node.name.split("."))
            steps.append(_Step(node.name, path, inputs, done, node.op in _OF_VECTORS, node.op == "sign"))
        self._steps = tuple(steps)
        for node, step in zip(nodes[1:], steps):
            _place(self, step.path, _module(node, nodes[step.inputs[0]].shape, activation, weight))

    def forward(self, images: Tensor) -> Tensor:
        return self._run(images, None)

    def set_stage(self, stage: str) -> None:
        """``"binary_activations"``, ``"binary"`` (where it begins) or ``"float"``: see :func:`onebit.torch.set_stage`."""
        set_stage(self, stage)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As of any module. Prefixes of DistributedDataParallel and ``torch.compile`` are taken off the names, and counters of
        batch normalization, which our files do not have, may be missing.

        Also raises ValueError where two names are the same without their prefixes.
        """
        own = {name for name in self.state_dict()}
        # Without the record of versions that a state dict of PyTorch carries, missing counters start at 0.
        named: Dict[str, Tuple[str, Any]] = {}
        for name, value in state_dict.items():
            bare = _bare(name, own)
            if bare in named:
                raise ValueError(f"`{named[bare][0]}` and `{name}` are both the tensor `{bare}` of the network; keep one of them")
            named[bare] = name, value
        return super().load_state_dict({bare: value for bare, (_, value) in named.items()}, *args, **kwargs)

    def tensors(self) -> Dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
        """Copies of its weights as our files hold them: float32, under the names of the graph, without counters.

        Raises TypeError for a network that was moved to another type.
        """
        tensors = {}
        for name, value in self.state_dict().items():
            if name.endswith(_COUNTER):
                continue
            if value.dtype != torch.float32:
                raise TypeError(f"`{name}` is {value.dtype}, expected torch.float32: `net.float()` makes it so")
            copied = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            tensors[name] = copied.numpy()
        return tensors

    def _run(self, images: Tensor, signs: Optional[Dict[str, Tensor]]) -> Tensor:
        """The logits; ``signs`` receives those of each sign node."""
        self._check(images)
        values: List[Optional[Tensor]] = [images]
        for step in self._steps:
            module: Any = self
            for part in step.path:
                module = module._modules[part]
            inputs = [values[place] for place in step.inputs]
            if step.of_vector:
                inputs = [_flat(inputs[0])]
            value: Tensor = module(*inputs)
            if step.is_sign and signs is not None:
                signs[step.name] = value > 0
            # Every value is a map, so that any layer can read it.
            values.append(value if value.dim() == 4 else value[:, :, None, None])
            for place in step.last_read:
                values[place] = None
        logits = values[-1]
        assert logits is not None
        return logits.flatten(1)

    def _check(self, images: Tensor) -> None:
        if not isinstance(images, Tensor):
            raise TypeError(f"the images are of type {type(images).__name__}, expected torch.Tensor [N, C, H, W]")
        # Half precisions may come from autocast around the network; float64 is what NumPy makes, and fits a network of float64.
        too_wide = images.dtype == torch.float64 and any(p.dtype != torch.float64 for p in self.parameters())
        if too_wide or not images.is_floating_point():
            raise TypeError(f"the images are {images.dtype}, expected torch.float32 [N, C, H, W], normalised")
        if images.dim() != 4 or images.shape[1] != self._channels:
            raise ValueError(f"the images have the shape {list(images.shape)}, expected [N, {self._channels}, H, W]")


def without_wrappers(module: nn.Module) -> nn.Module:
    """The module in what DistributedDataParallel, DataParallel and ``torch.compile`` make of it."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif type(module).__module__.startswith("torch._dynamo."):
            module = module._modules["_orig_mod"]  # type: ignore[assignment]
        else:
            return module


class _Add(nn.Module):
    """Sum of two maps."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class _Concat(nn.Module):
    """Channels of the first map, then those of the second."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], 1)


class _Folder(nn.Module):
    """Nodes whose names begin alike."""


def same_network(a: Graph, b: Graph) -> bool:
    """Whether two graphs have the same nodes, whatever their classes are called."""
    return bool(json.loads(a.to_json())["nodes"] == json.loads(b.to_json())["nodes"])


def _place(root: nn.Module, path: Tuple[str, ...], module: nn.Module) -> None:
    """Puts a module where its name says. Names of nodes may be those of methods, such as `type`, which is why modules are not
    attributes here; only that of the attribute which every module sets cannot be had.
    """
    if "training" in path:
        raise ValueError(f"the node `{'.'.join(path)}` has the name of an attribute of PyTorch's modules, `training`")
    for part in path[:-1]:
        root = root._modules.setdefault(part, _Folder())  # type: ignore[assignment]
    folder = root._modules.get(path[-1])
    if folder is not None:
        module._modules.update(folder._modules)
    root._modules[path[-1]] = module


def _module(
    node: Node, read: Tuple[int, int, int], activation: ActivationEstimator, weight: WeightEstimator
) -> nn.Module:
    """The module of a node whose first input has the shape ``read``."""
    options: Dict[str, Any] = node.options
    channels, height, width = read
    if node.op in ("conv", "conv_bin"):
        out, kernel = options["out_channels"], options["kernel"]
        window = {name: options[name] for name in ("stride", "padding", "groups")}
        if node.op == "conv":
            return nn.Conv2d(channels, out, kernel, bias=False, **window)
        kind = {name: options[name] for name in ("pad", "scale")}
        return BinaryConv2d(channels, out, kernel, estimator=weight, **window, **kind)
    if node.op == "linear":
        linear = nn.Linear(channels * height * width, options["out_features"])
        nn.init.zeros_(linear.bias)
        return linear
    if node.op == "linear_bin":
        features = channels * height * width
        return BinaryLinear(features, options["out_features"], scale=options["scale"], estimator=weight)
    if node.op == "batch_norm":
        return nn.BatchNorm2d(channels, eps=options["eps"])
    if node.op == "sign":
        if options["threshold"] == "zero":
            return Sign(estimator=activation)
        of_kind = RSign if options["threshold"] == "static" else OffsetSign
        return of_kind(channels, estimator=activation)
    if node.op == "prelu":
        if options["shift"] == "dynamic":
            return OffsetRectifier(channels, options["slope"])
        return StaticRectifier(channels, options["slope"], options["shift"] == "static")
    if node.op == "hyper_trunk":
        hidden, kind = options["hidden"], {name: options[name] for name in ("statistics", "precision")}
        return HyperTrunk(channels, hidden, **kind)
    if node.op == "hyper_head":
        limit = None if options["range"] == "raw" else options["range"]["sigmoid"]["lambda"]
        return HyperHead(channels, options["outputs"], limit=limit, precision=options["precision"])
    if node.op == "avg_pool":
        return nn.AvgPool2d(options["kernel"], options["stride"])
    if node.op == "max_pool":
        return nn.MaxPool2d(options["kernel"], options["stride"], options["padding"])
    if node.op == "global_avg_pool":
        return nn.AdaptiveAvgPool2d(1)
    if node.op == "channel_shuffle":
        return ChannelShuffle(options["groups"])
    if node.op == "add":
        return _Add()
    if node.op == "concat":
        return _Concat()
    raise ValueError(f"the node `{node.name}` is of the kind {node.op}, which only packed files have: it cannot be trained")


def _flat(x: Optional[Tensor]) -> Tensor:
    """[N, C, H, W] as [N, H * W * C], the order of our files."""
    assert x is not None
    return x.permute(0, 2, 3, 1).flatten(1)


def _bare(name: str, own: "set[str]") -> str:
    """A name without the prefixes of wrappers."""
    bare = name
    while bare not in own:
        prefix = next((prefix for prefix in _PREFIXES if bare.startswith(prefix)), None)
        if prefix is None:
            return name
        bare = bare[len(prefix) :]
    return bare
