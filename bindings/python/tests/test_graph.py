"""Graphs: described, read, costed."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import onebit
import pytest


@pytest.mark.parametrize("arch", onebit.architectures())
def test_every_architecture_is_described(arch: str) -> None:
    graph = onebit.graph(arch)
    assert graph.arch == arch
    assert graph.nodes[0].op == "input" and graph.nodes[0].inputs == []
    names = [node.name for node in graph.nodes]
    for at, node in enumerate(graph.nodes):
        assert all(name in names[:at] for name in node.inputs)
    assert graph.nodes[-1].shape == (len(graph.classes), 1, 1)
    summary = graph.summary()
    count = sum(
        _size(param.shape) for node in graph.nodes for param in node.params if param.role != "statistic"
    )
    assert summary["arch"] == arch and 0 < summary["params"]["total"] <= count


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


def test_a_graph_is_a_value() -> None:
    graph = onebit.graph("resnet20", method="ftbnn", classes=7)
    assert onebit.Graph.from_json(graph.to_json()) == graph
    for other in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph)):
        assert other == graph and hash(other) == hash(graph)
    assert graph != onebit.graph("resnet20", method="ftbnn", classes=8)
    assert repr(graph).startswith("<onebit.Graph resnet20 for 3x32x32 images, 7 classes, ")


def test_nodes_say_everything() -> None:
    graph = onebit.graph("resnet-small", method="dybnn", widths=[16, 32], blocks=[1, 1], input=(1, 12, 10))
    nodes = {node.op: node for node in reversed(graph.nodes)}
    conv = nodes["conv_bin"]
    assert conv.options["kernel"] == 3 and conv.options["stride"] in (1, 2)
    assert {"out_channels", "padding", "groups", "pad", "scale"} <= set(conv.options)
    assert conv.params[0].suffix == "weight" and conv.params[0].role == "binary"
    assert conv.params[0].shape[1:] == (16, 3, 3), "PyTorch's order of axes"
    assert nodes["sign"].options == {"threshold": "dynamic"} and len(nodes["sign"].inputs) == 2
    assert nodes["batch_norm"].options["eps"] == pytest.approx(1e-5)
    assert {param.role for param in nodes["batch_norm"].params} == {"float", "statistic"}
    assert nodes["add"].options == {}
    assert "conv_bin" in repr(conv) and "binary" in repr(conv.params[0])


def test_classes_and_normalization() -> None:
    graph = onebit.graph("resnet20", classes=["a", "b"], mean=[0.1, 0.2, 0.3], std=[1, 2, 3])
    assert graph.classes == ["a", "b"]
    assert graph.mean == [0.1, 0.2, 0.3] and graph.std == [1, 2, 3]
    assert onebit.graph("resnet20", input=(1, 32, 32)).mean == [0.0]
    assert onebit.graph("resnet20").mean == [0.485, 0.456, 0.406]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: onebit.graph("resnet99"), ValueError, "choose one of: resnet20, "),
        (lambda: onebit.graph("resnet20", methot="x"), ValueError, "did you mean `method`?"),
        (lambda: onebit.graph("resnet20", method="xnor"), ValueError, "method is `xnor`, expected `bireal`"),
        (lambda: onebit.graph("resnet20", hyper={"reduction": "x"}), ValueError, "hyper.reduction: "),
        (lambda: onebit.graph("resnet20", widths={1, 2}), TypeError, "not JSON serializable"),
        (lambda: onebit.graph("resnet20", classes="ab"), TypeError, "expected a number, or a list of names"),
        (lambda: onebit.graph("resnet20", classes=0), ValueError, "out_features is 0"),
        (lambda: onebit.graph("resnet20", classes=["a", ""]), ValueError, "class"),
        (lambda: onebit.graph("resnet20", input=(3, 2, 2)), ValueError, "cannot be built for this input"),
        (lambda: onebit.graph("resnet20", mean=[0.0]), ValueError, "normalization"),
        (lambda: onebit.Graph.from_json("{"), ValueError, "the graph cannot be read"),
        (lambda: onebit.Graph.from_json("[]"), ValueError, ""),
        (lambda: onebit.Graph.from_json(json.dumps({"nodes": []})), ValueError, ""),
    ],
)
def test_bad_input(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert words in str(raised.value), str(raised.value)
    assert "\n" not in str(raised.value)
