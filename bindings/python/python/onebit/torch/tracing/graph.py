"""Nodes of the graph to be, and what cannot be one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

import numpy as np

Shape = Tuple[int, int, int]
Array = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(eq=False)
class GraphNode:
    """A node of the graph to be."""

    op: Any
    inputs: List[GraphNode]
    shape: Shape
    hint: str
    """What it would be called."""
    of_layer: bool
    source: str
    """Name of the fx node that computes its value."""
    tensors: Dict[str, Array] = field(default_factory=dict)
    name: str = ""

    @property
    def kind(self) -> str:
        return self.op if isinstance(self.op, str) else str(next(iter(self.op)))

    @property
    def is_sign(self) -> bool:
        return self.kind == "sign"


class Clip(NamedTuple):
    """A Hardtanh that has been passed over, since a sign behind it does not see it."""

    least: float
    most: float
    place: str


class Value(NamedTuple):
    """The value of an fx node: that of a node of the graph, whose [C, H, W] it may hold in other axes, but in this order."""

    node: GraphNode
    clip: Optional[Clip] = None


class Problem(Exception):
    """What cannot be expressed."""


class Unknown(Exception):
    """A value that depends on what has been refused."""


def with_biases(nodes: List[GraphNode], last: GraphNode) -> List[GraphNode]:
    """The nodes that ``last`` depends on. A sum with constants that alone reads a convolution becomes its bias."""
    needed: Set[GraphNode] = {last}
    readers: Dict[GraphNode, int] = {}
    for node in reversed(nodes):
        if node in needed:
            needed.update(node.inputs)
            for source in node.inputs:
                readers[source] = readers.get(source, 0) + 1
    instead: Dict[GraphNode, GraphNode] = {}
    kept: List[GraphNode] = []
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


def give_names(nodes: List[GraphNode]) -> None:
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


def extents(shape: Shape) -> str:
    return "x".join(map(str, shape))
