"""The trainer's batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import onebit
import pytest

SPEC = "fashion-mnist-sample:train"


def fashion() -> onebit.Graph:
    return onebit.graph("resnet-small", widths=[8, 16], blocks=[1, 1], **onebit.data.task("fashion-mnist-sample"))


def test_the_task_of_data() -> None:
    task = onebit.data.task("fashion-mnist-sample")
    assert task["input"] == (1, 28, 28) and len(task["classes"]) == 10 and "Sneaker" in task["classes"]
    assert 0.2 < task["mean"][0] < 0.4 < 0.5 + task["std"][0]
    with pytest.raises(ValueError, match="nothing"):
        onebit.data.task("nothing")


def test_batches_of_an_epoch() -> None:
    graph = fashion()
    batches = onebit.data.loader(SPEC, graph=graph, batch=100, seed=3)
    count = len(batches)
    all_of_it = list(batches)
    assert len(all_of_it) == count > 1 and len(batches) == 0
    for images, classes in all_of_it:
        assert images.shape == (100, 1, 28, 28) and images.dtype == np.float32
        assert images.flags.c_contiguous and classes.dtype == np.int64 and classes.shape == (100,)
        assert classes.min() >= 0 and classes.max() <= 9
        pixels = (images * graph.std[0] + graph.mean[0]) * 255
        assert np.allclose(pixels, pixels.round(), atol=1e-3) and pixels.min() > -0.01
    again = onebit.data.loader(SPEC, graph=graph, batch=100, seed=3)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(all_of_it, again))
    other = next(iter(onebit.data.loader(SPEC, graph=graph, batch=100, seed=3, epoch=1)))
    assert not np.array_equal(all_of_it[0][0], other[0])


def test_processes_share_batches() -> None:
    settings: dict[str, Any] = dict(graph=fashion(), batch=60, seed=1, augmentation={"crop_padding": 2, "horizontal_flip": True})
    whole = onebit.data.loader(SPEC, **settings)
    parts = [onebit.data.loader(SPEC, rank=rank, world=3, **settings) for rank in range(3)]
    for batch, *shares in zip(whole, *parts):
        assert np.array_equal(np.concatenate([share[0] for share in shares]), batch[0])
        assert np.array_equal(np.concatenate([share[1] for share in shares]), batch[1])


def test_images_in_order_for_evaluation() -> None:
    batches = list(onebit.data.loader("fashion-mnist-sample:test", graph=fashion(), batch=64, shuffle=False, limit=100))
    assert [len(images) for images, _ in batches] == [64, 36]


def test_bad_input() -> None:
    graph = fashion()
    cases: list[tuple[str, dict[str, Any], type[Exception], str]] = [
        ("nothing", {}, ValueError, "nothing"),
        ("folder:/nowhere", {}, OSError, "/nowhere"),
        (SPEC, {"batch": 0}, ValueError, "batch size is 0"),
        (SPEC, {"world": 7}, ValueError, "number of processes is 7"),
        (SPEC, {"augmentation": {"crop": 4}}, ValueError, "augmentation: unknown field `crop`"),
        (SPEC, {"augmentation": {"crop_padding": 99}}, ValueError, "crop padding is 99"),
        (SPEC, {"graph": onebit.graph("resnet20")}, ValueError, "images of"),
    ]
    for spec, settings, error, words in cases:
        with pytest.raises(error) as raised:
            onebit.data.loader(spec, **{"graph": graph, "batch": 10, **settings})
        assert words in str(raised.value) and "\n" not in str(raised.value), str(raised.value)
