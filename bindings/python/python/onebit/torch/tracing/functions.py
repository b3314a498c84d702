"""Functions and methods of PyTorch: which are read, what their arguments are called, and what stands for the others."""

from __future__ import annotations

import operator
from typing import Any, Dict, Tuple

import torch
import torch.nn.functional as F
from torch import fx

# The values stay, in their order.
VIEWS = ("flatten", "reshape", "view", "squeeze", "unsqueeze")

SAME = ("contiguous", "clone", "detach", "dropout", "dropout2d", "float", "to")

FUNCTIONS: Dict[Any, str] = {
    function: name
    for name, functions in {
        "add": (operator.add, operator.iadd, torch.add),
        "relu": (F.relu, F.relu_, torch.relu, torch.relu_),
        "leaky_relu": (F.leaky_relu, F.leaky_relu_),
        "prelu": (F.prelu, torch.prelu),
        "max_pool2d": (F.max_pool2d, torch.max_pool2d, F.max_pool2d_with_indices),
        "avg_pool2d": (F.avg_pool2d,),
        "adaptive_avg_pool2d": (F.adaptive_avg_pool2d,),
        "mean": (torch.mean,),
        "cat": tuple(getattr(torch, name) for name in ("cat", "concat", "concatenate") if hasattr(torch, name)),
        "flatten": (torch.flatten,),
        "reshape": (torch.reshape,),
        "squeeze": (torch.squeeze,),
        "unsqueeze": (torch.unsqueeze,),
        "clone": (torch.clone,),
        "dropout": (F.dropout, torch.dropout),
        "dropout2d": (F.dropout2d,),
        "hardtanh": (F.hardtanh, F.hardtanh_),
        "clamp": (torch.clamp, torch.clip),
        "channel_shuffle": (F.channel_shuffle, torch.channel_shuffle),
        "getitem": (operator.getitem,),
    }.items()
    for function in functions
}

METHODS: Dict[str, str] = {
    **{name: name for name in ("add", "relu", "prelu", "mean", "clamp", *SAME, *VIEWS)},
    **{"add_": "add", "relu_": "relu", "clamp_": "clamp", "clip": "clamp", "clip_": "clamp"},
    **{"squeeze_": "squeeze", "unsqueeze_": "unsqueeze"},
}

# Names of arguments in their order.
ARGUMENTS: Dict[str, Tuple[str, ...]] = {
    "add": ("input", "other"),
    "leaky_relu": ("input", "negative_slope"),
    "prelu": ("input", "weight"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool2d": (
        "input",
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    ),
    "adaptive_avg_pool2d": ("input", "output_size"),
    "mean": ("input", "dim"),
    "cat": ("tensors", "dim"),
    "dropout": ("input", "p", "training"),
    "dropout2d": ("input", "p", "training"),
    "hardtanh": ("input", "min_val", "max_val"),
    "clamp": ("input", "min", "max"),
    "channel_shuffle": ("input", "groups"),
    "getitem": ("input", "index"),
}

_RECTIFIER = "use torch.nn.ReLU, or PReLU or RPReLU of onebit.torch.nn"
_NORM = "use torch.nn.BatchNorm2d"
_LARGER = "a map cannot become larger, classify from the smaller one"
_SIGN = "use onebit.torch.nn.Sign, whose sign of 0 is -1 (torch.sign gives 0)"
_LOGITS = "leave it out, a file gives logits"
_PARTS = "a map cannot be taken apart, use a convolution of the channels that are meant, or pooling"
_PRODUCT = (
    "no map is multiplied, leave squeeze-and-excitation out or use DySign or DyPReLU of onebit.torch.nn, and put factors into "
    "the layer in front"
)

_SUM = "use a sum, or a bias of the layer in front"
_MODULE = "use the module of torch.nn or onebit.torch.nn that has the weights"

# What stands for something that the format does not have, by its name in lower case without `_`.
_INSTEAD: Dict[str, str] = {
    **dict.fromkeys(("relu6", "silu", "gelu", "elu", "selu", "celu", "mish", "rrelu", "glu"), _RECTIFIER),
    **dict.fromkeys(("hardswish", "hardsigmoid", "softplus", "softsign", "threshold", "logsigmoid"), _RECTIFIER),
    **dict.fromkeys(("sigmoid", "exp", "abs", "square", "pow"), _RECTIFIER),
    "tanh": "leave it out in front of a sign at 0, which it does not change, or " + _RECTIFIER,
    **dict.fromkeys(("layernorm", "groupnorm", "instancenorm2d", "localresponsenorm", "rmsnorm", "normalize"), _NORM),
    **dict.fromkeys(("convtranspose2d", "upsample", "interpolate", "pixelshuffle", "upsamplingnearest2d"), _LARGER),
    **dict.fromkeys(("upsamplingbilinear2d", "maxunpool2d", "fold"), _LARGER),
    **dict.fromkeys(("sign", "sgn", "heaviside", "where", "gt", "ge", "lt", "le"), _SIGN),
    **dict.fromkeys(("softmax", "logsoftmax", "softmax2d", "argmax", "topk"), _LOGITS),
    **dict.fromkeys(("chunk", "split", "getitem", "narrow", "select", "unbind", "indexselect"), _PARTS),
    **dict.fromkeys(("mul", "imul", "matmul", "bmm", "einsum", "multiply"), _PRODUCT),
    **dict.fromkeys(("sub", "isub", "neg", "rsub"), _SUM),
    **dict.fromkeys(("div", "truediv", "itruediv"), "multiply the weights of the layer in front"),
    **dict.fromkeys(("conv2d", "linear", "batchnorm", "conv2dfunctional"), _MODULE),
    **dict.fromkeys(("transpose", "permute", "swapaxes", "movedim"), "use onebit.torch.nn.ChannelShuffle to mix channels"),
    **dict.fromkeys(("pad", "zeropad2d", "reflectionpad2d", "constantpad2d"), "use the padding of the layer behind"),
    **dict.fromkeys(("adaptivemaxpool2d", "maxpool1d", "lppool2d", "fractionalmaxpool2d"), "use torch.nn.MaxPool2d"),
    **dict.fromkeys(("conv1d", "conv3d", "lazyconv2d"), "use torch.nn.Conv2d"),
    **dict.fromkeys(("max", "amax", "sum", "std", "var"), "use torch.nn.MaxPool2d or AdaptiveAvgPool2d(1)"),
    "network": "it has a graph already, `onebit.pack` takes it by itself",
    "bilinear": "use torch.nn.Linear",
    **dict.fromkeys(("dataparallel", "distributeddataparallel"), "trace the module inside it"),
}


def unsupported(name: str) -> str:
    key = name.rstrip("_").replace("_", "").lower()
    advice = _INSTEAD.get(key)
    return "has no counterpart in a file" + (f": {advice}" if advice else "")


def function_name(node: fx.Node) -> str:
    target: Any = node.target
    if isinstance(target, str):
        return target
    known = FUNCTIONS.get(target)
    return known or str(getattr(target, "__name__", target)).strip("_")
