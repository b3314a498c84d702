"""Layers with weights or thresholds as nodes of the graph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, List, Mapping

import torch
from torch import Tensor, fx, nn

from .. import nn as ours
from ..hyper import HyperHead, HyperTrunk
from .graph import Clip, GraphNode, Problem, Value
from .windows import check_window, square

if TYPE_CHECKING:
    from .reader import Reader


def conv(reader: Reader, node: fx.Node, layer: nn.Conv2d) -> Value:
    if layer.padding_mode != "zeros":
        raise Problem(f"has padding_mode={layer.padding_mode!r}: only zeros are padded")
    if tuple(layer.dilation) != (1, 1):
        raise Problem(f"has dilation={tuple(layer.dilation)}: use 1, with a larger kernel or a stride in front")
    kernel = square("kernel_size", layer.kernel_size)
    stride = square("stride", layer.stride)
    padding: Any = layer.padding
    if padding == "same":
        if kernel % 2 == 0:
            raise Problem("has padding='same' of an even kernel, which is more on one side: use an odd kernel")
        padding = kernel // 2
    padding = 0 if padding == "valid" else square("padding", padding)
    op = {"conv": {"geometry": geometry(layer.out_channels, kernel, stride, padding, layer.groups)}}
    source = reader.argument(node)
    read = real_or(reader, source, "use onebit.torch.nn.BinaryConv2d")
    reader.check_map(source, read)
    return reader.emit(node, op, [read], reader.result_shape(node), {"weight": layer.weight, "bias": layer.bias})


def linear(reader: Reader, node: fx.Node, layer: nn.Linear) -> Value:
    source = reader.argument(node)
    read = real_or(reader, source, "use onebit.torch.nn.BinaryLinear")
    reader.check_vector(source)
    out = layer.out_features
    bias = torch.zeros(out) if layer.bias is None else layer.bias
    op = {"linear": {"out_features": out}}
    return reader.emit(node, op, [read], (out, 1, 1), {"weight": layer.weight, "bias": bias})


def real_or(reader: Reader, source: Any, advice: str) -> GraphNode:
    value = reader.known(source)
    if value.node.is_sign:
        raise Problem(f"has real weights and reads the signs of `{value.node.hint}`: {advice}")
    return reader.real(source)


def binary_conv(reader: Reader, node: fx.Node, layer: ours.BinaryConv2d) -> Value:
    kernel, stride = square("kernel_size", layer.kernel_size), square("stride", layer.stride)
    padding = square("padding", layer.padding)
    source = reader.argument(node)
    read = reader.bits(source)
    reader.check_map(source, read)
    window = geometry(layer.out_channels, kernel, stride, padding, layer.groups)
    op = {"conv_bin": {"geometry": window, "pad": layer.pad, "scale": layer.scale_kind}}
    return reader.emit(node, op, [read], reader.result_shape(node), {"weight": layer.weight, "scale": layer.scale})


def binary_linear(reader: Reader, node: fx.Node, layer: ours.BinaryLinear) -> Value:
    source = reader.argument(node)
    read = reader.bits(source)
    reader.check_vector(source)
    op = {"linear_bin": {"out_features": layer.out_features, "scale": layer.scale_kind}}
    tensors = {"weight": layer.weight, "scale": layer.scale}
    return reader.emit(node, op, [read], (layer.out_features, 1, 1), tensors)


def batch_norm(reader: Reader, node: fx.Node, layer: nn.BatchNorm2d) -> Value:
    if layer.running_mean is None or layer.running_var is None:
        raise Problem("has no running statistics, so what it gives depends on the batch: use track_running_stats=True")
    read = reader.of_channels(reader.argument(node))
    channels = layer.num_features
    tensors = {
        "weight": torch.ones(channels) if layer.weight is None else layer.weight,
        "bias": torch.zeros(channels) if layer.bias is None else layer.bias,
        "running_mean": layer.running_mean,
        "running_var": layer.running_var,
    }
    return reader.emit(node, {"batch_norm": {"eps": layer.eps}}, [read], read.shape, tensors)


def relu(reader: Reader, node: fx.Node, given: Any) -> Value:
    source = reader.argument(node)
    read = reader.real(source)
    return reader.emit(node, rectifier_op("relu"), [read], read.shape)


def leaky(reader: Reader, node: fx.Node, slope: float) -> Value:
    read = reader.real(reader.argument(node))
    slopes = torch.full((read.shape[0],), float(slope))
    return reader.emit(node, rectifier_op("negative"), [read], read.shape, {"slope_neg": slopes})


def leaky_relu(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    return leaky(reader, node, given.get("negative_slope", 0.01))


def prelu(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    weight = reader.constants.get(given["weight"])
    if weight is None:
        raise Problem("has slopes that depend on the image: use onebit.torch.nn.DyPReLU")
    return slopes(reader, node, weight)


def slopes(reader: Reader, node: fx.Node, weight: Tensor) -> Value:
    source = reader.argument(node)
    read = reader.real(source) if weight.numel() == 1 else reader.of_channels(source)
    slopes = weight.detach().flatten().expand(read.shape[0])
    return reader.emit(node, rectifier_op("negative"), [read], read.shape, {"slope_neg": slopes})


def rectifier(reader: Reader, node: fx.Node, layer: ours.StaticRectifier) -> Value:
    read = reader.of_channels(reader.argument(node))
    op = rectifier_op(layer.slope, "none" if layer.shift_x is None else "static")
    return reader.emit(node, op, [read], read.shape, rectifier_tensors(layer))


def moving_rectifier(reader: Reader, node: fx.Node, layer: ours.DyPReLU) -> Value:
    source = reader.argument(node)
    read = reader.of_channels(source)
    reader.check_map(source, read)
    moved = offsets(reader, node, read, layer.hyper)
    return reader.emit(node, rectifier_op(layer.slope, "dynamic"), [read, moved], read.shape, rectifier_tensors(layer))


def offsets(reader: Reader, node: fx.Node, read: GraphNode, hyper: nn.Sequential) -> GraphNode:
    trunk, head = hyper
    assert isinstance(trunk, HyperTrunk) and isinstance(head, HyperHead)
    hidden, outputs = trunk.weight.shape[0], head.weight.shape[0]
    name = reader.hint_of(node) + ".hyper"
    options: Any = {"statistics": trunk.statistics, "hidden": hidden, "precision": trunk.precision}
    weights = {"weight": trunk.weight, "bias": trunk.bias}
    vector = reader.emit(node, {"hyper_trunk": options}, [read], (hidden, 1, 1), weights, name + ".trunk").node
    bound: Any = "raw" if head.limit is None else {"sigmoid": {"lambda": head.limit}}
    options = {"outputs": outputs, "range": bound, "precision": head.precision}
    weights = {"weight": head.weight, "bias": head.bias}
    return reader.emit(node, {"hyper_head": options}, [vector], (outputs, 1, 1), weights, name + ".head").node


def sign(reader: Reader, node: fx.Node, layer: ours.Sign) -> Value:
    read = unclipped(reader, reader.argument(node), [0.0])
    return reader.emit(node, {"sign": {"threshold": "zero"}}, [read], read.shape)


def sign_of_channels(reader: Reader, node: fx.Node, layer: ours.RSign) -> Value:
    assert layer.threshold is not None
    source = reader.argument(node)
    thresholds = layer.threshold.detach()
    read = unclipped(reader, source, thresholds.tolist())
    reader.check_channels(source, read)
    return reader.emit(node, {"sign": {"threshold": "static"}}, [read], read.shape, {"threshold": thresholds})


def moving_sign(reader: Reader, node: fx.Node, layer: ours.DySign) -> Value:
    source = reader.argument(node)
    read = reader.of_channels(source)
    reader.check_map(source, read)
    moved = offsets(reader, node, read, layer.hyper)
    tensors = {"threshold": layer.threshold}
    return reader.emit(node, {"sign": {"threshold": "dynamic"}}, [read, moved], read.shape, tensors)


def unclipped(reader: Reader, source: Any, thresholds: List[float]) -> GraphNode:
    """What a sign reads: a Hardtanh in front of it changes nothing where it leaves both sides of the thresholds."""
    value = reader.known(source)
    clip = value.clip
    if clip is None:
        return reader.real(source)
    if not all(clip.least <= threshold < clip.most for threshold in thresholds):
        raise Problem(
            f"has thresholds outside [{clip.least:g}, {clip.most:g}), to which {clip.place} clips: leave that out"
        )
    return value.node


def hardtanh(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    return clipped(reader, node, given.get("min_val", -1.0), given.get("max_val", 1.0))


def clamp(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    least, most = given.get("min"), given.get("max")
    if isinstance(least, fx.Node) or isinstance(most, fx.Node):
        raise Problem("has bounds that are tensors: use numbers")
    return clipped(reader, node, -math.inf if least is None else least, math.inf if most is None else most)


def clipped(reader: Reader, node: fx.Node, least: float, most: float) -> Value:
    read = reader.real(reader.argument(node))
    return Value(read, Clip(least, most, reader.shown(node)))


def geometry(out_channels: int, kernel: int, stride: int, padding: int, groups: int) -> Dict[str, int]:
    if padding >= kernel:
        raise Problem(f"has padding={padding}: it must be less than the kernel, {kernel}")
    check_window(kernel, stride)
    return {"out_channels": out_channels, "kernel": kernel, "stride": stride, "padding": padding, "groups": groups}


def rectifier_op(slope: str, shift: str = "none") -> Dict[str, Any]:
    return {"prelu": {"slope": slope, "shift": shift}}


def rectifier_tensors(layer: ours._Rectifier) -> Dict[str, Any]:
    return {name: getattr(layer, name) for name in ("slope_pos", "slope_neg", "shift_x", "shift_y")}
