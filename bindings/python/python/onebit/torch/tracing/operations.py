"""What reads each class of layers, and each function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict

from torch import fx, nn

from .. import nn as ours
from . import layers, maps
from .graph import Value

if TYPE_CHECKING:
    from .reader import Reader

Read = Callable[["Reader", fx.Node, Any], Value]
LAYERS: Dict[Any, Read] = {
    nn.Conv2d: layers.conv,
    nn.Linear: layers.linear,
    nn.BatchNorm1d: layers.batch_norm,
    nn.BatchNorm2d: layers.batch_norm,
    nn.ReLU: layers.relu,
    nn.LeakyReLU: lambda reader, node, layer: layers.leaky(reader, node, layer.negative_slope),
    nn.PReLU: lambda reader, node, layer: layers.slopes(reader, node, layer.weight),
    nn.Hardtanh: lambda reader, node, layer: layers.clipped(reader, node, layer.min_val, layer.max_val),
    nn.MaxPool2d: lambda reader, node, layer: maps.max_pool2d(reader, node, vars(layer)),
    nn.AvgPool2d: lambda reader, node, layer: maps.avg_pool2d(reader, node, vars(layer)),
    nn.AdaptiveAvgPool2d: lambda reader, node, layer: maps.adaptive_avg_pool2d(reader, node, vars(layer)),
    nn.ChannelShuffle: lambda reader, node, layer: maps.channel_shuffle(reader, node, vars(layer)),
    ours.BinaryConv2d: layers.binary_conv,
    ours.BinaryLinear: layers.binary_linear,
    ours.Sign: layers.sign,
    ours.RSign: layers.sign_of_channels,
    ours.DySign: layers.moving_sign,
    ours.DyPReLU: layers.moving_rectifier,
    ours.ChannelShuffle: lambda reader, node, layer: maps.channel_shuffle(reader, node, vars(layer)),
    **{kind: layers.rectifier for kind in (ours.StaticRectifier, ours.PReLU, ours.RPReLU, ours.FPReLU)},
    **{
        kind: lambda reader, node, layer: maps.passed_on(reader, node, "identity", {})
        for kind in (nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.Flatten, nn.Unflatten)
    },
}
CALLS: Dict[str, Read] = {
    "add": maps.add,
    "relu": layers.relu,
    "leaky_relu": layers.leaky_relu,
    "prelu": layers.prelu,
    "max_pool2d": maps.max_pool2d,
    "avg_pool2d": maps.avg_pool2d,
    "adaptive_avg_pool2d": maps.adaptive_avg_pool2d,
    "mean": maps.mean,
    "cat": maps.cat,
    "hardtanh": layers.hardtanh,
    "clamp": layers.clamp,
    "channel_shuffle": maps.channel_shuffle,
    "getitem": maps.getitem,
}
