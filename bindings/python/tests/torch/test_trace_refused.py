"""Modules of the user's own that cannot be expressed, and what is said of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable

import pytest
from common import torch

import onebit
import onebit.torch as ob
from onebit.torch.tracing import trace
from torch import Tensor, nn
from torch.nn import functional as F
from modules import Head, SMALL, Forward, conv, ops, proved, refused, shaken


class Inverted(nn.Module):
    """A block of MobileNetV2 with squeeze-and-excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.act = nn.ReLU6()
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=(1, 1), groups=2 * channels, dilation=1)
        self.norm = nn.GroupNorm(2, 2 * channels)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2 * channels, 2 * channels, 1), nn.Sigmoid())
        self.project = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Any:
        y = self.norm(self.depthwise(self.act(self.expand(x))))
        y = y * self.squeeze(y)
        return x + self.project(torch.sign(y))


class Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, (1, 3), padding=(0, 1))
        self.wide = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.edges = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.block = Inverted(8)
        self.down = nn.MaxPool2d(2, ceil_mode=True)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.lists = nn.ModuleDict({"act": nn.SiLU()})
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Any:
        x = self.edges(self.wide(self.stem(x)))
        y = self.lists["act"](self.block(self.down(x)))
        y = torch.cat([F.interpolate(y, scale_factor=2.0), self.up(y)], 1)
        return self.head(y.mean((2, 3))), y


def test_everything_that_cannot_be_expressed_is_listed_at_once() -> None:
    net = Unet()
    message = refused(
        net,
        "the module cannot be expressed: ",
        "`stem` (Conv2d) has kernel_size=(1, 3): use one number for both axes",
        "`wide` (Conv2d) has dilation=(2, 2): use 1",
        "`edges` (Conv2d) has padding_mode='reflect': only zeros are padded",
        "`down` (MaxPool2d) has ceil_mode=True",
        "`block.act` (ReLU6) has no counterpart in a file: use torch.nn.ReLU",
        "`block.norm` (GroupNorm) has no counterpart in a file: use torch.nn.BatchNorm2d",
        "`block.squeeze.2` (Sigmoid) has no counterpart",
        "`mul` in `block` (test_trace_refused.py:",
        "squeeze-and-excitation",
        "`sign` in `block` (test_trace_refused.py:",
        "use onebit.torch.nn.Sign, whose sign of 0 is -1 (torch.sign gives 0)",
        "`lists.act` (SiLU) has no counterpart",
        "`interpolate` (test_trace_refused.py:",
        "`up` (ConvTranspose2d) has no counterpart",
        "the output is not one tensor: it must be the logits",
    )
    assert message.count("; ") == 12 and "`block.project`" not in message and "`head`" not in message
    line = int(re.findall(r"`mul` in `block` \(test_trace_refused.py:(\d+)\)", message)[0])
    assert Path(__file__).read_text().splitlines()[line - 1].strip() == "y = y * self.squeeze(y)"


# One by one: what can be.


class Plain(nn.Conv2d):
    """A convolution with other defaults."""

    def __init__(self, inputs: int, out: int) -> None:
        super().__init__(inputs, out, 3, bias=False)


def test_a_subclass_that_computes_the_same_is_one(tmp_path: Path) -> None:
    assert ops(proved(shaken(nn.Sequential(Plain(3, 8), Head())), tmp_path))[1] == "conv"


# One by one: what cannot be.


class Binarized(nn.Conv2d):
    """A convolution that is not one, as many published codes have it."""

    def forward(self, input: Tensor) -> Any:
        return F.conv2d(input, torch.sign(self.weight))


def hooked() -> nn.Module:
    layer = nn.ReLU()
    layer.register_forward_hook(lambda module, given, y: y + 1)
    return layer


def staged() -> nn.Module:
    layer = ob.nn.BinaryConv2d(8, 8, 1)
    layer.stage = "binary_activations"
    return nn.Sequential(ob.nn.Sign(), layer)


def clipped(threshold: float, clip: nn.Module) -> nn.Module:
    sign = ob.nn.RSign(8)
    nn.init.constant_(sign.threshold, threshold)  # type: ignore[arg-type]
    return nn.Sequential(clip, sign, ob.nn.BinaryConv2d(8, 8, 1))


REFUSED_LAYERS: dict[str, Callable[[], nn.Module]] = {
    "has kernel_size=(3, 1): use one number": lambda: nn.Conv2d(8, 8, (3, 1)),
    "has stride=(2, 1): use one number": lambda: nn.Conv2d(8, 8, 3, stride=(2, 1)),
    "has padding=(1, 0): use one number": lambda: nn.Conv2d(8, 8, 3, padding=(1, 0)),
    "has padding=1: it must be less than the kernel": lambda: nn.Conv2d(8, 8, 1, padding=1),
    "has padding='same' of an even kernel": lambda: nn.Conv2d(8, 8, 2, padding="same"),
    "has dilation=(2, 2): use 1": lambda: nn.Conv2d(8, 8, 3, dilation=2),
    "has padding_mode='circular'": lambda: nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
    "(MaxPool2d) has ceil_mode=True": lambda: nn.MaxPool2d(2, ceil_mode=True),
    "(MaxPool2d) has dilation=2": lambda: nn.MaxPool2d(2, dilation=2),
    "(AvgPool2d) has ceil_mode=True": lambda: nn.AvgPool2d(2, ceil_mode=True),
    "(AvgPool2d) has padding=1": lambda: nn.AvgPool2d(3, padding=1),
    "has a divisor of its own": lambda: nn.AvgPool2d(2, divisor_override=3),
    "has kernel_size=(2, 1)": lambda: nn.AvgPool2d((2, 1)),
    "has the output size (2, 2): use 1": lambda: nn.AdaptiveAvgPool2d((2, 2)),
    "has no running statistics": lambda: nn.BatchNorm2d(8, track_running_stats=False),
    "(SiLU) has no counterpart in a file: use torch.nn.ReLU": nn.SiLU,
    "(Hardswish) has no counterpart": nn.Hardswish,
    "(Tanh) has no counterpart in a file: leave it out in front of a sign": nn.Tanh,
    "(LayerNorm) has no counterpart in a file: use torch.nn.BatchNorm2d": lambda: nn.LayerNorm(6),
    "(Upsample) has no counterpart in a file: a map cannot become larger": lambda: nn.Upsample(scale_factor=2),
    "(Softmax) has no counterpart in a file: leave it out": lambda: nn.Softmax(1),
    "(ZeroPad2d) has no counterpart in a file: use the padding of": lambda: nn.ZeroPad2d(1),
    "(Binarized) is a Conv2d with a `forward` of its own, which is not looked into": lambda: Binarized(8, 8, 3),
    "for binary weights use onebit.torch.nn.BinaryConv2d": lambda: Binarized(8, 8, 3),
    "(ReLU) has hooks, whose effect is not seen": hooked,
    "is in the stage 'binary_activations'": staged,
    "has real weights and reads the signs of `1.0`: use onebit.torch.nn.BinaryConv2d": lambda: nn.Sequential(
        ob.nn.Sign(), nn.Conv2d(8, 8, 1)
    ),
    "(BatchNorm2d) reads the signs of `1.0`": lambda: nn.Sequential(ob.nn.Sign(), nn.BatchNorm2d(8)),
    "(BinaryConv2d) reads real values: put Sign, RSign or DySign": lambda: ob.nn.BinaryConv2d(8, 8, 1),
    "has thresholds outside [-1, 1), to which `1.0` (Hardtanh) clips": lambda: clipped(1.0, nn.Hardtanh()),
    "has thresholds outside [0, 1)": lambda: clipped(-0.1, nn.Hardtanh(0.0, 1.0)),
    "(ReLU) reads what `1.0` (Hardtanh) clips, which only a sign": lambda: nn.Sequential(nn.Hardtanh(), nn.ReLU()),
    "(BatchNorm1d) has a parameter for each of [288] values, which is a view of 8x6x6": lambda: nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(288)
    ),
    "(Linear) reads [8, 6, 6] of an image: put `flatten(1)` in front": lambda: nn.Linear(6, 6),
    "(Flatten) makes [576] of 2 images: keep the first axis": lambda: nn.Flatten(0),
    "reads [16, 3, 6], a view of the map 8x6x6": lambda: nn.Sequential(
        nn.Flatten(), nn.Unflatten(1, (16, 3, 6)), nn.MaxPool2d(2)
    ),
    "(Network) has no counterpart in a file: it has a graph already": lambda: ob.Network(
        onebit.graph("resnet-small", classes=3, input=(8, 6, 6), widths=[8], blocks=[1], mean=[0] * 8, std=[1] * 8)
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("part", REFUSED_LAYERS)
def test_layers_that_cannot_be_expressed(part: str) -> None:
    message = refused(nn.Sequential(conv(), REFUSED_LAYERS[part](), nn.Identity()), part)
    assert message.count("`1") <= 2 or part.startswith("has no"), message


REFUSED_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "use onebit.torch.nn.Sign, whose": lambda m, x: torch.sign(x),
    "`sign` (test_trace_refused.py:": lambda m, x: x.sign(),
    "`gt` (test_trace_refused.py:": lambda m, x: m.bits((x > 0).float()),
    "squeeze-and-excitation": lambda m, x: x * x.mean((2, 3), keepdim=True),
    "`sub` (test_trace_refused.py:": lambda m, x: x - m.a(x),
    "adds a number": lambda m, x: x + 1,
    "adds a constant of the shape [6]": lambda m, x: x + torch.ones(6),
    "has alpha=2": lambda m, x: torch.add(x, x, alpha=2),
    "adds [8, 6, 6] and [8, 1, 1]": lambda m, x: x + x.mean((2, 3), keepdim=True),
    "joins along dim=2": lambda m, x: torch.cat([x, x], 2),
    "`chunk` (test_trace_refused.py:": lambda m, x: sum(x.chunk(2, 1)),
    "a map cannot be taken apart": lambda m, x: x[:, :, ::2, ::2],
    "`interpolate` (test_trace_refused.py:": lambda m, x: F.interpolate(x, scale_factor=2.0),
    "`relu6` (test_trace_refused.py:": lambda m, x: F.relu6(x),
    "`sigmoid` (test_trace_refused.py:": lambda m, x: x.sigmoid(),
    "`conv2d` (test_trace_refused.py:": lambda m, x: F.conv2d(x, m.a.weight),
    "use the padding of the layer behind": lambda m, x: F.pad(x, (1, 1, 1, 1)),
    "is over the axes [3]: only a mean over height and width": lambda m, x: x.mean(3),
    "`permute` (test_trace_refused.py:": lambda m, x: x.permute(0, 1, 3, 2),
    "drops values in evaluation too": lambda m, x: F.dropout(x, 0.1),
    "has return_indices=True": lambda m, x: F.max_pool2d(x, 2, return_indices=True)[0],
    "`flatten` (test_trace_refused.py:": lambda m, x: x.flatten(),
    "has bounds that are tensors": lambda m, x: torch.clamp(x, x.mean((2, 3), keepdim=True)),
    "the output is not one tensor: it must be the logits": lambda m, x: (x, x),
    "the output is not one tensor": lambda m, x: {"out": x},
    "the output has [288] of an image, of the map 8x6x6": lambda m, x: x.flatten(1),
    "the output has [8, 6, 6] of an image": lambda m, x: x,
    "the output is signs": lambda m, x: m.sign(x),
    "the output does not depend on the image": lambda m, x: m.a.weight,
}


@pytest.mark.parametrize("part", REFUSED_FUNCTIONS)
def test_functions_that_cannot_be_expressed(part: str) -> None:
    forward = REFUSED_FUNCTIONS[part]
    layers = {"stem": conv(), "a": nn.Conv2d(8, 8, 1), "sign": ob.nn.Sign(), "bits": ob.nn.BinaryConv2d(8, 8, 1)}
    message = refused(Forward(lambda m, x: forward(m, m.stem(x)), **layers), "the module cannot be expressed: ", part)
    assert message.count("test_trace_refused.py") <= 1 and "None" not in message


UNTRACED: dict[str, Callable[[Any, Any], Any]] = {
    "a graph cannot depend on the values of the images or on their number": lambda m, x: x if x.mean() > 0 else -x,
    "make it depend on shapes or settings (": lambda m, x: x + int(x.sum()),
    "(symbolically traced variables cannot be used as inputs to control flow)": lambda m, x: x if x.size(0) > 1 else x,
    "it calls a layer that is none of its submodules": lambda m, x: nn.ReLU()(x),
    "it does not run on images [2, 3, 8, 8], RuntimeError: Given groups=1": lambda m, x: m.inner(x[:, :2]),
}


def test_what_cannot_be_expressed_is_listed_before_what_does_not_run() -> None:
    net = nn.Sequential(nn.SiLU(), nn.MultiheadAttention(8, 2), nn.GELU())
    message = refused(net, "`0` (SiLU) has no counterpart", "`1` (MultiheadAttention) has no counterpart")
    assert "; the module cannot be traced in `1`: it does not run on images [2, 3, 8, 8], TypeError: " in message


@pytest.mark.parametrize("part", UNTRACED)
def test_what_cannot_be_traced(part: str) -> None:
    forward = UNTRACED[part]
    net = nn.Sequential(nn.Identity(), Forward(lambda m, x: forward(m, x), inner=conv()))
    refused(net, part, " in `1.inner` (" if "run" in part else " in `1` (", "the module cannot be traced", "test_trace_refused.py:")


def test_more_than_one_input_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Any:
            return x + y

    refused(Two(), "the module has 2 inputs, x, y: a network has one, the image")
    with pytest.raises(ValueError, match="expected channels, height and width"):
        trace(conv(), (8, 8))
    with pytest.raises(TypeError, match="`weight` is torch.float64, expected torch.float32"):
        trace(conv().double(), SMALL)
