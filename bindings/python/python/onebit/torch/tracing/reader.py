"""Recorded calls as nodes of the graph, and a list of those that cannot be expressed."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Optional

import numpy as np
import torch
from torch import Tensor, fx, nn

from .. import nn as ours
from . import maps
from .functions import ARGUMENTS, FUNCTIONS, METHODS, SAME, VIEWS, function_name, unsupported
from .graph import GraphNode, Problem, Shape, Unknown, Value, extents, give_names, with_biases
from .operations import CALLS, LAYERS, Read
from .record import Tracer, bare, library_class

# What computes in a class that we know; a subclass that changes one of them is another layer.
_COMPUTING = ("forward", "_conv_forward", "_multiplied", "_signs", "_rectified")


class Reader:
    """Makes nodes of recorded calls, and a list of those that cannot be expressed."""

    def __init__(self, tracer: Tracer, graph: fx.Graph) -> None:
        self.tracer = tracer
        self.graph = graph
        self.nodes: List[GraphNode] = []
        self.values: Dict[fx.Node, Value] = {}
        # Nodes that do not depend on the images, with their values.
        self.constants: Dict[fx.Node, Tensor] = {}
        self.problems: List[str] = []
        for node in graph.nodes:
            self._read(node)

    def finished(self) -> List[GraphNode]:
        """The nodes that the logits depend on, with their names. Raises ValueError for all that cannot be expressed."""
        if self.problems:
            raise ValueError("the module cannot be expressed: " + "; ".join(self.problems))
        output = next(node for node in self.graph.nodes if node.op == "output").args[0]
        last = self.values[output].node
        nodes = with_biases(self.nodes, last)
        give_names(nodes)
        return nodes

    def _read(self, node: fx.Node) -> None:
        if node.op == "get_attr":
            self.constants[node] = self.tracer.value(node)
            return
        try:
            if node.op == "output":
                self._check_output(node.args[0])
                return
            if not self.tracer.has_run(node):
                if node.op == "call_module":
                    self._reader_of(self.tracer.root.get_submodule(str(node.target)))
                return
            result = self.tracer.value(node)
            if not _holds_tensors(result) or self._is_constant(node, result):
                return
            value = self._value_of(node)
            if not isinstance(result, Tensor) or result.dtype != torch.float32:
                raise Problem("does not give float32")
            self.values[node] = value
            for changed in self.tracer.changed.get(node, ()):
                self.values[changed] = value
        except Problem as problem:
            text = f"{self.shown(node)} {problem}"
            if text not in self.problems:
                self.problems.append(text)
        except Unknown:
            pass

    def _is_constant(self, node: fx.Node, result: Any) -> bool:
        """Whether a call gives what does not depend on the images, or on no more than their shape."""
        if node.op not in ("call_function", "call_method"):
            return False
        read = node.all_input_nodes
        known = [source in self.constants or not _holds_tensors(self.tracer.value(source)) for source in read]
        if isinstance(result, Tensor) and all(known):
            self.constants[node] = result
            return True
        if node.target in ("expand_as", "type_as") and read and read[0] in self.constants:
            self.constants[node] = self.constants[read[0]]
            return True
        return False

    def _value_of(self, node: fx.Node) -> Value:
        if node.op == "placeholder":
            channels, height, width = self.tracer.value(node).shape[1:]
            op = {"input": {"channels": channels, "height": height, "width": width}}
            return self.emit(node, op, [], (channels, height, width), hint="input")
        if node.op == "call_module":
            layer = self.tracer.root.get_submodule(str(node.target))
            return self._reader_of(layer)(self, node, layer)
        target: Any = node.target
        function = (METHODS if node.op == "call_method" else FUNCTIONS).get(target)
        if function is None:
            raise Problem(unsupported(function_name(node)))
        given: Dict[str, Any] = dict(zip(ARGUMENTS.get(function, ("input",)), node.args))
        given.update(node.kwargs)
        if function in SAME or function in VIEWS:
            return maps.passed_on(self, node, function, given)
        return CALLS[function](self, node, given)

    def _reader_of(self, layer: nn.Module) -> Read:
        """What reads a layer, if it is one that can be expressed."""
        of_class = library_class(layer)
        read = LAYERS.get(of_class)
        if read is None:
            raise Problem(unsupported(of_class.__name__))
        own = [
            name
            for name in _COMPUTING
            if getattr(type(layer), name, None) is not getattr(of_class, name, None) or name in vars(layer)
        ]
        if own:
            binary = {nn.Conv2d: "BinaryConv2d", nn.Linear: "BinaryLinear"}.get(of_class)
            advice = f": for binary weights use onebit.torch.nn.{binary}" if binary else ""
            raise Problem(f"is a {of_class.__name__} with a `{own[0]}` of its own, which is not looked into{advice}")
        if layer._forward_hooks or layer._forward_pre_hooks:
            raise Problem("has hooks, whose effect is not seen: remove them")
        if isinstance(layer, (ours._BinaryWeights, ours._Threshold)) and layer.stage != "binary":
            raise Problem(f'is in the stage {layer.stage!r}: `onebit.torch.set_stage(module, "binary")`')
        return read

    def tensor(self, source: Any) -> Tensor:
        value = self.tracer.value(source)
        assert isinstance(value, Tensor)
        return value

    def known(self, source: Any) -> Value:
        if source in self.values:
            return self.values[source]
        if not isinstance(source, fx.Node) or source in self.constants:
            raise Problem("reads a constant: it must read what depends on the image")
        raise Unknown

    def real(self, source: Any) -> GraphNode:
        """A real value in any view."""
        value = self.known(source)
        _check_unclipped(value)
        if value.node.is_sign:
            raise Problem(
                f"reads the signs of `{value.node.hint}`: only binary layers and max pooling do, put it in front of the sign"
            )
        return value.node

    def of_channels(self, source: Any) -> GraphNode:
        """A real value whose second axis is that of the channels."""
        node = self.real(source)
        self.check_channels(source, node)
        return node

    def check_channels(self, source: Any, node: GraphNode) -> None:
        shape = self.tensor(source).shape
        if len(shape) < 2 or shape[1] != node.shape[0]:
            raise Problem(
                f"has a parameter for each of {list(shape[1:])} values, which is a view of {extents(node.shape)}: "
                "put it in front of the flattening, with one for each channel"
            )

    def check_map(self, source: Any, node: GraphNode) -> None:
        """Checks that a value is read as the map that it is."""
        shape = tuple(self.tensor(source).shape[1:])
        if shape != node.shape:
            raise Problem(f"reads {list(shape)}, a view of the map {extents(node.shape)}: let it read the map itself")

    def check_vector(self, source: Any) -> None:
        shape = self.tensor(source).shape
        if len(shape) != 2:
            raise Problem(f"reads {list(shape[1:])} of an image: put `flatten(1)` in front, so that it reads a vector")

    def bits(self, source: Any) -> GraphNode:
        node = self.known(source).node
        if not node.is_sign:
            raise Problem("reads real values: put Sign, RSign or DySign of onebit.torch.nn directly in front")
        return node

    def emit(
        self,
        node: fx.Node,
        op: Any,
        inputs: List[GraphNode],
        shape: Shape,
        tensors: Optional[Dict[str, Any]] = None,
        hint: Optional[str] = None,
        of_layer: Optional[bool] = None,
    ) -> Value:
        arrays = {
            suffix: np.array(values.detach().numpy(), dtype=np.float32)
            for suffix, values in (tensors or {}).items()
            if values is not None
        }
        is_layer = node.op == "call_module" if of_layer is None else of_layer
        made = GraphNode(op, inputs, shape, hint or self.hint_of(node), is_layer, node.name, arrays)
        self.nodes.append(made)
        return Value(made)

    def hint_of(self, node: fx.Node) -> str:
        """What the node of a call would be called."""
        if node.op == "call_module":
            path = bare(str(node.target))
            return path or type(self.tracer.root.get_submodule(str(node.target))).__name__.lower()
        module = self.tracer.places[node].module
        return f"{module}.{function_name(node)}" if module else function_name(node)

    def shown(self, node: fx.Node) -> str:
        """What a problem calls it."""
        if node.op == "output":
            return "the output"
        if node.op == "call_module":
            name = type(self.tracer.root.get_submodule(str(node.target))).__name__
            path = bare(str(node.target))
            return f"`{path}` ({name})" if path else name
        return f"`{function_name(node)}`{self.tracer.places[node]}"

    def result_shape(self, node: fx.Node) -> Shape:
        channels, height, width = self.tracer.value(node).shape[1:]
        return channels, height, width

    def argument(self, node: fx.Node) -> Any:
        """What a call reads first."""
        return node.args[0] if node.args else next(iter(node.kwargs.values()))

    def _check_output(self, output: Any) -> None:
        if not isinstance(output, fx.Node):
            raise Problem("is not one tensor: it must be the logits")
        if output in self.constants:
            raise Problem("does not depend on the image")
        if not isinstance(self.tracer.value(output), Tensor):
            raise Problem("is not one tensor: it must be the logits")
        value = self.known(output)
        _check_unclipped(value)
        if value.node.is_sign:
            raise Problem("is signs: logits are real")
        shape = list(self.tensor(output).shape[1:])
        if value.node.shape[1:] != (1, 1) or math.prod(shape) != shape[0]:
            size = extents(value.node.shape)
            raise Problem(f"has {shape} of an image, of the map {size}: it must be logits, [N, classes]")


def _check_unclipped(value: Value) -> None:
    if value.clip is not None:
        raise Problem(f"reads what {value.clip.place} clips, which only a sign directly behind it may: leave that out")


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_holds_tensors, value))
    return isinstance(value, Tensor)
