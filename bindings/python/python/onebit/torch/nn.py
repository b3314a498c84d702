"""Layers of 1-bit networks: modules like any other, with the values and gradients of the Rust trainer.

Activations that are binary are exactly +1 and -1, and so are binary weights; a value on its threshold, and a NaN, is -1
(docs/numerics.md). Gradients go straight through, by an estimator; no function of autograd is defined, so ``torch.compile`` sees
everything. Maps are [N, C, H, W], vectors [N, C].
"""

from __future__ import annotations

import math
from typing import Optional

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .estimators import (
    ActivationEstimator,
    ApproxSign,
    Clip,
    Ede,
    Identity,
    WeightEstimator,
    only_gradient,
    signs_of,
)
from .hyper import HyperFunction, one_of, without_autocast

__all__ = [
    "ApproxSign",
    "BinaryConv2d",
    "BinaryLinear",
    "ChannelShuffle",
    "Clip",
    "DyPReLU",
    "DySign",
    "Ede",
    "FPReLU",
    "Identity",
    "PReLU",
    "RPReLU",
    "RSign",
    "Sign",
    "set_stage",
]

STAGES = ("float", "binary_activations", "binary")
SCALES = ("none", "l1_detached", "l1_grad", "learned")
PADS = {"zero": 0.0, "one": 1.0}
SLOPES = ("relu", "negative", "both")
# Stands for a detached scale of 0, whose gradient is divided by it; far below what a float32 can tell from 0 behind it.
_LEAST_SCALE = 1e-30


def set_stage(module: nn.Module, stage: str) -> None:
    """Says what is binary in all layers of ``module``, which is where a network begins: ``"binary"``.

    ``"binary_activations"`` multiplies with the latent weights, without scales: the first of ReActNet's two stages (4.4), which
    a Rust run calls ``real_weights``. ``"float"`` also has the estimators' functions in place of the signs: the network that the
    gradients are those of, for comparisons; the Rust trainer has no such stage.

    Raises ValueError for another stage.
    """
    one_of("the stage", stage, STAGES)
    for layer in module.modules():
        if isinstance(layer, (_BinaryWeights, _Threshold)):
            layer.stage = stage


class _BinaryWeights(nn.Module):
    """Latent weights [O, ...] of a binary layer; with a learned scale also ``scale`` [O]."""

    stage = "binary"
    scale: Optional[nn.Parameter]

    def __init__(self, shape: tuple[int, ...], scale: str, estimator: WeightEstimator) -> None:
        super().__init__()
        one_of("scale", scale, SCALES)
        if min(shape) < 1:
            raise ValueError(f"the weight would have the shape {list(shape)}, expected at least 1 of each")
        self.scale_kind = scale
        self.estimator = estimator
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight = nn.Parameter(nn.init.uniform_(torch.empty(shape), -bound, bound))
        # XNOR-Net++.
        self.scale = nn.Parameter(torch.full(shape[:1], bound)) if scale == "learned" else None

    def _multiplied(self) -> tuple[Tensor, Optional[Tensor]]:
        """The weights that the input is multiplied with, and the factors [O] of the sums."""
        latent = self.weight
        for_each = (-1,) + (1,) * (latent.dim() - 1)
        if self.stage != "binary":
            # A scale that is not used has the gradient 0, as in the Rust trainer, and not none, which DDP waits for.
            return (latent if self.scale is None else latent + 0 * self.scale.view(for_each)), None
        signs = signs_of(latent)
        gradient = only_gradient(self.estimator(latent, signs))
        factor: Optional[Tensor] = self.scale
        if self.scale_kind == "l1_detached":
            # The gradient of the scaled weights goes to the latent ones as it is (the published code of Bi-Real Net and
            # ReActNet): the factor, by which it comes multiplied, is taken out again.
            factor = latent.detach().abs().flatten(1).mean(1).clamp_min(_LEAST_SCALE)
            gradient = gradient / factor.view(for_each)
        elif self.scale_kind == "l1_grad":
            # |w| whose derivative at 0 is the sign's, -1.
            factor = (latent * signs).flatten(1).mean(1)
        return signs + gradient, factor


class BinaryConv2d(_BinaryWeights):
    """1-bit convolution of a map of +1 and -1: exact integer sums, then a factor for each output channel; no bias.

    Weights are float32 under autocast too, and so is what it gives: half precisions do not hold the sums.

    Args:
        pad: What a padded place counts: ``"zero"`` nothing (Bi-Real Net, ReActNet), ``"one"`` as +1 (QuickNet).
        scale: The factor: ``"l1_detached"``, the mean of |weight| without a gradient (Bi-Real Net, ReActNet), ``"l1_grad"``
            with it (XNOR-Net), ``"learned"``, a parameter ``scale`` (XNOR-Net++), or ``"none"``.
        estimator: What stands for the derivative of the weights' signs: ``Clip`` or ``Identity``.

    Shapes: [N, in, H, W] to [N, out, H', W']; ``weight`` [out, in / groups, k, k].
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        pad: str = "zero",
        scale: str = "l1_detached",
        estimator: WeightEstimator = Clip(),
    ) -> None:
        for name, size, least in (("kernel_size", kernel_size, 1), ("stride", stride, 1), ("padding", padding, 0)):
            if not isinstance(size, (int, np.integer)) or size < least:
                raise ValueError(f"{name} is {size!r}, expected one whole number of at least {least} for both sides")
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"groups is {groups}, expected a divisor of {in_channels} and {out_channels} channels")
        one_of("pad", pad, PADS)
        super().__init__((out_channels, in_channels // groups, kernel_size, kernel_size), scale, estimator)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.groups = groups
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        with without_autocast(x):
            weight, factor = self._multiplied()
            x = x.to(weight.dtype)
            padding = self.padding
            if self.pad != "zero" and padding:
                x, padding = F.pad(x, (padding,) * 4, value=PADS[self.pad]), 0
            sums = F.conv2d(x, weight, stride=self.stride, padding=padding, groups=self.groups)
            return sums if factor is None else sums * factor.view(-1, 1, 1)

    def extra_repr(self) -> str:
        size = f"{self.in_channels}, {self.out_channels}, {self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{size}, groups={self.groups}, pad={self.pad!r}, scale={self.scale_kind!r}, stage={self.stage!r}"


class BinaryLinear(_BinaryWeights):
    """1-bit layer of a vector of +1 and -1; options as of :class:`BinaryConv2d`.

    Shapes: [N, in] to [N, out]; ``weight`` [out, in].
    """

    def __init__(
        self, in_features: int, out_features: int, *, scale: str = "l1_detached", estimator: WeightEstimator = Clip()
    ) -> None:
        super().__init__((out_features, in_features), scale, estimator)
        self.in_features = in_features
        self.out_features = out_features

    def forward(self, x: Tensor) -> Tensor:
        with without_autocast(x):
            weight, factor = self._multiplied()
            sums = F.linear(x.to(weight.dtype), weight)
            return sums if factor is None else sums * factor

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, scale={self.scale_kind!r}, stage={self.stage!r}"


class _Threshold(nn.Module):
    """+1 where a value is above its channel's threshold, else -1."""

    stage = "binary"
    threshold: Optional[nn.Parameter]

    def __init__(self, channels: Optional[int], estimator: ActivationEstimator) -> None:
        super().__init__()
        self.estimator = estimator
        self.threshold = None if channels is None else nn.Parameter(torch.zeros(channels))

    def _signs(self, x: Tensor, offset: Optional[Tensor] = None) -> Tensor:
        threshold: Optional[Tensor] = self.threshold
        if threshold is not None:
            threshold = _per_channel(threshold if offset is None else threshold + offset.flatten(1), x)
        signs = signs_of(x, 0.0 if threshold is None else threshold)
        if self.stage != "float" and not torch.is_grad_enabled():
            return signs
        surrogate = self.estimator(x if threshold is None else x - threshold, signs)
        return surrogate if self.stage == "float" else signs + only_gradient(surrogate)

    def extra_repr(self) -> str:
        channels = "" if self.threshold is None else f"{len(self.threshold)}, "
        return f"{channels}estimator={self.estimator}, stage={self.stage!r}"


class Sign(_Threshold):
    """``x > 0`` as +1 and -1 (Bi-Real Net); a map or vector of any shape."""

    def __init__(self, *, estimator: ActivationEstimator = ApproxSign()) -> None:
        super().__init__(None, estimator)

    def forward(self, x: Tensor) -> Tensor:
        return self._signs(x)


class RSign(_Threshold):
    """``x > threshold`` with a learned ``threshold`` [C] (ReActNet, 4.2; the official code's bias is its negative)."""

    def __init__(self, channels: int, *, estimator: ActivationEstimator = ApproxSign()) -> None:
        super().__init__(channels, estimator)

    def forward(self, x: Tensor) -> Tensor:
        return self._signs(x)


class OffsetSign(_Threshold):
    """``x > threshold + offset`` with an ``offset`` [N, C] that another module computes."""

    def __init__(self, channels: int, *, estimator: ActivationEstimator) -> None:
        super().__init__(channels, estimator)

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        return self._signs(x, offset)


class DySign(_Threshold):
    """RSign whose thresholds move with each image, by a hyper function of the map [N, C, H, W] (DyBNN, DySign).

    It starts as an RSign: the hyper function gives 0 until it is trained.

    Args:
        statistics: What it reads of each channel: ``"mean"``, ``"mean_std"`` or ``"mean_third"`` (with the third moment).
        reduction: Its hidden layer has ``max(8, channels / reduction)`` units.
        precision: How a packed file stores its weights, and how they act: ``"i8"`` or ``"f32"``.
        limit: Largest offset, or None for offsets without a bound.
    """

    def __init__(
        self,
        channels: int,
        *,
        statistics: str = "mean",
        reduction: int = 8,
        precision: str = "i8",
        limit: Optional[float] = 1.0,
        estimator: ActivationEstimator = ApproxSign(),
    ) -> None:
        super().__init__(channels, estimator)
        self.hyper = HyperFunction(
            channels, channels, statistics=statistics, reduction=reduction, precision=precision, limit=limit
        )

    def forward(self, x: Tensor) -> Tensor:
        return self._signs(x, self.hyper(x))


class _Rectifier(nn.Module):
    """``f(x - shift_x) + shift_y``; f has a slope on each side of 0. All parameters are [C]."""

    slope_pos: Optional[nn.Parameter]
    slope_neg: Optional[nn.Parameter]
    shift_x: Optional[nn.Parameter]
    shift_y: Optional[nn.Parameter]

    def __init__(self, channels: int, slope: str, shifts: bool) -> None:
        super().__init__()
        one_of("slope", slope, SLOPES)
        self.channels = channels
        self.slope = slope
        self.slope_pos = nn.Parameter(torch.ones(channels)) if slope == "both" else None
        self.slope_neg = None if slope == "relu" else nn.Parameter(torch.full((channels,), 0.25))
        self.shift_x = nn.Parameter(torch.zeros(channels)) if shifts else None
        self.shift_y = nn.Parameter(torch.zeros(channels)) if shifts else None

    def _rectified(self, x: Tensor, offset: Optional[Tensor] = None) -> Tensor:
        shift_x: Optional[Tensor] = self.shift_x
        shift_y: Optional[Tensor] = self.shift_y
        if offset is not None and shift_x is not None and shift_y is not None:
            of_x, of_y = offset.flatten(1).chunk(2, 1)
            shift_x, shift_y = shift_x + of_x, shift_y + of_y
        if shift_x is not None:
            x = x - _per_channel(shift_x, x)
        above = x if self.slope_pos is None else x * _per_channel(self.slope_pos, x)
        # Not a map of zeros: a NaN must survive to be seen by the loss.
        below = x * (0 if self.slope_neg is None else _per_channel(self.slope_neg, x))
        y = torch.where(x > 0, above, below)
        return y if shift_y is None else y + _per_channel(shift_y, x)

    def extra_repr(self) -> str:
        return f"{self.channels}, slope={self.slope!r}, shifts={self.shift_x is not None}"


class StaticRectifier(_Rectifier):
    """Any slope (``"relu"``, ``"negative"``, ``"both"``), with shifts or without."""

    def forward(self, x: Tensor) -> Tensor:
        return self._rectified(x)


class OffsetRectifier(_Rectifier):
    """With an ``offset`` [N, 2C] that another module computes: what is added to ``shift_x``, then to ``shift_y``."""

    def __init__(self, channels: int, slope: str) -> None:
        super().__init__(channels, slope, True)

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        return self._rectified(x, offset)


class PReLU(StaticRectifier):
    """``x`` above 0, ``slope_neg x`` else; ``slope_neg`` is [C] and 0.25 at first."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, "negative", False)


class RPReLU(StaticRectifier):
    """PReLU between two learned shifts, ``shift_x`` and ``shift_y`` [C] (ReActNet, 4.2: gamma and zeta)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, "negative", True)


class FPReLU(StaticRectifier):
    """``slope_pos x`` above 0, ``slope_neg x`` else (FTBNN); 1 and 0.25 at first, which is ours.

    With ``shifts`` it stands between two learned ones, as :class:`RPReLU` does.
    """

    def __init__(self, channels: int, *, shifts: bool = False) -> None:
        super().__init__(channels, "both", shifts)


class DyPReLU(_Rectifier):
    """RPReLU whose shifts move with each image, by a hyper function of the map [N, C, H, W] (DyBNN).

    It starts as an RPReLU. ``slope`` ``"both"`` makes it a moving FPReLU; the other options are those of :class:`DySign`.
    """

    def __init__(
        self,
        channels: int,
        *,
        slope: str = "negative",
        statistics: str = "mean",
        reduction: int = 8,
        precision: str = "i8",
        limit: Optional[float] = 0.5,
    ) -> None:
        super().__init__(channels, slope, True)
        self.hyper = HyperFunction(
            channels, 2 * channels, statistics=statistics, reduction=reduction, precision=precision, limit=limit
        )

    def forward(self, x: Tensor) -> Tensor:
        return self._rectified(x, self.hyper(x))


class ChannelShuffle(nn.Module):
    """Channel ``j * (C / groups) + i`` moves to ``i * groups + j`` (ShuffleNet, 3.1)."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        if groups < 1:
            raise ValueError(f"groups is {groups}, expected at least 1")
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        if channels % self.groups:
            raise ValueError(f"{channels} channels cannot be shuffled in {self.groups} groups")
        parts = x.reshape(n, self.groups, channels // self.groups, height, width)
        return parts.transpose(1, 2).reshape(x.shape)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Values [C] or [N, C] that broadcast over ``x``."""
    if x.dim() < 2 or values.shape[-1] != x.shape[1]:
        raise ValueError(f"the input has the shape {list(x.shape)}, expected [N, {values.shape[-1]}, ...]")
    return values.reshape(values.shape + (1,) * (x.dim() - 2))
