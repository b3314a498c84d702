"""Networks with random weights, and images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onebit
import pytest
from onebit import _native

ROOT = Path(__file__).parents[3]


def random_tensors(graph: onebit.Graph, seed: int = 0) -> dict[str, Any]:
    """Weights for a graph: of unit size, with variances and slopes that are positive."""
    random = np.random.default_rng(seed)
    tensors = {}
    for node in graph.nodes:
        for param in node.params:
            values = random.standard_normal(param.shape) * 0.3
            if param.suffix == "running_var" or param.suffix.startswith("slope"):
                values = np.abs(values) + 0.5
            tensors[f"{node.name}.{param.suffix}"] = values.astype(np.float32)
    return tensors


def packed(graph: onebit.Graph, seed: int = 0) -> bytes:
    """The bytes of a packed file with random weights."""
    return _native.Packing(graph, random_tensors(graph, seed)).to_bytes()


@pytest.fixture(scope="session")
def small_graph() -> onebit.Graph:
    names = ["ant", "bee", "cat", "dog", "emu"]
    return onebit.graph(
        "resnet-small", method="dybnn", classes=names, input=(3, 20, 24), widths=[16, 32], blocks=[2, 1]
    )


@pytest.fixture(scope="session")
def model_bytes(small_graph: onebit.Graph) -> bytes:
    return packed(small_graph)


@pytest.fixture
def model_path(tmp_path: Path, model_bytes: bytes) -> Path:
    path = tmp_path / "m.onebit"
    path.write_bytes(model_bytes)
    return path


@pytest.fixture(scope="session")
def model(model_bytes: bytes) -> onebit.Model:
    return onebit.load(model_bytes)


@pytest.fixture(scope="session")
def images() -> Any:
    """Normalised images, float32 [7, 3, 20, 24]."""
    return np.random.default_rng(1).standard_normal((7, 3, 20, 24)).astype(np.float32)


@pytest.fixture(scope="session")
def pixels() -> Any:
    """Pixels, uint8 [5, 31, 27, 3]."""
    return np.random.default_rng(2).integers(0, 256, (5, 31, 27, 3), dtype=np.uint8)
