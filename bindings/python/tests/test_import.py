"""Networks from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import onebit
import pytest
from conftest import ROOT

GRAPH = {
    "arch": "perceptron",
    "normalization": {"mean": [0.0], "std": [1.0]},
    "classes": ["a", "b", "c"],
    "nodes": [
        {"name": "input", "op": {"input": {"channels": 1, "height": 4, "width": 5}}},
        {"name": "sign", "op": {"sign": {"threshold": "zero"}}},
        {"name": "fc1", "op": {"linear_bin": {"out_features": 70}}},
        {"name": "bn1", "op": "batch_norm"},
        {"name": "sign2", "op": {"sign": {"threshold": "zero"}}},
        {"name": "fc2", "op": {"linear_bin": {"out_features": 3}}},
        {"name": "bn2", "op": "batch_norm"},
    ],
}


def perceptron() -> tuple[dict[str, Any], Any, Any]:
    """Weights, images, and the logits as NumPy computes them."""
    random = np.random.default_rng(5)
    tensors = {"fc1.weight": random.standard_normal((70, 20)), "fc2.weight": random.standard_normal((3, 70))}
    for name, size in (("bn1", 70), ("bn2", 3)):
        tensors[f"{name}.weight"] = random.uniform(-1, 1, size)
        tensors[f"{name}.bias"] = random.uniform(-1, 1, size)
        tensors[f"{name}.running_mean"] = random.uniform(-2, 2, size)
        tensors[f"{name}.running_var"] = random.uniform(1, 9, size)
    tensors = {name: value.astype(np.float32) for name, value in tensors.items()}
    images = random.standard_normal((50, 1, 4, 5)).astype(np.float32)
    x: Any = images.reshape(50, 20)
    for layer, norm in (("fc1", "bn1"), ("fc2", "bn2")):
        x = np.where(x > 0, 1.0, -1.0) @ np.where(tensors[f"{layer}.weight"] > 0, 1.0, -1.0).T
        scale = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"].astype(np.float64) + 1e-5)
        x = (x - tensors[f"{norm}.running_mean"]) * scale + tensors[f"{norm}.bias"]
    return tensors, images, x.astype(np.float32)


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    tensors, images, logits = perceptron()
    path = tmp_path / "p.onebit"
    for graph in (GRAPH, json.dumps(GRAPH), onebit.Graph.from_json(json.dumps(GRAPH))):
        report = onebit.pack_weights(graph, tensors, path, expect=(images, logits), origin={"licence": "MIT"})
        assert report["images"] == report["top1_agree"] == 50 and report["max_difference"] < 1e-5
        assert report["bytes"] == path.stat().st_size
    model = onebit.load(path)
    assert np.allclose(model.run(images), logits, atol=1e-4)
    assert model.classes == ["a", "b", "c"] and onebit.inspect(path)["origin"] == {"licence": "MIT"}
    halves: dict[str, Any] = {name: value.astype(np.float16) if name.startswith("fc") else value for name, value in tensors.items()}
    counters = {"bn1.num_batches_tracked": np.array(3), "fc1.weight": np.where(tensors["fc1.weight"] > 0, 1, -1).astype(np.int8)}
    onebit.pack_weights(GRAPH, {**halves, **counters}, path, expect=(images, logits))
    doubles = {name: value.astype(np.float64) for name, value in tensors.items()}
    onebit.pack_weights(GRAPH, doubles, path, classes=["x", "y", "z"])
    assert onebit.load(path).classes == ["x", "y", "z"]
    assert np.array_equal(onebit.load(path).run(images), model.run(images))


def test_nothing_is_written_that_is_not_as_expected(tmp_path: Path) -> None:
    tensors, images, logits = perceptron()
    path = tmp_path / "p.onebit"
    cases: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: onebit.pack_weights(GRAPH, tensors, path, expect=(images, logits + 1)), onebit.DisagreementError, "50 of 50 images"),
        (lambda: onebit.pack_weights(GRAPH, tensors, path, expect=(images, logits[1:])), ValueError, "expected [50, 3]"),
        (lambda: onebit.pack_weights(GRAPH, tensors, path, expect=(images[:0], logits[:0])), ValueError, "at least one image"),
        (lambda: onebit.pack_weights(GRAPH, tensors, path, expect=(images, logits * np.nan)), ValueError, "finite"),
        (lambda: onebit.pack_weights(GRAPH, {**tensors, "x": images}, path), onebit.FormatError, "`x`"),
        (lambda: onebit.pack_weights(GRAPH, {}, path), onebit.FormatError, "fc1.weight"),
        (lambda: onebit.pack_weights(GRAPH, {**tensors, "fc1.weight": images.astype(complex)}, path), TypeError, "`fc1.weight` are complex128"),
        (lambda: onebit.pack_weights(GRAPH, tensors, path, expect=(images, logits + 1), tolerance=float("nan")), ValueError, "tolerance is NaN, expected a share of 0 to 1"),
        (lambda: onebit.pack_weights(GRAPH, tensors, path, tolerance=-1), ValueError, "tolerance is -1"),
        (lambda: onebit.pack_weights({"nodes": []}, tensors, path), ValueError, "normalization"),
        (lambda: onebit.pack_weights("{", tensors, path), ValueError, "the graph cannot be read"),
        (lambda: onebit.pack_weights(GRAPH, tensors, path, classes=["a"]), ValueError, "class"),
        (lambda: onebit.pack_weights(GRAPH, tensors, path, origin={"color": "red"}), ValueError, "color"),
        (lambda: onebit.pack_weights(GRAPH, tensors, tmp_path / "no" / "p.onebit"), OSError, "no/p.onebit"),
        (lambda: onebit.import_onnx(tmp_path / "n.onnx", path), FileNotFoundError, "n.onnx"),
        (lambda: onebit.import_checkpoint(tmp_path / "n.pth", arch="reactnet18", out=path), FileNotFoundError, "n.pth"),
        (lambda: onebit.import_checkpoint(tmp_path, arch="reactnet-z", out=path), ValueError, "choose one of"),
        (lambda: onebit.import_checkpoint(tmp_path, arch="reactnet18", out=path, mean=[0.5] * 3), ValueError, "only given together"),
    ]
    for call, error, words in cases:
        with pytest.raises(error) as raised:
            call()
        assert type(raised.value) is error or error is OSError
        assert words in str(raised.value) and "\n" not in str(raised.value), str(raised.value)
        assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_reactnets_own_code(tmp_path: Path) -> None:
    checkpoint = ROOT / "crates/onebit-pack/tests/fixtures/import/reactnet.zip.pth"
    network: dict[str, Any] = {"arch": "reactnet18", "input": (3, 64, 64), "widths": [8, 16], "blocks": [2, 2]}
    with pytest.raises(ValueError, match="and 2 are named"):
        onebit.import_checkpoint(checkpoint, out=tmp_path / "r.onebit", classes=["a", "b"], **network)
    assert not list(tmp_path.iterdir())
    onebit.import_checkpoint(checkpoint, out=tmp_path / "r.onebit", mean=[0.5], std=[0.25], **network)
    model = onebit.load(tmp_path / "r.onebit")
    assert model.arch == "reactnet18" and model.mean == [0.5] * 3 and model.std == [0.25] * 3
    assert model.classes == [str(number) for number in range(len(model.classes))]


def test_what_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "n.onnx").write_bytes(b"\x08\x07nothing")
    (tmp_path / "n.pth").write_bytes(b"nothing")
    with pytest.raises(onebit.FormatError, match="n.onnx"):
        onebit.import_onnx(tmp_path / "n.onnx", tmp_path / "n.onebit")
    with pytest.raises(onebit.FormatError, match="n.pth"):
        onebit.import_checkpoint(tmp_path / "n.pth", arch="reactnet18", out=tmp_path / "n.onebit")
    assert not (tmp_path / "n.onebit").exists()


def test_weights_that_are_zero_are_a_warning(tmp_path: Path) -> None:
    tensors, _, _ = perceptron()
    tensors["fc1.weight"][0, :3] = 0
    with pytest.warns(UserWarning, match="3 binary weights are exactly 0"):
        onebit.pack_weights(GRAPH, tensors, tmp_path / "p.onebit")
