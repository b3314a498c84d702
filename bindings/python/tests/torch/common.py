"""Fixtures of PyTorch's own numbers (scripts/fixtures), and networks with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
# Threads that wait for each other cost more than they save here.
torch.set_num_threads(1)

CRATES = Path(__file__).parents[4] / "crates"
FIXTURES = CRATES / "onebit-train/tests/fixtures"


def read(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Metadata and arrays of a safetensors file."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    kinds = {"F32": "<f4", "F64": "<f8", "U8": "u1"}
    arrays = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        arrays[name] = np.frombuffer(content[start:end], kinds[entry["dtype"]]).reshape(entry["shape"])
    return metadata, arrays


def fixture(name: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Metadata and tensors, float64, of `ops/NAME` or `net/NAME`; maps and kernels in PyTorch's order of axes."""
    metadata, arrays = read(FIXTURES / f"{name}.safetensors")
    tensors = {}
    for key, values in arrays.items():
        values = values.transpose(0, 3, 1, 2) if values.ndim == 4 else values
        tensors[key] = torch.tensor(values, dtype=torch.float64)
    return metadata, tensors


def names(prefix: str) -> list[str]:
    """The fixtures of an operation, `ops/PREFIX...`."""
    found = sorted(path.stem for path in (FIXTURES / "ops").glob(f"{prefix}*.safetensors"))
    assert found
    return found


def close(found: Any, expected: Any, tolerance: float, what: str = "") -> None:
    """Asserts a largest difference, relative to the largest value."""
    assert found.shape == expected.shape, what
    scale = max(1e-3, float(expected.abs().max()))
    worst = float((found - expected).abs().max()) / scale
    assert worst <= tolerance, f"{what} differs by {worst:.1e}"


def randomised(net: Any, batches: int = 10) -> Any:
    """Moves all parameters but kernels away from where they begin, and measures statistics of random images."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() < 4:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        net.train()
        for _ in range(batches):
            net(torch.randn(8, *net.graph.input_shape, generator=generator))
    return net


def images(net: Any, count: int = 4) -> Any:
    """Random images for a network."""
    return torch.randn(count, *net.graph.input_shape, generator=torch.Generator().manual_seed(1))
