"""What a module calls while it computes images, by torch.fx."""

from __future__ import annotations

import inspect
import operator
import os
import sys
from types import FrameType
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, fx, nn

from ..hyper import without_autocast

# Images that are traced: more than one, so that merging them with what they hold is seen.
TRACED = 2
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LIBRARIES = (_HERE + os.sep, os.path.dirname(os.path.abspath(torch.__file__)) + os.sep)

# Classes of PyTorch whose forward is looked into, if they have one.
_CONTAINERS = (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Place(NamedTuple):
    """The module whose forward calls something, and the line of it."""

    module: str
    line: str

    def __str__(self) -> str:
        inside = f" in `{self.module}`" if self.module else ""
        return inside + (f" ({self.line})" if self.line else "")


class Whole(nn.Module):
    """Calls the traced module with one argument, whatever others its forward has defaults for."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Any) -> Any:
        return self.module(images)


class Proxy(fx.Proxy):
    """A recorded value that knows its shape: a forward that looks at it need not be guessed."""

    tracer: Tracer

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


class DoesNotRun(ValueError):
    """A module fails on images, not least because of a layer that cannot be expressed; what ran before has been recorded."""


class Tracer(fx.Tracer):
    """Records calls, where they stand, and what they compute of ``images``."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self._images = images
        self._values: Dict[fx.Node, Any] = {}
        self.places: Dict[fx.Node, Place] = {}
        # Earlier nodes whose values a node changes.
        self.changed: Dict[fx.Node, List[fx.Node]] = {}
        self._modules: List[str] = []
        self._failed: Optional[Place] = None
        self._is_running = False

    def recorded(self, module: nn.Module) -> fx.Graph:
        """The calls of a module. Raises ValueError where they cannot be recorded, and DoesNotRun if it fails of itself."""
        _check_one_input(module)
        try:
            with torch.no_grad(), without_autocast(self._images):
                return self.trace(Whole(module))
        except Exception as error:
            place = self._failed or Place("", _line(_frames_of(error)))
            text = first_sentence(error).rstrip(".")
            if isinstance(error, fx.proxy.TraceError) or "Proxy" in text or "symbolic tracing" in text:
                reason = (
                    "a graph cannot depend on the values of the images or on their number, nor on what torch.fx does not see, "
                    f"make it depend on shapes or settings ({text})"
                )
            elif isinstance(error, NameError) and "submodule" in text:
                reason = "it calls a layer that is none of its submodules, assign it in __init__, lists as torch.nn.ModuleList"
            else:
                reason = f"it does not run on images {list(self._images.shape)}, {type(error).__name__}: {text}"
                raise DoesNotRun(f"the module cannot be traced{place}: {reason}") from error
            raise ValueError(f"the module cannot be traced{place}: {reason}") from error

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
        return library_class(m) not in _CONTAINERS

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Dict[str, Any]) -> Any:
        # Weights are constants: what is computed of them alone is not recorded.
        return attr_val

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Proxy(node, self)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._is_running:
            return forward(*args, **kwargs)
        self._modules.append(bare(self.path_of_module(m)))
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:
            self._failed = self._failed or Place(self._modules[-1], _line([*_frames_of(error), *_callers()]))
            raise
        finally:
            self._modules.pop()

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any) -> fx.Node:
        node = super().create_node(kind, target, args, kwargs, *rest, **more)
        self.places[node] = Place(self._modules[-1] if self._modules else "", _line(_callers()))
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


def library_class(layer: nn.Module) -> Any:
    """The class of PyTorch or of ours that a layer is of."""
    libraries = ("torch.nn.", "torch.ao.", "onebit.torch.")
    return next((kind for kind in type(layer).__mro__ if kind.__module__.startswith(libraries)), nn.Module)


def _check_one_input(module: nn.Module) -> None:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [
        parameter.name
        for parameter in inspect.signature(module.forward).parameters.values()
        if parameter.kind in kinds and parameter.default is inspect.Parameter.empty
    ]
    if len(needed) > 1:
        raise ValueError(f"the module has {len(needed)} inputs, {', '.join(needed)}: a network has one, the image")


def bare(path: str) -> str:
    """A qualified name without that of :class:`Whole`."""
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
        if frame.f_code is Whole.forward.__code__:
            break
        path = os.path.abspath(frame.f_code.co_filename)
        if not path.startswith(_LIBRARIES) and not frame.f_code.co_filename.startswith("<"):
            return f"{os.path.basename(path)}:{line}"
    return ""


def first_sentence(error: BaseException) -> str:
    """The first line of what an error of PyTorch says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
