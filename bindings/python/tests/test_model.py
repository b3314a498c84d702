"""Packed models: opened, run, asked."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import onebit
import pytest
from conftest import ROOT, packed


def test_the_example_of_the_format() -> None:
    model = onebit.load(ROOT / "crates/onebit-model/tests/file/tiny.onebit")
    image = np.array([1, -1, -1, 1, 1, 1, -1, -1], dtype=np.float32).reshape(1, 2, 2, 2)
    assert model.run(image.transpose(0, 3, 1, 2)).tolist() == [[3.0, 2.5]]


def test_what_a_model_says_of_itself(model: onebit.Model, small_graph: onebit.Graph) -> None:
    assert model.input_shape == (3, 20, 24)
    assert model.classes == ["ant", "bee", "cat", "dog", "emu"]
    assert model.arch == "resnet-small"
    assert model.threads == 1
    assert model.mean == small_graph.mean and model.std == small_graph.std
    assert f"{model.isa}, threads=1" in repr(model)
    assert model.graph.input_shape == model.input_shape


def test_a_path_and_bytes_give_the_same(model: onebit.Model, model_path: Path, images: Any) -> None:
    content = model_path.read_bytes()
    for source in (model_path, str(model_path), content, cast(Any, bytearray(content))):
        assert np.array_equal(onebit.load(source).run(images), model.run(images))
    assert model.to_bytes() == model_path.read_bytes()


def test_arrays_of_any_layout_give_the_same(model: onebit.Model, images: Any) -> None:
    logits = model.run(images)
    assert logits.shape == (7, 5) and logits.dtype == np.float32
    read_only = images.copy()
    read_only.flags.writeable = False
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    backwards = np.ascontiguousarray(images[:, :, :, ::-1])[:, :, :, ::-1]
    unaligned = np.frombuffer(b"x" + images.tobytes(), dtype=np.uint8)[1:].view(np.float32).reshape(images.shape)
    assert not unaligned.flags.aligned
    every_second = np.repeat(images, 2, axis=0)[::2]
    for other in (read_only, channels_last, backwards, unaligned, every_second):
        assert np.array_equal(model.run(other), logits)
    assert np.array_equal(model.run(images[:0]), logits[:0])


def test_threads_give_the_same_bits(model: onebit.Model, model_bytes: bytes, images: Any) -> None:
    logits = model.run(images)
    several = onebit.load(model_bytes, threads=3)
    assert np.array_equal(several.run(images), logits)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: model.run(images), range(64)):
            assert np.array_equal(found, logits)


def test_other_sizes_and_instruction_sets(model_bytes: bytes, images: Any) -> None:
    model = onebit.load(model_bytes, isa="reference")
    assert model.isa == "reference"
    assert np.allclose(model.run(images), onebit.load(model_bytes).run(images), atol=1e-3)
    for side in range(20, 60, 4):
        assert model.run(np.zeros((2, 3, side, side), np.float32)).shape == (2, 5)


def test_pickle_and_copies_carry_the_file(model: onebit.Model, images: Any) -> None:
    several = onebit.load(model.to_bytes(), threads=2)
    for other in (pickle.loads(pickle.dumps(several)), copy.deepcopy(several)):
        assert other.threads == 2
        assert np.array_equal(other.run(images), model.run(images))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_sessions_of_its_own(model_bytes: bytes, images: Any) -> None:
    model = onebit.load(model_bytes, threads=2)
    expected = model.run(images)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(model.run, [images] * 4).get(timeout=60)
    assert all(np.array_equal(logits, expected) for logits in found)


def test_pixels_become_the_input(model: onebit.Model) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (2, 20, 24, 3), dtype=np.uint8)
    scaled = (pixels.astype(np.float64) / 255 - model.mean) / model.std
    own_size = onebit.load(packed(own_size_graph()))
    normalised = np.ascontiguousarray(scaled.astype(np.float32).transpose(0, 3, 1, 2))
    assert np.allclose(own_size.logits(pixels), own_size.run(normalised), atol=1e-4)


def own_size_graph() -> onebit.Graph:
    """A graph whose images are not scaled if they have its size."""
    graph = json.loads(
        onebit.graph("resnet-small", classes=3, input=(3, 20, 24), widths=[16, 32], blocks=[1, 1]).to_json()
    )
    graph["preprocessing"] = {"resize": {"exact": [20, 24]}}
    return onebit.Graph.from_json(json.dumps(graph))


def test_images_in_every_form(model: onebit.Model, pixels: Any, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    paths = [tmp_path / f"{i}.png" for i in range(len(pixels))]
    pictures = [image.fromarray(one) for one in pixels]
    for path, picture in zip(paths, pictures):
        picture.save(path)
    logits = model.logits(pixels)
    assert logits.shape == (5, 5)
    for form in (
        list(pixels),
        tuple(pixels),
        paths,
        [str(path) for path in paths],
        [path.read_bytes() for path in paths],
        pictures,
        [picture.convert("RGBA") for picture in pictures],
        (path for path in paths),
        pixels[::-1][::-1],
    ):
        assert np.array_equal(model.logits(form), logits)
    grey = [picture.convert("L") for picture in pictures]
    assert np.array_equal(model.logits(grey), model.logits([np.asarray(one) for one in grey]))
    turned = pictures[0].transpose(image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    with image.open(tmp_path / "turned.png") as opened:
        assert np.array_equal(model.logits([opened]), model.logits([tmp_path / "turned.png"]))
        assert np.array_equal(model.logits([opened]), logits[:1])
    assert model.logits([]).shape == (0, 5)


def test_predictions_are_the_softmax_of_the_logits(model: onebit.Model, pixels: Any) -> None:
    logits = model.logits(pixels).astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    for found, share in zip(model.predict(pixels, top=3), shares):
        order = np.argsort(-share, kind="stable")[:3]
        assert [guess.index for guess in found] == order.tolist()
        assert [guess.label for guess in found] == [model.classes[i] for i in order]
        assert np.allclose([guess.probability for guess in found], share[order])
    assert len(model.predict(pixels[:1], top=99)[0]) == 5
    first = model.predict(pixels[:1], top=1)[0][0]
    assert repr(first) == f'Prediction(index={first.index}, label="{first.label}", probability={first.probability:.4f})'


def test_predictions_go_to_other_processes(model: onebit.Model, pixels: Any) -> None:
    found = model.predict(pixels)
    assert pickle.loads(pickle.dumps(found)) == found == copy.deepcopy(found)


def test_ctrl_c_ends_a_long_call(model: onebit.Model) -> None:
    many = np.broadcast_to(np.float32(0), (10**6, 3, 20, 24))
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.run(many)
    timer.join()


def test_features_are_the_values_of_a_node(model: onebit.Model, images: Any, pixels: Any) -> None:
    vector = model.features(images)
    nodes = {node.name: node for node in model.graph.nodes}
    classifier = model.graph.nodes[-1]
    assert vector.shape == (7, 32) and classifier.op == "linear"
    assert np.array_equal(vector, model.features(images, node=classifier.inputs[0]))
    assert np.array_equal(model.features(images, node=classifier.name), model.run(images))
    assert model.features(pixels).shape == (5, 32)
    sign = next(node for node in nodes.values() if node.op == "sign")
    signs = model.features(images, node=sign.name)
    assert signs.shape == (7, *sign.shape) and set(np.unique(signs)) == {-1.0, 1.0}
    assert np.array_equal(model.features(images, node=model.graph.nodes[0].name), images)
    pooled = next(n for n in nodes.values() if n.op == "global_avg_pool" and n.name == classifier.inputs[0])
    before = model.features(images, node=pooled.inputs[0])
    assert np.allclose(before.mean(axis=(2, 3)), vector, atol=1e-5)


def test_verify_and_inspect_are_as_the_program_prints_them(model_path: Path) -> None:
    found = onebit.verify(model_path)
    assert found["ok"] is True and found["classes"] == 5 and found["input"] == "3x20x24"
    assert found["file_bytes"] == model_path.stat().st_size
    inside = onebit.inspect(str(model_path))
    assert inside["classes"] == ["ant", "bee", "cat", "dog", "emu"]
    assert {layer["bits"] for layer in inside["layers"]} >= {1, 32}


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.run(np.zeros((1, 3, 20, 24))), TypeError, "are float64, expected float32 [N, C, H, W]"),
        (lambda m: m.run(np.zeros((1, 3, 20, 24), np.uint8)), TypeError, "`logits` takes pixels"),
        (lambda m: m.run(np.zeros((1, 3, 20, 24), ">f4")), TypeError, "are >f4, expected float32"),
        (lambda m: m.run(np.zeros((3, 20, 24), np.float32)), ValueError, "shape [3, 20, 24], expected [N, 3, H, W]"),
        (lambda m: m.run(np.zeros((1, 20, 24, 3), np.float32)), ValueError, "x.transpose(0, 3, 1, 2)"),
        (lambda m: m.run(np.zeros((1, 1, 20, 24), np.float32)), ValueError, "expected [N, 3, H, W]"),
        (lambda m: m.run(np.zeros((1, 3, 1, 1), np.float32)), ValueError, "cannot take an image of 1x1"),
        (lambda m: m.run(np.zeros((1, 3, 0, 24), np.float32)), ValueError, "expected [N, 3, H, W]"),
        (lambda m: m.run(np.broadcast_to(np.float32(0), (10**12, 3, 20, 24))), MemoryError, "not enough memory for the logits"),
        (lambda m: m.logits(np.broadcast_to(np.uint8(0), (10**15, 20, 24, 3))), MemoryError, "not enough memory"),
        (lambda m: m.logits(np.broadcast_to(np.uint8(0), (1, 20000, 24, 3))), ValueError, "sides of 1 to 16384"),
        (lambda m: m.run("x"), TypeError, "expected float32"),
        (lambda m: m.run(None), TypeError, "expected float32"),
        (lambda m: m.logits(np.zeros((1, 20, 24, 3), np.float32)), TypeError, "`run` takes normalised float32"),
        (lambda m: m.logits(np.zeros((20, 24, 3), np.uint8)), ValueError, "`images[None]`"),
        (lambda m: m.logits(np.zeros((4, 20, 24), np.uint8)), ValueError, "`images[..., None]`"),
        (lambda m: m.logits(np.zeros((1, 3, 20, 24), np.uint8)), ValueError, "puts channels last"),
        (lambda m: m.logits("a.png"), TypeError, "put it into a list"),
        (lambda m: m.logits(b"123"), TypeError, "put it into a list"),
        (lambda m: m.logits(3), TypeError, "the images are of type int"),
        (lambda m: m.logits([3]), TypeError, "image 0 (counted from 0) is of type int"),
        (lambda m: m.logits(["/nowhere.png"]), FileNotFoundError, "/nowhere.png"),
        (lambda m: m.logits([b"no image"]), onebit.FormatError, "image 0 (counted from 0): "),
        (lambda m: m.logits([np.zeros((2, 2, 4), np.uint8)]), ValueError, "C of 1 or 3"),
        (lambda m: m.predict(np.zeros((1, 20, 24, 3), np.uint8), top=0), ValueError, "top is 0"),
        (lambda m: m.features(np.zeros((1, 20, 24, 3), np.uint8), node="x"), ValueError, "no node `x`"),
    ],
)
def test_bad_input(model: onebit.Model, call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        call(model)
    assert type(raised.value) is error and words in str(raised.value), str(raised.value)
    assert "\n" not in str(raised.value)


def newer(model: bytes) -> bytes:
    """A file of a version that is not known."""
    changed = re.sub(rb'"version":"[0-9]+"', b'"version":"9"', model)
    assert changed != model
    return changed


@pytest.mark.parametrize(
    ("load", "error", "words"),
    [
        (lambda b: onebit.load(b[:-1]), onebit.FormatError, ""),
        (lambda b: onebit.load(b[:100] + b"?" + b[101:]), onebit.FormatError, ""),
        (lambda b: onebit.load(newer(b)), onebit.FormatError, "version 9"),
        (lambda b: onebit.load(b""), onebit.FormatError, ""),
        (lambda b: onebit.load("/nowhere.onebit"), FileNotFoundError, "/nowhere.onebit"),
        (lambda b: onebit.load("/"), OSError, "is a folder"),
        (lambda b: onebit.load(b, threads=0), ValueError, "threads is 0"),
        (lambda b: onebit.load(b, threads=257), ValueError, "threads is 257, expected 1 to 256"),
        (lambda b: onebit.load(b, isa="mmx"), ValueError, "no instruction set `mmx`"),
        (lambda b: onebit.load(cast(Any, 3)), TypeError, "a model is a path or bytes"),
    ],
)
def test_bad_models(model_bytes: bytes, load: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        load(model_bytes)
    assert type(raised.value) is error and words in str(raised.value), str(raised.value)
    assert "\n" not in str(raised.value)

