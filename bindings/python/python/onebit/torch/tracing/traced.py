"""A module of your own with its graph."""

from __future__ import annotations

import copy
import json
from typing import Any, Dict, Iterable, Iterator, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import Tensor, fx, nn

from onebit import Graph

from ..hyper import without_autocast
from ..network import without_wrappers
from .graph import Array, Shape
from .reader import Reader
from .record import TRACED, DoesNotRun, Tracer, first_sentence

# Images that are observed at once.
_BATCH = 32


def trace(
    module: nn.Module,
    input: Sequence[int],
    classes: Union[int, Iterable[str], None] = None,
    mean: Optional[Sequence[float]] = None,
    std: Optional[Sequence[float]] = None,
    arch: str = "custom",
) -> Graph:
    """The graph of a module of your own, as torch.fx finds it.

    The module is made of layers of ``onebit.torch.nn`` and of PyTorch's Conv2d, BatchNorm1d and 2d, Linear, ReLU, LeakyReLU,
    PReLU, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d(1), ChannelShuffle, Flatten, Dropout, Identity, of Hardtanh in front of a
    sign, and of sums, ``cat`` of channels, means over the map, reshaping to vectors, and the functions of those layers that
    have no weights. It stays as it is.

    Nodes have the qualified names of the layers, so that tensors are called as in the module's state dict; what would be a
    second node of a name is numbered. Where signs go into a max pooling, the file has the sign behind it, which is the same.
    Biases of convolutions do not stand in the graph: packing folds them.

    Args:
        input: Channels, height and width of an image.
        classes: Names of the classes, or their number, or None for numbers.
        mean, std: Of each channel: a pixel of 0 to 255 enters the network as ``(pixel / 255 - mean) / std``. 0 and 1 if left
            out: the pixels that ``ToTensor`` of torchvision gives.
        arch: A name for the network: letters, digits, ``.``, ``_``, ``-``.

    Raises:
        ValueError: What cannot be expressed, all of it with places; or a module that does not run on such images, or whose
            ``forward`` depends on their values or number; or classes that are not one for each logit.
        TypeError: Weights that are not float32.
    """
    return Traced(module, input, classes, mean, std, arch).graph


class Traced:
    """A module of your own as it is now, on the CPU and evaluating, with its graph: what ``onebit.pack`` packs.

    Arguments and errors are those of :func:`trace`.
    """

    def __init__(
        self,
        module: nn.Module,
        input: Sequence[int],
        classes: Union[int, Iterable[str], None] = None,
        mean: Optional[Sequence[float]] = None,
        std: Optional[Sequence[float]] = None,
        arch: str = "custom",
    ) -> None:
        shape = [int(extent) for extent in input]
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"input is {tuple(input)}, expected channels, height and width")
        self._module = _copy(without_wrappers(module)).cpu().eval()
        for layer in self._module.modules():
            if type(layer) is nn.SyncBatchNorm:
                # Which is this one when it evaluates, but for a GPU only.
                layer.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
        _check_float32(self._module)
        tracer = Tracer(torch.zeros(TRACED, *shape))
        before = torch.get_rng_state()
        try:
            recorded = tracer.recorded(self._module)
        except DoesNotRun as error:
            problems = Reader(tracer, tracer.graph).problems
            cause = "the module cannot be expressed: " if problems else ""
            raise ValueError(cause + "; ".join([*problems, str(error)])) from error
        draws = not torch.equal(before, torch.get_rng_state())
        reader = Reader(tracer, recorded)
        nodes = reader.finished()
        if draws:
            raise ValueError("the module draws random numbers in its forward, which a file cannot hold")
        description: Dict[str, Any] = {
            "arch": arch,
            "normalization": {
                "mean": [0.0] * shape[0] if mean is None else [float(value) for value in mean],
                "std": [1.0] * shape[0] if std is None else [float(value) for value in std],
            },
            "layout": "oihw",
            "sign_of_zero": "minus",
            "nodes": [{"name": node.name, "op": node.op, "inputs": [source.name for source in node.inputs]} for node in nodes],
        }
        if classes is not None:
            names = range(classes) if isinstance(classes, int) else classes
            description["classes"] = [str(name) for name in names]
        self.description = json.dumps(description)
        """JSON of the network as docs/bring-your-own.md describes it."""
        self.graph = Graph.from_json(self.description)
        """The same as a graph."""
        self._tensors = {f"{node.name}.{suffix}": values for node in nodes for suffix, values in node.tensors.items()}
        self._signs = {node.source: (node.name, node.shape) for node in nodes if node.is_sign}
        self._observer = Observer(tracer.root, reader.graph, self._signs)
        self._check_other_number(torch.zeros(TRACED + 1, *shape))

    def _check_other_number(self, images: Tensor) -> None:
        """Refuses a module that only computes as many images as were traced."""
        try:
            with torch.no_grad(), without_autocast(images):
                found = len(self._module(images))
        except RuntimeError as error:
            raise ValueError(f"the module computes {TRACED} images and not {len(images)}: {first_sentence(error)}") from None
        if found != len(images):
            raise ValueError(f"the module gives {found} rows of logits for {len(images)} images")

    def tensors(self) -> Dict[str, Array]:
        """Its weights by the names of the description, float32, in PyTorch's order of axes; also biases of convolutions."""
        return dict(self._tensors)

    def observations(self, images: Any) -> Iterator[Tuple[Any, Any, Dict[str, Any]]]:
        """Images, logits and signs as arrays, some images at a time: logits are what the module itself computes, float32
        [N, classes], signs are True for +1, bool [N, C, H, W] for each sign node.

        Raises TypeError for images that are not float32.
        """
        for start in range(0, len(images), _BATCH):
            part = images[start : start + _BATCH]
            # Copies: a module may change what it is given.
            given = torch.tensor(part) if isinstance(part, np.ndarray) else torch.as_tensor(part).detach().cpu().clone()
            if given.dtype != torch.float32:
                raise TypeError(f"the images are {given.dtype}, expected torch.float32 [N, C, H, W], normalised")
            array = given.numpy().copy()
            with torch.no_grad(), without_autocast(given):
                logits = self._module(given.clone())
                signs = self._observer.signs_of(given)
            yield array, logits.flatten(1).numpy(), {name: values.numpy() for name, values in signs.items()}


class Observer(fx.Interpreter):
    """Runs recorded calls and keeps the signs among their values, by the names and shapes of ``wanted``."""

    def __init__(self, root: nn.Module, graph: fx.Graph, wanted: Dict[str, Tuple[str, Shape]]) -> None:
        super().__init__(fx.GraphModule(root, graph))
        self._wanted = wanted
        self._signs: Dict[str, Tensor] = {}

    def signs_of(self, images: Tensor) -> Dict[str, Tensor]:
        self._signs = {}
        self.run(images)
        return self._signs

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.name in self._wanted:
            name, shape = self._wanted[n.name]
            self._signs[name] = (value > 0).reshape(len(value), *shape)
        return value


def _copy(module: nn.Module) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(f"the module is of type {type(module).__name__}, expected torch.nn.Module")
    try:
        return copy.deepcopy(module)
    except RuntimeError as error:
        advice = "remove_weight_norm, remove_spectral_norm or prune.remove of torch.nn.utils make weights of such layers plain"
        raise ValueError(f"the module cannot be copied ({first_sentence(error)}): {advice}") from None


def _check_float32(module: nn.Module) -> None:
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float32:
            raise TypeError(f"`{name}` is {value.dtype}, expected torch.float32: `module.float()` makes it so")
