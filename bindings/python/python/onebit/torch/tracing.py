"""Modules of your own as graphs.

torch.fx records what a module's ``forward`` calls while it computes two images; each call becomes a node of the graph or is
refused, by what it is and not by what it is named. Shapes are those of the two images, so that code which looks at them runs
as it always does; only what depends on the number of images or on their values cannot be recorded.
"""

from __future__ import annotations

import copy
import inspect
import json
import math
import operator
import os
import re
import sys
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from onebit import Graph

from . import nn as ours
from .hyper import HyperHead, HyperTrunk, without_autocast
from .network import without_wrappers

_Shape = Tuple[int, int, int]
_Array = np.ndarray[Any, np.dtype[np.float32]]

# Images that are traced: more than one, so that merging them with what they hold is seen.
_TRACED = 2
# Images that are observed at once.
_BATCH = 32
_LARGEST_WINDOW = 31

_HERE = os.path.dirname(os.path.abspath(__file__))
_LIBRARIES = (_HERE + os.sep, os.path.dirname(os.path.abspath(torch.__file__)) + os.sep)
# Classes of PyTorch whose forward is looked into, if they have one.
_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)
# What computes in a class that we know; a subclass that changes one of them is another layer.
_COMPUTING = ("forward", "_conv_forward", "_multiplied", "_signs", "_rectified")

# The values stay, in their order.
_VIEWS = ("flatten", "reshape", "view", "squeeze", "unsqueeze")
_SAME = ("contiguous", "clone", "detach", "dropout", "dropout2d", "float", "to")

_FUNCTIONS: Dict[Any, str] = {
    function: name
    for name, functions in {
        "add": (operator.add, operator.iadd, torch.add),
        "relu": (F.relu, F.relu_, torch.relu, torch.relu_),
        "leaky_relu": (F.leaky_relu, F.leaky_relu_),
        "prelu": (F.prelu, torch.prelu),
        "max_pool2d": (F.max_pool2d, torch.max_pool2d, F.max_pool2d_with_indices),
        "avg_pool2d": (F.avg_pool2d,),
        "adaptive_avg_pool2d": (F.adaptive_avg_pool2d,),
        "mean": (torch.mean,),
        "cat": tuple(getattr(torch, name) for name in ("cat", "concat", "concatenate") if hasattr(torch, name)),
        "flatten": (torch.flatten,),
        "reshape": (torch.reshape,),
        "squeeze": (torch.squeeze,),
        "unsqueeze": (torch.unsqueeze,),
        "clone": (torch.clone,),
        "dropout": (F.dropout, torch.dropout),
        "dropout2d": (F.dropout2d,),
        "hardtanh": (F.hardtanh, F.hardtanh_),
        "clamp": (torch.clamp, torch.clip),
        "channel_shuffle": (F.channel_shuffle, torch.channel_shuffle),
        "getitem": (operator.getitem,),
    }.items()
    for function in functions
}
_METHODS: Dict[str, str] = {
    **{name: name for name in ("add", "relu", "prelu", "mean", "clamp", *_SAME, *_VIEWS)},
    **{"add_": "add", "relu_": "relu", "clamp_": "clamp", "clip": "clamp", "clip_": "clamp"},
    **{"squeeze_": "squeeze", "unsqueeze_": "unsqueeze"},
}
# Names of arguments in their order.
_ARGUMENTS: Dict[str, Tuple[str, ...]] = {
    "add": ("input", "other"),
    "leaky_relu": ("input", "negative_slope"),
    "prelu": ("input", "weight"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": (
        "input",
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    ),
    "adaptive_avg_pool2d": ("input", "output_size"),
    "mean": ("input", "dim"),
    "cat": ("tensors", "dim"),
    "dropout": ("input", "p", "training"),
    "dropout2d": ("input", "p", "training"),
    "hardtanh": ("input", "min_val", "max_val"),
    "clamp": ("input", "min", "max"),
    "channel_shuffle": ("input", "groups"),
    "getitem": ("input", "index"),
}

_RECTIFIER = "use torch.nn.ReLU, or PReLU or RPReLU of onebit.torch.nn"
_NORM = "use torch.nn.BatchNorm2d"
_LARGER = "a map cannot become larger, classify from the smaller one"
_SIGN = "use onebit.torch.nn.Sign, whose sign of 0 is -1 (torch.sign gives 0)"
_LOGITS = "leave it out, a file gives logits"
_PARTS = "a map cannot be taken apart, use a convolution of the channels that are meant, or pooling"
_PRODUCT = (
    "no map is multiplied, leave squeeze-and-excitation out or use DySign or DyPReLU of onebit.torch.nn, and put factors into "
    "the layer in front"
)
_SUM = "use a sum, or a bias of the layer in front"
_MODULE = "use the module of torch.nn or onebit.torch.nn that has the weights"
# What stands for something that the format does not have, by its name in lower case without `_`.
_INSTEAD: Dict[str, str] = {
    **dict.fromkeys(("relu6", "silu", "gelu", "elu", "selu", "celu", "mish", "rrelu", "glu"), _RECTIFIER),
    **dict.fromkeys(("hardswish", "hardsigmoid", "softplus", "softsign", "threshold", "logsigmoid"), _RECTIFIER),
    **dict.fromkeys(("sigmoid", "exp", "abs", "square", "pow"), _RECTIFIER),
    "tanh": "leave it out in front of a sign at 0, which it does not change, or " + _RECTIFIER,
    **dict.fromkeys(("layernorm", "groupnorm", "instancenorm2d", "localresponsenorm", "rmsnorm", "normalize"), _NORM),
    **dict.fromkeys(("convtranspose2d", "upsample", "interpolate", "pixelshuffle", "upsamplingnearest2d"), _LARGER),
    **dict.fromkeys(("upsamplingbilinear2d", "maxunpool2d", "fold"), _LARGER),
    **dict.fromkeys(("sign", "sgn", "heaviside", "where", "gt", "ge", "lt", "le"), _SIGN),
    **dict.fromkeys(("softmax", "logsoftmax", "softmax2d", "argmax", "topk"), _LOGITS),
    **dict.fromkeys(("chunk", "split", "getitem", "narrow", "select", "unbind", "indexselect"), _PARTS),
    **dict.fromkeys(("mul", "imul", "matmul", "bmm", "einsum", "multiply"), _PRODUCT),
    **dict.fromkeys(("sub", "isub", "neg", "rsub"), _SUM),
    **dict.fromkeys(("div", "truediv", "itruediv"), "multiply the weights of the layer in front"),
    **dict.fromkeys(("conv2d", "linear", "batchnorm", "conv2dfunctional"), _MODULE),
    **dict.fromkeys(("transpose", "permute", "swapaxes", "movedim"), "use onebit.torch.nn.ChannelShuffle to mix channels"),
    **dict.fromkeys(("pad", "zeropad2d", "reflectionpad2d", "constantpad2d"), "use the padding of the layer behind"),
    **dict.fromkeys(("adaptivemaxpool2d", "maxpool1d", "lppool2d", "fractionalmaxpool2d"), "use torch.nn.MaxPool2d"),
    **dict.fromkeys(("conv1d", "conv3d", "lazyconv2d"), "use torch.nn.Conv2d"),
    **dict.fromkeys(("max", "amax", "sum", "std", "var"), "use torch.nn.MaxPool2d or AdaptiveAvgPool2d(1)"),
    "network": "it has a graph already, `onebit.pack` takes it by itself",
    "bilinear": "use torch.nn.Linear",
    **dict.fromkeys(("dataparallel", "distributeddataparallel"), "trace the module inside it"),
}


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
        tracer = _Tracer(torch.zeros(_TRACED, *shape))
        before = torch.get_rng_state()
        recorded = tracer.recorded(self._module)
        draws = not torch.equal(before, torch.get_rng_state())
        reader = _Reader(tracer, recorded)
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
        self._observer = _Observer(tracer.root, reader.graph, self._signs)
        self._check_other_number(torch.zeros(_TRACED + 1, *shape))

    def _check_other_number(self, images: Tensor) -> None:
        """Refuses a module that only computes as many images as were traced."""
        try:
            with torch.no_grad(), without_autocast(images):
                found = len(self._module(images))
        except RuntimeError as error:
            raise ValueError(f"the module computes {_TRACED} images and not {len(images)}: {_first_sentence(error)}") from None
        if found != len(images):
            raise ValueError(f"the module gives {found} rows of logits for {len(images)} images")

    def tensors(self) -> Dict[str, _Array]:
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


class _Place(NamedTuple):
    """The module whose forward calls something, and the line of it."""

    module: str
    line: str

    def __str__(self) -> str:
        inside = f" in `{self.module}`" if self.module else ""
        return inside + (f" ({self.line})" if self.line else "")


class _Whole(nn.Module):
    """Calls the traced module with one argument, whatever others its forward has defaults for."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Any) -> Any:
        return self.module(images)


class _Proxy(fx.Proxy):
    """A recorded value that knows its shape: a forward that looks at it need not be guessed."""

    tracer: _Tracer

    @property
    def shape(self) -> Any:
        value = self.tracer.value(self.node)
        if not isinstance(value, Tensor) or value.dim() == 0:
            return fx.proxy.Attribute(self, "shape")
        return (self.tracer.create_proxy("call_method", "size", (self, 0), {}), *value.shape[1:])

    def size(self, dim: Optional[int] = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return int(self.tracer.value(self.node).dim())

    def is_floating_point(self) -> bool:
        return bool(self.tracer.value(self.node).is_floating_point())

    @property
    def ndim(self) -> int:
        return self.dim()

    @property
    def dtype(self) -> Any:
        return self.tracer.value(self.node).dtype

    @property
    def device(self) -> Any:
        return self.tracer.value(self.node).device

    def __iadd__(self, other: Any) -> Any:
        # fx would record a sum, and others that hold the tensor would not see it change.
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __iter__(self) -> Any:
        value = self.tracer.value(self.node)
        if isinstance(value, (tuple, list)):
            return iter([operator.getitem(self, place) for place in range(len(value))])
        return super().__iter__()


class _Tracer(fx.Tracer):
    """Records calls, where they stand, and what they compute of ``images``."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self._images = images
        self._values: Dict[fx.Node, Any] = {}
        self.places: Dict[fx.Node, _Place] = {}
        # Earlier nodes whose values a node changes.
        self.changed: Dict[fx.Node, List[fx.Node]] = {}
        self._modules: List[str] = []
        self._failed: Optional[_Place] = None
        self._is_running = False

    def recorded(self, module: nn.Module) -> fx.Graph:
        """The calls of a module. Raises ValueError where they cannot be recorded."""
        _check_one_input(module)
        try:
            with torch.no_grad(), without_autocast(self._images):
                return self.trace(_Whole(module))
        except Exception as error:
            place = self._failed or _Place("", _line(_frames_of(error)))
            text = _first_sentence(error).rstrip(".")
            others: List[str] = []
            if isinstance(error, fx.proxy.TraceError) or "Proxy" in text or "symbolic tracing" in text:
                reason = (
                    "a graph cannot depend on the values of the images or on their number, nor on what torch.fx does not see, "
                    f"make it depend on shapes or settings ({text})"
                )
            elif isinstance(error, NameError) and "submodule" in text:
                reason = "it calls a layer that is none of its submodules, assign it in __init__, lists as torch.nn.ModuleList"
            else:
                reason = f"it does not run on images {list(self._images.shape)}, {type(error).__name__}: {text}"
                # Not least because of a layer that cannot be expressed.
                others = _Reader(self, self.graph).problems
            cause = "the module cannot be expressed: " if others else ""
            raise ValueError(cause + "; ".join([*others, f"the module cannot be traced{place}: {reason}"])) from error

    def has_run(self, node: fx.Node) -> bool:
        """Whether it is known what a node computes; the last of a module that does not run has no value."""
        return node.op in ("get_attr", "output") or node in self._values

    def value(self, node: fx.Node) -> Any:
        """What a node computes of the images."""
        if node.op != "get_attr":
            return self._values[node]
        value: Any = self.root
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return value

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _library_class(m) not in _CONTAINERS

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Dict[str, Any]) -> Any:
        # Weights are constants: what is computed of them alone is not recorded.
        return attr_val

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._is_running:
            return forward(*args, **kwargs)
        self._modules.append(_bare(self.path_of_module(m)))
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:
            self._failed = self._failed or _Place(self._modules[-1], _line([*_frames_of(error), *_callers()]))
            raise
        finally:
            self._modules.pop()

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any) -> fx.Node:
        node = super().create_node(kind, target, args, kwargs, *rest, **more)
        self.places[node] = _Place(self._modules[-1] if self._modules else "", _line(_callers()))
        return node

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any) -> fx.Proxy:
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        node = proxy.node
        if kind == "placeholder":
            self._values[node] = self._images
            return proxy
        read = [value for value in map(self.value, node.all_input_nodes) if isinstance(value, Tensor)]
        versions = [value._version for value in read]
        self._is_running = True
        try:
            self._values[node] = self._run(node)
        finally:
            self._is_running = False
        self.changed[node] = [
            other
            for value, version in zip(read, versions)
            if value._version != version
            for other, held in self._values.items()
            if isinstance(held, Tensor) and held.data_ptr() == value.data_ptr() and held.numel() == value.numel()
        ]
        return proxy

    def _run(self, node: fx.Node) -> Any:
        target: Any = node.target
        args: Any = fx.node.map_arg(node.args, self.value)
        kwargs: Any = fx.node.map_arg(node.kwargs, self.value)
        if node.op == "call_module":
            return self.root.get_submodule(target)(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs)


@dataclass(eq=False)
class _Node:
    """A node of the graph to be."""

    op: Any
    inputs: List[_Node]
    shape: _Shape
    hint: str
    """What it would be called."""
    of_layer: bool
    source: str
    """Name of the fx node that computes its value."""
    tensors: Dict[str, _Array] = field(default_factory=dict)
    name: str = ""

    @property
    def kind(self) -> str:
        return self.op if isinstance(self.op, str) else str(next(iter(self.op)))

    @property
    def is_sign(self) -> bool:
        return self.kind == "sign"


class _Clip(NamedTuple):
    """A Hardtanh that has been passed over, since a sign behind it does not see it."""

    least: float
    most: float
    place: str


class _Value(NamedTuple):
    """The value of an fx node: that of a node of the graph, whose [C, H, W] it may hold in other axes, but in this order."""

    node: _Node
    clip: Optional[_Clip] = None


class _Problem(Exception):
    """What cannot be expressed."""


class _Unknown(Exception):
    """A value that depends on what has been refused."""


class _Reader:
    """Makes nodes of recorded calls, and a list of those that cannot be expressed."""

    def __init__(self, tracer: _Tracer, graph: fx.Graph) -> None:
        self._tracer = tracer
        self.graph = graph
        self._nodes: List[_Node] = []
        self._values: Dict[fx.Node, _Value] = {}
        # Nodes that do not depend on the images, with their values.
        self._constants: Dict[fx.Node, Tensor] = {}
        self.problems: List[str] = []
        for node in graph.nodes:
            self._read(node)

    def finished(self) -> List[_Node]:
        """The nodes that the logits depend on, with their names. Raises ValueError for all that cannot be expressed."""
        if self.problems:
            raise ValueError("the module cannot be expressed: " + "; ".join(self.problems))
        output = next(node for node in self.graph.nodes if node.op == "output").args[0]
        last = self._values[output].node
        nodes = _with_biases(self._nodes, last)
        _name(nodes)
        return nodes

    def _read(self, node: fx.Node) -> None:
        if node.op == "get_attr":
            self._constants[node] = self._tracer.value(node)
            return
        try:
            if node.op == "output":
                self._check_output(node.args[0])
                return
            if not self._tracer.has_run(node):
                if node.op == "call_module":
                    self._reader_of(self._tracer.root.get_submodule(str(node.target)))
                return
            result = self._tracer.value(node)
            if not _holds_tensors(result) or self._is_constant(node, result):
                return
            value = self._value_of(node)
            if not isinstance(result, Tensor) or result.dtype != torch.float32:
                raise _Problem("does not give float32")
            self._values[node] = value
            for changed in self._tracer.changed.get(node, ()):
                self._values[changed] = value
        except _Problem as problem:
            text = f"{self._shown(node)} {problem}"
            if text not in self.problems:
                self.problems.append(text)
        except _Unknown:
            pass

    def _is_constant(self, node: fx.Node, result: Any) -> bool:
        """Whether a call gives what does not depend on the images, or on no more than their shape."""
        if node.op not in ("call_function", "call_method"):
            return False
        read = node.all_input_nodes
        known = [source in self._constants or not _holds_tensors(self._tracer.value(source)) for source in read]
        if isinstance(result, Tensor) and all(known):
            self._constants[node] = result
            return True
        if node.target in ("expand_as", "type_as") and read and read[0] in self._constants:
            self._constants[node] = self._constants[read[0]]
            return True
        return False

    def _value_of(self, node: fx.Node) -> _Value:
        if node.op == "placeholder":
            channels, height, width = self._tracer.value(node).shape[1:]
            op = {"input": {"channels": channels, "height": height, "width": width}}
            return self._emit(node, op, [], (channels, height, width), hint="input")
        if node.op == "call_module":
            layer = self._tracer.root.get_submodule(str(node.target))
            return self._reader_of(layer)(self, node, layer)
        target: Any = node.target
        function = (_METHODS if node.op == "call_method" else _FUNCTIONS).get(target)
        if function is None:
            raise _Problem(_unsupported(_function_name(node)))
        given: Dict[str, Any] = dict(zip(_ARGUMENTS.get(function, ("input",)), node.args))
        given.update(node.kwargs)
        if function in _SAME or function in _VIEWS:
            return self._passed_on(node, function, given)
        read: Callable[[fx.Node, Mapping[str, Any]], _Value] = getattr(self, f"_{function}")
        return read(node, given)

    def _reader_of(self, layer: nn.Module) -> _Read:
        """What reads a layer, if it is one that can be expressed."""
        of_class = _library_class(layer)
        read = _LAYERS.get(of_class)
        if read is None:
            raise _Problem(_unsupported(of_class.__name__))
        own = [
            name
            for name in _COMPUTING
            if getattr(type(layer), name, None) is not getattr(of_class, name, None) or name in vars(layer)
        ]
        if own:
            binary = {nn.Conv2d: "BinaryConv2d", nn.Linear: "BinaryLinear"}.get(of_class)
            advice = f": for binary weights use onebit.torch.nn.{binary}" if binary else ""
            raise _Problem(f"is a {of_class.__name__} with a `{own[0]}` of its own, which is not looked into{advice}")
        if layer._forward_hooks or layer._forward_pre_hooks:
            raise _Problem("has hooks, whose effect is not seen: remove them")
        if isinstance(layer, (ours._BinaryWeights, ours._Threshold)) and layer.stage != "binary":
            raise _Problem(f'is in the stage {layer.stage!r}: `onebit.torch.set_stage(module, "binary")`')
        return read

    # What a node reads.

    def _tensor(self, source: Any) -> Tensor:
        value = self._tracer.value(source)
        assert isinstance(value, Tensor)
        return value

    def _known(self, source: Any) -> _Value:
        if source in self._values:
            return self._values[source]
        if not isinstance(source, fx.Node) or source in self._constants:
            raise _Problem("reads a constant: it must read what depends on the image")
        raise _Unknown

    def _real(self, source: Any) -> _Node:
        """A real value in any view."""
        value = self._known(source)
        _check_unclipped(value)
        if value.node.is_sign:
            raise _Problem(
                f"reads the signs of `{value.node.hint}`: only binary layers and max pooling do, put it in front of the sign"
            )
        return value.node

    def _of_channels(self, source: Any) -> _Node:
        """A real value whose second axis is that of the channels."""
        node = self._real(source)
        self._check_channels(source, node)
        return node

    def _check_channels(self, source: Any, node: _Node) -> None:
        shape = self._tensor(source).shape
        if len(shape) < 2 or shape[1] != node.shape[0]:
            raise _Problem(
                f"has a parameter for each of {list(shape[1:])} values, which is a view of {_extents(node.shape)}: "
                "put it in front of the flattening, with one for each channel"
            )

    def _map(self, source: Any, node: _Node) -> None:
        """Checks that a value is read as the map that it is."""
        shape = tuple(self._tensor(source).shape[1:])
        if shape != node.shape:
            raise _Problem(f"reads {list(shape)}, a view of the map {_extents(node.shape)}: let it read the map itself")

    def _vector(self, source: Any) -> None:
        shape = self._tensor(source).shape
        if len(shape) != 2:
            raise _Problem(f"reads {list(shape[1:])} of an image: put `flatten(1)` in front, so that it reads a vector")

    def _bits(self, source: Any) -> _Node:
        node = self._known(source).node
        if not node.is_sign:
            raise _Problem("reads real values: put Sign, RSign or DySign of onebit.torch.nn directly in front")
        return node

    def _emit(
        self,
        node: fx.Node,
        op: Any,
        inputs: List[_Node],
        shape: _Shape,
        tensors: Optional[Dict[str, Any]] = None,
        hint: Optional[str] = None,
        of_layer: Optional[bool] = None,
    ) -> _Value:
        arrays = {
            suffix: np.array(values.detach().numpy(), dtype=np.float32)
            for suffix, values in (tensors or {}).items()
            if values is not None
        }
        is_layer = node.op == "call_module" if of_layer is None else of_layer
        made = _Node(op, inputs, shape, hint or self._hint(node), is_layer, node.name, arrays)
        self._nodes.append(made)
        return _Value(made)

    def _hint(self, node: fx.Node) -> str:
        if node.op == "call_module":
            path = _bare(str(node.target))
            return path or type(self._tracer.root.get_submodule(str(node.target))).__name__.lower()
        module = self._tracer.places[node].module
        return f"{module}.{_function_name(node)}" if module else _function_name(node)

    def _shown(self, node: fx.Node) -> str:
        if node.op == "output":
            return "the output"
        if node.op == "call_module":
            name = type(self._tracer.root.get_submodule(str(node.target))).__name__
            path = _bare(str(node.target))
            return f"`{path}` ({name})" if path else name
        return f"`{_function_name(node)}`{self._tracer.places[node]}"

    def _result(self, node: fx.Node) -> _Shape:
        channels, height, width = self._tracer.value(node).shape[1:]
        return channels, height, width

    # Convolutions and layers.

    def _conv(self, node: fx.Node, layer: nn.Conv2d) -> _Value:
        if layer.padding_mode != "zeros":
            raise _Problem(f"has padding_mode={layer.padding_mode!r}: only zeros are padded")
        if tuple(layer.dilation) != (1, 1):
            raise _Problem(f"has dilation={tuple(layer.dilation)}: use 1, with a larger kernel or a stride in front")
        kernel = _square("kernel_size", layer.kernel_size)
        stride = _square("stride", layer.stride)
        padding: Any = layer.padding
        if padding == "same":
            if kernel % 2 == 0:
                raise _Problem("has padding='same' of an even kernel, which is more on one side: use an odd kernel")
            padding = kernel // 2
        padding = 0 if padding == "valid" else _square("padding", padding)
        op = {"conv": {"geometry": _geometry(layer.out_channels, kernel, stride, padding, layer.groups)}}
        source = self._argument(node)
        read = self._real_or(source, "use onebit.torch.nn.BinaryConv2d")
        self._map(source, read)
        return self._emit(node, op, [read], self._result(node), {"weight": layer.weight, "bias": layer.bias})

    def _linear(self, node: fx.Node, layer: nn.Linear) -> _Value:
        source = self._argument(node)
        read = self._real_or(source, "use onebit.torch.nn.BinaryLinear")
        self._vector(source)
        out = layer.out_features
        bias = torch.zeros(out) if layer.bias is None else layer.bias
        op = {"linear": {"out_features": out}}
        return self._emit(node, op, [read], (out, 1, 1), {"weight": layer.weight, "bias": bias})

    def _real_or(self, source: Any, advice: str) -> _Node:
        value = self._known(source)
        if value.node.is_sign:
            raise _Problem(f"has real weights and reads the signs of `{value.node.hint}`: {advice}")
        return self._real(source)

    def _binary_conv(self, node: fx.Node, layer: ours.BinaryConv2d) -> _Value:
        kernel, stride = _square("kernel_size", layer.kernel_size), _square("stride", layer.stride)
        padding = _square("padding", layer.padding)
        source = self._argument(node)
        read = self._bits(source)
        self._map(source, read)
        geometry = _geometry(layer.out_channels, kernel, stride, padding, layer.groups)
        op = {"conv_bin": {"geometry": geometry, "pad": layer.pad, "scale": layer.scale_kind}}
        return self._emit(node, op, [read], self._result(node), {"weight": layer.weight, "scale": layer.scale})

    def _binary_linear(self, node: fx.Node, layer: ours.BinaryLinear) -> _Value:
        source = self._argument(node)
        read = self._bits(source)
        self._vector(source)
        op = {"linear_bin": {"out_features": layer.out_features, "scale": layer.scale_kind}}
        tensors = {"weight": layer.weight, "scale": layer.scale}
        return self._emit(node, op, [read], (layer.out_features, 1, 1), tensors)

    # What has parameters for each channel.

    def _batch_norm(self, node: fx.Node, layer: nn.BatchNorm2d) -> _Value:
        if layer.running_mean is None or layer.running_var is None:
            raise _Problem("has no running statistics, so what it gives depends on the batch: use track_running_stats=True")
        read = self._of_channels(self._argument(node))
        channels = layer.num_features
        tensors = {
            "weight": torch.ones(channels) if layer.weight is None else layer.weight,
            "bias": torch.zeros(channels) if layer.bias is None else layer.bias,
            "running_mean": layer.running_mean,
            "running_var": layer.running_var,
        }
        return self._emit(node, {"batch_norm": {"eps": layer.eps}}, [read], read.shape, tensors)

    def _relu(self, node: fx.Node, given: Any) -> _Value:
        source = self._argument(node)
        read = self._real(source)
        return self._emit(node, _prelu("relu"), [read], read.shape)

    def _leaky(self, node: fx.Node, slope: float) -> _Value:
        read = self._real(self._argument(node))
        slopes = torch.full((read.shape[0],), float(slope))
        return self._emit(node, _prelu("negative"), [read], read.shape, {"slope_neg": slopes})

    def _leaky_relu(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        return self._leaky(node, given.get("negative_slope", 0.01))

    def _prelu(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        weight = self._constants.get(given["weight"])
        if weight is None:
            raise _Problem("has slopes that depend on the image: use onebit.torch.nn.DyPReLU")
        return self._slopes(node, weight)

    def _slopes(self, node: fx.Node, weight: Tensor) -> _Value:
        source = self._argument(node)
        read = self._real(source) if weight.numel() == 1 else self._of_channels(source)
        slopes = weight.detach().flatten().expand(read.shape[0])
        return self._emit(node, _prelu("negative"), [read], read.shape, {"slope_neg": slopes})

    def _rectifier(self, node: fx.Node, layer: ours.StaticRectifier) -> _Value:
        read = self._of_channels(self._argument(node))
        op = _prelu(layer.slope, "none" if layer.shift_x is None else "static")
        return self._emit(node, op, [read], read.shape, _rectifying(layer))

    def _moving_rectifier(self, node: fx.Node, layer: ours.DyPReLU) -> _Value:
        source = self._argument(node)
        read = self._of_channels(source)
        self._map(source, read)
        offsets = self._offsets(node, read, layer.hyper)
        return self._emit(node, _prelu(layer.slope, "dynamic"), [read, offsets], read.shape, _rectifying(layer))

    def _offsets(self, node: fx.Node, read: _Node, hyper: nn.Sequential) -> _Node:
        trunk, head = hyper
        assert isinstance(trunk, HyperTrunk) and isinstance(head, HyperHead)
        hidden, outputs = trunk.weight.shape[0], head.weight.shape[0]
        name = self._hint(node) + ".hyper"
        options: Any = {"statistics": trunk.statistics, "hidden": hidden, "precision": trunk.precision}
        weights = {"weight": trunk.weight, "bias": trunk.bias}
        vector = self._emit(node, {"hyper_trunk": options}, [read], (hidden, 1, 1), weights, name + ".trunk").node
        bound: Any = "raw" if head.limit is None else {"sigmoid": {"lambda": head.limit}}
        options = {"outputs": outputs, "range": bound, "precision": head.precision}
        weights = {"weight": head.weight, "bias": head.bias}
        return self._emit(node, {"hyper_head": options}, [vector], (outputs, 1, 1), weights, name + ".head").node

    # Signs.

    def _sign(self, node: fx.Node, layer: ours.Sign) -> _Value:
        read = self._unclipped(self._argument(node), [0.0])
        return self._emit(node, {"sign": {"threshold": "zero"}}, [read], read.shape)

    def _sign_of_channels(self, node: fx.Node, layer: ours.RSign) -> _Value:
        assert layer.threshold is not None
        source = self._argument(node)
        thresholds = layer.threshold.detach()
        read = self._unclipped(source, thresholds.tolist())
        self._check_channels(source, read)
        return self._emit(node, {"sign": {"threshold": "static"}}, [read], read.shape, {"threshold": thresholds})

    def _moving_sign(self, node: fx.Node, layer: ours.DySign) -> _Value:
        source = self._argument(node)
        read = self._of_channels(source)
        self._map(source, read)
        offsets = self._offsets(node, read, layer.hyper)
        tensors = {"threshold": layer.threshold}
        return self._emit(node, {"sign": {"threshold": "dynamic"}}, [read, offsets], read.shape, tensors)

    def _unclipped(self, source: Any, thresholds: List[float]) -> _Node:
        """What a sign reads: a Hardtanh in front of it changes nothing where it leaves both sides of the thresholds."""
        value = self._known(source)
        clip = value.clip
        if clip is None:
            return self._real(source)
        if not all(clip.least <= threshold < clip.most for threshold in thresholds):
            raise _Problem(
                f"has thresholds outside [{clip.least:g}, {clip.most:g}), to which {clip.place} clips: leave that out"
            )
        return value.node

    def _hardtanh(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        return self._clipped(node, given.get("min_val", -1.0), given.get("max_val", 1.0))

    def _clamp(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        least, most = given.get("min"), given.get("max")
        if isinstance(least, fx.Node) or isinstance(most, fx.Node):
            raise _Problem("has bounds that are tensors: use numbers")
        return self._clipped(node, -math.inf if least is None else least, math.inf if most is None else most)

    def _clipped(self, node: fx.Node, least: float, most: float) -> _Value:
        read = self._real(self._argument(node))
        return _Value(read, _Clip(least, most, self._shown(node)))

    # Pooling.

    def _max_pool2d(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        kernel, stride = _window(given)
        padding = _square("padding", given.get("padding", 0))
        if given.get("return_indices"):
            raise _Problem("has return_indices=True: only the values can be used")
        if _square("dilation", given.get("dilation", 1)) != 1:
            raise _Problem(f"has dilation={given['dilation']}: use 1")
        source = self._argument(node)
        value = self._known(source)
        self._map(source, value.node)
        op = {"max_pool": {"kernel": kernel, "stride": stride, "padding": padding}}
        shape = self._result(node)
        if not value.node.is_sign:
            # A maximum of clipped values is the clipped maximum.
            return self._emit(node, op, [value.node], shape)._replace(clip=value.clip)
        # A maximum of signs is the sign of the maximum.
        sign = value.node
        pool = self._emit(node, op, sign.inputs[:1], shape).node
        behind = _Node(sign.op, [pool, *sign.inputs[1:]], shape, sign.hint, sign.of_layer, node.name, sign.tensors)
        self._nodes.append(behind)
        return _Value(behind)

    def _avg_pool2d(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        source = self._argument(node)
        padding: Any = given.get("padding", 0)
        if padding not in (0, (0, 0), [0, 0]):
            raise _Problem(f"has padding={padding}: use 0")
        if given.get("divisor_override") is not None:
            raise _Problem("has a divisor of its own: leave it out")
        size: Any = given["kernel_size"]
        whole = (size, size) if isinstance(size, int) else tuple(size)
        if whole == tuple(self._tensor(source).shape[2:]) and (whole[0] != whole[-1] or whole[0] > _LARGEST_WINDOW):
            return self._whole(node)
        kernel, stride = _window(given)
        read = self._real(source)
        self._map(source, read)
        return self._emit(node, {"avg_pool": {"kernel": kernel, "stride": stride}}, [read], self._result(node))

    def _adaptive_avg_pool2d(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        size: Any = given["output_size"]
        if size not in (1, (1, 1), [1, 1]):
            raise _Problem(f"has the output size {size}: use 1, or torch.nn.AvgPool2d, or nothing where it changes no map")
        return self._whole(node)

    def _mean(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        source = self._argument(node)
        axes: Any = given.get("dim", given.get("axis"))
        rank = self._tensor(source).dim()
        axes = [axes] if isinstance(axes, int) else (list(range(rank)) if axes is None else axes)
        if rank < 3 or {axis % rank for axis in axes} != set(range(2, rank)):
            raise _Problem(f"is over the axes {list(axes)}: only a mean over height and width, (2, 3), can be taken")
        read = self._real(source)
        if self._tensor(source).shape[1] != read.shape[0]:
            raise _Problem(f"reads a view of the map {_extents(read.shape)}: let it read the map itself")
        return self._emit(node, "global_avg_pool", [read], (read.shape[0], 1, 1))

    def _whole(self, node: fx.Node) -> _Value:
        source = self._argument(node)
        read = self._real(source)
        self._map(source, read)
        return self._emit(node, "global_avg_pool", [read], (read.shape[0], 1, 1))

    # Sums, channels, views.

    def _add(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        if given.get("alpha", 1) != 1:
            raise _Problem(f"has alpha={given['alpha']}: use 1")
        a, b = given["input"], given["other"]
        for one, other in ((a, b), (b, a)):
            if isinstance(one, (int, float)) and one == 0:
                # `sum` begins with it.
                return self._known(other)
            if isinstance(one, fx.Node) and one in self._constants:
                return self._biased(node, other, self._constants[one])
            if not isinstance(one, fx.Node):
                raise _Problem("adds a number: use a bias of the layer in front, or RPReLU of onebit.torch.nn")
        sources = [self._real(a), self._real(b)]
        shapes = [list(self._tensor(source).shape[1:]) for source in (a, b)]
        if shapes[0] != shapes[1] or sources[0].shape != sources[1].shape:
            raise _Problem(f"adds {shapes[0]} and {shapes[1]} of an image: both must have one shape")
        return self._emit(node, "add", sources, sources[0].shape)

    def _biased(self, node: fx.Node, source: Any, bias: Tensor) -> _Value:
        """A sum with a constant for each channel: an affine node, unless it can be the bias of the convolution in front."""
        read = self._of_channels(source)
        rank = self._tensor(source).dim()
        extents = [1] * (rank - bias.dim()) + list(bias.shape)
        if bias.dim() > rank or bias.dtype != torch.float32 or any(n != 1 for n in extents[:1] + extents[2:]):
            raise _Problem(f"adds a constant of the shape {list(bias.shape)}: it must be float32, one number for each channel")
        shift = bias.detach().flatten().expand(read.shape[0])
        return self._emit(node, "affine", [read], read.shape, {"scale": torch.ones(read.shape[0]), "shift": shift})

    def _cat(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        parts: Any = given["tensors"]
        if not isinstance(parts, (list, tuple)):
            raise _Problem("joins what a function gives: list the tensors")
        axis = given.get("dim", given.get("axis", 0))
        rank = self._tensor(parts[0]).dim()
        if axis % rank != 1:
            raise _Problem(f"joins along dim={axis}: only channels, dim=1, can be joined")
        sources = [self._real(part) for part in parts]
        joined = sources[0]
        for part, source in zip(parts, sources):
            if rank == 4:
                self._map(part, source)
            elif source.shape[1:] != joined.shape[1:]:
                raise _Problem("joins flattened maps of different sizes: make them of one size")
        for source in sources[1:]:
            shape = (joined.shape[0] + source.shape[0], *joined.shape[1:])
            joined = self._emit(node, "concat", [joined, source], shape).node
        return _Value(joined)

    def _channel_shuffle(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        source = self._argument(node)
        read = self._real(source)
        self._map(source, read)
        return self._emit(node, {"channel_shuffle": {"groups": given["groups"]}}, [read], read.shape)

    def _getitem(self, node: fx.Node, given: Mapping[str, Any]) -> _Value:
        if not isinstance(self._tracer.value(given["input"]), Tensor):
            raise _Unknown
        index: Any = given["index"]
        parts = index if isinstance(index, tuple) else (index,)
        if not all(part is None or part is Ellipsis or part == slice(None) for part in parts):
            raise _Problem(_unsupported("getitem"))
        return self._passed_on(node, "view", given)

    def _passed_on(self, node: fx.Node, function: str, given: Mapping[str, Any]) -> _Value:
        """A value whose elements stay, in their order."""
        if function in ("dropout", "dropout2d") and given.get("training", True):
            raise _Problem("drops values in evaluation too: give it training=self.training, or use torch.nn.Dropout")
        source = self._argument(node)
        value = self._known(source)
        result = self._tracer.value(node)
        if result.dim() < 2 or result.shape[0] != _TRACED or result.numel() != self._tensor(source).numel():
            raise _Problem(f"makes {list(result.shape)} of {_TRACED} images: keep the first axis, as `flatten(1)` does")
        return value

    def _argument(self, node: fx.Node) -> Any:
        """What a call reads first."""
        return node.args[0] if node.args else next(iter(node.kwargs.values()))

    def _check_output(self, output: Any) -> None:
        if not isinstance(output, fx.Node):
            raise _Problem("is not one tensor: it must be the logits")
        if output in self._constants:
            raise _Problem("does not depend on the image")
        if not isinstance(self._tracer.value(output), Tensor):
            raise _Problem("is not one tensor: it must be the logits")
        value = self._known(output)
        _check_unclipped(value)
        if value.node.is_sign:
            raise _Problem("is signs: logits are real")
        shape = list(self._tensor(output).shape[1:])
        if value.node.shape[1:] != (1, 1) or math.prod(shape) != shape[0]:
            extents = _extents(value.node.shape)
            raise _Problem(f"has {shape} of an image, of the map {extents}: it must be logits, [N, classes]")


_Read = Callable[[_Reader, fx.Node, Any], _Value]
_LAYERS: Dict[Any, _Read] = {
    nn.Conv2d: _Reader._conv,
    nn.Linear: _Reader._linear,
    nn.BatchNorm1d: _Reader._batch_norm,
    nn.BatchNorm2d: _Reader._batch_norm,
    nn.ReLU: _Reader._relu,
    nn.LeakyReLU: lambda reader, node, layer: reader._leaky(node, layer.negative_slope),
    nn.PReLU: lambda reader, node, layer: reader._slopes(node, layer.weight),
    nn.Hardtanh: lambda reader, node, layer: reader._clipped(node, layer.min_val, layer.max_val),
    nn.MaxPool2d: lambda reader, node, layer: reader._max_pool2d(node, vars(layer)),
    nn.AvgPool2d: lambda reader, node, layer: reader._avg_pool2d(node, vars(layer)),
    nn.AdaptiveAvgPool2d: lambda reader, node, layer: reader._adaptive_avg_pool2d(node, vars(layer)),
    nn.ChannelShuffle: lambda reader, node, layer: reader._channel_shuffle(node, vars(layer)),
    ours.BinaryConv2d: _Reader._binary_conv,
    ours.BinaryLinear: _Reader._binary_linear,
    ours.Sign: _Reader._sign,
    ours.RSign: _Reader._sign_of_channels,
    ours.DySign: _Reader._moving_sign,
    ours.DyPReLU: _Reader._moving_rectifier,
    ours.ChannelShuffle: lambda reader, node, layer: reader._channel_shuffle(node, vars(layer)),
    **{kind: _Reader._rectifier for kind in (ours.StaticRectifier, ours.PReLU, ours.RPReLU, ours.FPReLU)},
    **{
        kind: lambda reader, node, layer: reader._passed_on(node, "identity", {})
        for kind in (nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.Flatten, nn.Unflatten)
    },
}


class _Observer(fx.Interpreter):
    """Runs recorded calls and keeps the signs among their values, by the names and shapes of ``wanted``."""

    def __init__(self, root: nn.Module, graph: fx.Graph, wanted: Dict[str, Tuple[str, _Shape]]) -> None:
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


def _with_biases(nodes: List[_Node], last: _Node) -> List[_Node]:
    """The nodes that ``last`` depends on. A sum with constants that alone reads a convolution becomes its bias."""
    needed: Set[_Node] = {last}
    readers: Dict[_Node, int] = {}
    for node in reversed(nodes):
        if node in needed:
            needed.update(node.inputs)
            for source in node.inputs:
                readers[source] = readers.get(source, 0) + 1
    instead: Dict[_Node, _Node] = {}
    kept: List[_Node] = []
    for node in nodes:
        if node not in needed:
            continue
        node.inputs = [instead.get(source, source) for source in node.inputs]
        if node.kind == "affine":
            source = node.inputs[0]
            takes_bias = source.kind in ("conv", "conv_bin", "linear_bin") and "bias" not in source.tensors
            if takes_bias and readers[source] == 1:
                source.tensors["bias"] = node.tensors["shift"]
                readers[source] = readers.get(node, 0)
                instead[node] = source
                continue
        kept.append(node)
    return kept


def _name(nodes: List[_Node]) -> None:
    """Gives each node a name of its own; those of layers come first."""
    used: Set[str] = set()
    for node in nodes:
        node.hint = re.sub(r"[^A-Za-z0-9._-]", "_", node.hint)
    for node in nodes:
        if node.of_layer and node.hint not in used:
            node.name = node.hint
            used.add(node.name)
    for node in nodes:
        number = 0
        while not node.name:
            name = f"{node.hint}_{number}" if number else node.hint
            if name not in used:
                node.name = name
                used.add(name)
            number += 1


def _geometry(out_channels: int, kernel: int, stride: int, padding: int, groups: int) -> Dict[str, int]:
    if padding >= kernel:
        raise _Problem(f"has padding={padding}: it must be less than the kernel, {kernel}")
    _check_window(kernel, stride)
    return {"out_channels": out_channels, "kernel": kernel, "stride": stride, "padding": padding, "groups": groups}


def _window(given: Mapping[str, Any]) -> Tuple[int, int]:
    """Kernel and stride of a pooling."""
    if given.get("ceil_mode"):
        raise _Problem("has ceil_mode=True: use False, with padding or a map that windows fill")
    kernel = _square("kernel_size", given["kernel_size"])
    stride = given.get("stride")
    stride = kernel if stride is None or stride == [] else _square("stride", stride)
    _check_window(kernel, stride)
    return kernel, stride


def _check_window(kernel: int, stride: int) -> None:
    if max(kernel, stride) > _LARGEST_WINDOW:
        raise _Problem(f"has a kernel of {kernel} and a stride of {stride}: both must be at most {_LARGEST_WINDOW}")


def _square(name: str, value: Any) -> int:
    """A number for both axes."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if not all(isinstance(extent, int) for extent in pair) or len(set(pair)) != 1:
        raise _Problem(f"has {name}={pair}: use one number for both axes")
    return int(pair[0])


def _prelu(slope: str, shift: str = "none") -> Dict[str, Any]:
    return {"prelu": {"slope": slope, "shift": shift}}


def _rectifying(layer: ours._Rectifier) -> Dict[str, Any]:
    return {name: getattr(layer, name) for name in ("slope_pos", "slope_neg", "shift_x", "shift_y")}


def _check_unclipped(value: _Value) -> None:
    if value.clip is not None:
        raise _Problem(f"reads what {value.clip.place} clips, which only a sign directly behind it may: leave that out")


def _unsupported(name: str) -> str:
    key = name.rstrip("_").replace("_", "").lower()
    advice = _INSTEAD.get(key)
    return "has no counterpart in a file" + (f": {advice}" if advice else "")


def _function_name(node: fx.Node) -> str:
    target: Any = node.target
    if isinstance(target, str):
        return target
    known = _FUNCTIONS.get(target)
    return known or str(getattr(target, "__name__", target)).strip("_")


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_holds_tensors, value))
    return isinstance(value, Tensor)


def _extents(shape: _Shape) -> str:
    return "x".join(map(str, shape))


def _library_class(layer: nn.Module) -> Any:
    """The class of PyTorch or of ours that a layer is of."""
    libraries = ("torch.nn.", "torch.ao.", "onebit.torch.")
    return next((kind for kind in type(layer).__mro__ if kind.__module__.startswith(libraries)), nn.Module)


def _copy(module: nn.Module) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(f"the module is of type {type(module).__name__}, expected torch.nn.Module")
    try:
        return copy.deepcopy(module)
    except RuntimeError as error:
        advice = "remove_weight_norm, remove_spectral_norm or prune.remove of torch.nn.utils make weights of such layers plain"
        raise ValueError(f"the module cannot be copied ({_first_sentence(error)}): {advice}") from None


def _check_float32(module: nn.Module) -> None:
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float32:
            raise TypeError(f"`{name}` is {value.dtype}, expected torch.float32: `module.float()` makes it so")


def _check_one_input(module: nn.Module) -> None:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [
        parameter.name
        for parameter in inspect.signature(module.forward).parameters.values()
        if parameter.kind in kinds and parameter.default is inspect.Parameter.empty
    ]
    if len(needed) > 1:
        raise ValueError(f"the module has {len(needed)} inputs, {', '.join(needed)}: a network has one, the image")


def _bare(path: str) -> str:
    """A qualified name without that of :class:`_Whole`."""
    return path[len("module.") :] if path.startswith("module.") else ""


def _callers() -> Iterator[Tuple[FrameType, int]]:
    """Frames that are running, the innermost first."""
    frame: Optional[FrameType] = sys._getframe(1)
    while frame is not None:
        yield frame, frame.f_lineno
        frame = frame.f_back


def _frames_of(error: BaseException) -> List[Tuple[FrameType, int]]:
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return frames[::-1]


def _line(frames: Iterable[Tuple[FrameType, int]]) -> str:
    """File and line of the innermost frame of a forward that is neither PyTorch's nor ours."""
    for frame, line in frames:
        if frame.f_code is _Whole.forward.__code__:
            break
        path = os.path.abspath(frame.f_code.co_filename)
        if not path.startswith(_LIBRARIES) and not frame.f_code.co_filename.startswith("<"):
            return f"{os.path.basename(path)}:{line}"
    return ""


def _first_sentence(error: BaseException) -> str:
    """The first line of what an error of PyTorch says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
