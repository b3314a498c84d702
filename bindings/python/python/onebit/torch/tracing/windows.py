"""Windows of convolutions and poolings."""

from __future__ import annotations

from typing import Any, Mapping, Tuple

from .graph import Problem

LARGEST_WINDOW = 31


def window(given: Mapping[str, Any]) -> Tuple[int, int]:
    """Kernel and stride of a pooling."""
    if given.get("ceil_mode"):
        raise Problem("has ceil_mode=True: use False, with padding or a map that windows fill")
    kernel = square("kernel_size", given["kernel_size"])
    stride = given.get("stride")
    stride = kernel if stride is None or stride == [] else square("stride", stride)
    check_window(kernel, stride)
    return kernel, stride


def check_window(kernel: int, stride: int) -> None:
    if max(kernel, stride) > LARGEST_WINDOW:
        raise Problem(f"has a kernel of {kernel} and a stride of {stride}: both must be at most {LARGEST_WINDOW}")


def square(name: str, value: Any) -> int:
    """A number for both axes."""
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if not all(isinstance(extent, int) for extent in pair) or len(set(pair)) != 1:
        raise Problem(f"has {name}={pair}: use one number for both axes")
    return int(pair[0])
