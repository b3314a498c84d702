"""What stands for the derivative of a sign: functions whose values and derivatives PyTorch computes itself.

An estimator takes ``u``, of any shape, and the ``signs`` of it, +1 and -1, and gives the function that is differentiated in place
of the sign. Where that is constant it is made of ``signs``, so that no value, infinite or NaN, enters the gradient there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Union

import torch
from torch import Tensor


@dataclass(frozen=True)
class ApproxSign:
    """``2u + u^2`` below zero and ``2u - u^2`` above, +-1 outside [-1, 1]: the derivative is ``2 - 2|u|`` (Bi-Real Net, 3.2)."""

    def __call__(self, u: Tensor, signs: Tensor) -> Tensor:
        inside = torch.where(u.abs() < 1, u, signs)
        return inside * (2 - inside.abs())


@dataclass(frozen=True)
class Clip:
    """``u`` within [-bound, bound]: the derivative is 1 there (BinaryNet, 1.3, with bound 1; QuickNet 1.25)."""

    bound: float = 1.0

    def __post_init__(self) -> None:
        _check_positive(bound=self.bound)

    def __call__(self, u: Tensor, signs: Tensor) -> Tensor:
        return torch.where(u.abs() <= self.bound, u, self.bound * signs)


@dataclass(frozen=True)
class Ede:
    """``k tanh(t u)`` (IR-Net, 3.3)."""

    k: float
    t: float

    def __post_init__(self) -> None:
        _check_positive(k=self.k, t=self.t)

    def __call__(self, u: Tensor, signs: Tensor) -> Tensor:
        return self.k * torch.tanh(self.t * torch.where(u.isnan(), signs, u))


@dataclass(frozen=True)
class Identity:
    """``u`` itself, for weights only."""

    def __call__(self, u: Tensor, signs: Tensor) -> Tensor:
        return u


ActivationEstimator = Union[ApproxSign, Clip, Ede]
WeightEstimator = Union[Clip, Identity]


def signs_of(x: Tensor, threshold: Union[Tensor, float] = 0.0) -> Tensor:
    """+1 where ``x > threshold``, else -1, also for a NaN (docs/numerics.md)."""
    return torch.where(x > threshold, 1.0, -1.0).to(x.dtype)


def only_gradient(x: Tensor) -> Tensor:
    """0 with the gradient of ``x``, which must be finite: what is added to a sign changes no bit of it."""
    return x - x.detach()


def _check_positive(**settings: float) -> None:
    for name, value in settings.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value}, expected a number above 0")
