"""Trained weights as arrays, and packing with its proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onebit
import pytest
from conftest import random_tensors
from onebit import _native


def test_weights_go_to_a_file_and_back(small_graph: onebit.Graph, tmp_path: Path) -> None:
    tensors = random_tensors(small_graph)
    path = tmp_path / "weights.safetensors"
    _native.write_weights(small_graph, tensors, path)
    graph, found = _native.read_weights(path)
    assert graph == small_graph and found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
    again = tmp_path / "again.safetensors"
    _native.write_weights(graph, {**found, "stem.bn.num_batches_tracked": np.array(3)}, again)
    assert again.read_bytes() == path.read_bytes()


def test_everything_that_does_not_fit_is_said_at_once(small_graph: onebit.Graph, tmp_path: Path) -> None:
    tensors = random_tensors(small_graph)
    names = sorted(tensors)
    del tensors[names[0]]
    tensors[names[1]] = tensors[names[1]][None]
    tensors["own.weight"] = np.zeros(1, np.float32)
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ValueError) as raised:
        _native.write_weights(small_graph, tensors, path)
    said = str(raised.value)
    assert f"`{names[0]}` is missing" in said and f"`{names[1]}` has the shape" in said
    assert "`own.weight` is no tensor of the graph" in said and not path.exists()
    with pytest.raises(TypeError, match="are float64, expected float32"):
        _native.write_weights(small_graph, {name: np.zeros(1) for name in names}, path)


def test_a_file_that_is_none(small_graph: onebit.Graph, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _native.read_weights(tmp_path / "nothing.safetensors")
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(onebit.FormatError):
        _native.read_weights(path)
    with pytest.raises(onebit.FormatError):
        _native.read_checkpoint(path, small_graph)
    with pytest.raises(OSError):
        _native.write_weights(small_graph, random_tensors(small_graph), tmp_path / "no" / "w.safetensors")


def observed(model: onebit.Model, images: Any) -> tuple[Any, dict[str, Any]]:
    """Logits and signs as the engine computes them."""
    signs = {
        node.name: model.features(images, node=node.name).reshape(len(images), *node.shape) > 0
        for node in model.graph.nodes
        if node.op == "sign"
    }
    return model.run(images), signs


def test_a_packing_proves_what_it_was_shown(small_graph: onebit.Graph, images: Any, tmp_path: Path) -> None:
    packing = _native.Packing(small_graph, random_tensors(small_graph), origin={"licence": "MIT"})
    logits, signs = observed(onebit.load(packing.to_bytes()), images)
    packing.compare(images[:4], logits[:4], {name: found[:4] for name, found in signs.items()})
    packing.compare(images[4:], logits[4:], {name: found[4:] for name, found in signs.items()})
    report = packing.verdict()
    assert report["images"] == report["top1_agree"] == 7
    assert report["flipped_images"] == 0 and report["max_logit_difference"] == 0.0
    path = tmp_path / "m.onebit"
    assert packing.write(path) == path.stat().st_size
    assert onebit.inspect(path)["origin"] == {"licence": "MIT"}
    assert path.read_bytes() == packing.to_bytes()


def test_a_packing_that_proves_nothing(small_graph: onebit.Graph, images: Any) -> None:
    packing = _native.Packing(small_graph, random_tensors(small_graph))
    with pytest.raises(onebit.DisagreementError, match="no image was compared"):
        packing.verdict()
    logits, signs = observed(onebit.load(packing.to_bytes()), images)
    with pytest.raises(ValueError, match="logits have the shape"):
        packing.compare(images, logits[:3], signs)
    with pytest.raises(TypeError, match="are float32, expected bool"):
        packing.compare(images, logits, {name: found.astype(np.float32) for name, found in signs.items()})
    with pytest.raises(ValueError, match="expected \\[7, C, H, W\\]"):
        packing.compare(images, logits, {name: found[:3] for name, found in signs.items()})
    packing.compare(images, logits + 0.1, signs)
    with pytest.raises(onebit.DisagreementError, match="logits differ"):
        packing.verdict()
    other = _native.Packing(small_graph, random_tensors(small_graph))
    other.compare(images, logits, {})
    with pytest.raises(onebit.DisagreementError, match="cannot be compared"):
        other.verdict()
    flipped = _native.Packing(small_graph, random_tensors(small_graph))
    flipped.compare(images, logits, {name: ~found for name, found in signs.items()})
    with pytest.raises(onebit.DisagreementError, match="7 of 7 images are flipped"):
        flipped.verdict()


def test_values_that_cannot_be_packed(small_graph: onebit.Graph) -> None:
    tensors = random_tensors(small_graph)
    name = next(name for name in tensors if name.endswith("running_var"))
    with pytest.raises(ValueError, match="running_var"):
        _native.Packing(small_graph, {**tensors, name: -tensors[name]})
    with pytest.raises(ValueError):
        _native.Packing(small_graph, {**tensors, name: tensors[name] * np.nan})
    with pytest.raises(ValueError, match="origin"):
        _native.Packing(small_graph, tensors, origin={"license": "MIT"})
