"""The hyper function of DySign and DyPReLU in two halves (DyBNN; its inner form is ours, the paper's is not public)."""

from __future__ import annotations

import math
from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .estimators import only_gradient

STATISTICS = {"mean": 1, "mean_std": 2, "mean_third": 2}
PRECISIONS = ("f32", "i8")
# Added to the variance before its root is taken.
_STD_EPS = 1e-5
_LARGEST_INTEGER = 127


def one_of(name: str, value: object, allowed: object) -> None:
    """Raises ValueError unless ``value`` is one of ``allowed``."""
    choices = list(allowed)  # type: ignore[call-overload]
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, choices))}")


def without_autocast(x: Tensor) -> torch.autocast:
    """A context in which operations have the precision of their inputs."""
    kind = x.device.type
    return torch.autocast("cpu" if kind == "meta" else kind, enabled=False)


class _Stored(nn.Module):
    """A linear layer that acts with its weights as a packed file holds them."""

    def __init__(self, inputs: int, outputs: int, precision: str, bound: float) -> None:
        super().__init__()
        one_of("precision", precision, PRECISIONS)
        self.precision = precision
        self.weight = nn.Parameter(nn.init.uniform_(torch.empty(outputs, inputs), -bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def _linear(self, x: Tensor) -> Tensor:
        weight: Tensor = self.weight
        if self.precision == "i8":
            weight = rounded(weight.detach()) + only_gradient(weight)
        return F.linear(x.to(weight.dtype), weight, self.bias)

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs}, {outputs}, precision={self.precision!r}"


class HyperTrunk(_Stored):
    """Statistics of each channel, then a layer with ReLU: [N, C, H, W] to [N, hidden]."""

    def __init__(self, channels: int, hidden: int, *, statistics: str = "mean", precision: str = "i8") -> None:
        one_of("statistics", statistics, STATISTICS)
        inputs = STATISTICS[statistics] * channels
        # Kaiming's bound for the ReLU behind it.
        super().__init__(inputs, hidden, precision, math.sqrt(6 / inputs))
        self.statistics = statistics

    def forward(self, x: Tensor) -> Tensor:
        channels = self.weight.shape[1] // STATISTICS[self.statistics]
        if x.dim() != 4 or x.shape[1] != channels:
            raise ValueError(f"the input has the shape {list(x.shape)}, expected [N, {channels}, H, W]")
        with without_autocast(x):
            return F.relu(self._linear(self._measured(x.to(self.weight.dtype))))

    def _measured(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3))
        if self.statistics == "mean":
            return mean
        if self.statistics == "mean_std":
            variance = (x - mean[:, :, None, None]).square().mean((2, 3))
            return torch.cat([mean, (variance + _STD_EPS).sqrt()], 1)
        return torch.cat([mean, (x * x * x).mean((2, 3))], 1)


class HyperHead(_Stored):
    """A layer of zeros at first, bounded: [N, hidden] to the offsets [N, outputs]; ``limit`` None leaves them as they are."""

    def __init__(self, hidden: int, outputs: int, *, limit: Optional[float], precision: str = "i8") -> None:
        if limit is not None and not (math.isfinite(limit) and limit > 0):
            raise ValueError(f"limit is {limit}, expected a number above 0, or None")
        super().__init__(hidden, outputs, precision, 0.0)
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        with without_autocast(x):
            offsets = self._linear(x)
            return offsets if self.limit is None else self.limit * (2 * torch.sigmoid(offsets) - 1)


class HyperFunction(nn.Sequential):
    """A trunk and a head of its own: [N, C, H, W] to [N, outputs]."""

    def __init__(
        self, channels: int, outputs: int, *, statistics: str, reduction: int, precision: str, limit: Optional[float]
    ) -> None:
        if reduction < 1:
            raise ValueError(f"reduction is {reduction}, expected at least 1")
        hidden = max(8, channels // reduction)
        super().__init__()
        self.add_module("trunk", HyperTrunk(channels, hidden, statistics=statistics, precision=precision))
        self.add_module("head", HyperHead(hidden, outputs, limit=limit, precision=precision))


def rounded(weight: Tensor) -> Tensor:
    """The nearest multiples of 1/127 of the largest weight of each row, halves away from zero: what 8 bits hold."""
    # A GPU of Apple has no float64; there a weight between two steps may be rounded to the other one.
    exact = weight if weight.device.type == "mps" else weight.double()
    scale = (exact.abs().amax(1, keepdim=True) / _LARGEST_INTEGER).to(weight.dtype)
    steps = exact / torch.where(scale > 0, scale, torch.ones_like(scale)).to(exact.dtype)
    integers = (steps + torch.full_like(steps, 0.5).copysign(steps)).trunc()
    return integers.clamp(-_LARGEST_INTEGER, _LARGEST_INTEGER).to(weight.dtype) * scale
