"""What moves or joins the values of maps: poolings, sums, concatenations, views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import torch
from torch import Tensor, fx

from .functions import unsupported
from .graph import GraphNode, Problem, Unknown, Value, extents
from .record import TRACED
from .windows import LARGEST_WINDOW, square, window

if TYPE_CHECKING:
    from .reader import Reader


def max_pool2d(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    kernel, stride = window(given)
    padding = square("padding", given.get("padding", 0))
    if given.get("return_indices"):
        raise Problem("has return_indices=True: only the values can be used")
    if square("dilation", given.get("dilation", 1)) != 1:
        raise Problem(f"has dilation={given['dilation']}: use 1")
    source = reader.argument(node)
    value = reader.known(source)
    reader.check_map(source, value.node)
    op = {"max_pool": {"kernel": kernel, "stride": stride, "padding": padding}}
    shape = reader.result_shape(node)
    if not value.node.is_sign:
        # A maximum of clipped values is the clipped maximum.
        return reader.emit(node, op, [value.node], shape)._replace(clip=value.clip)
    # A maximum of signs is the sign of the maximum.
    sign = value.node
    pool = reader.emit(node, op, sign.inputs[:1], shape).node
    behind = GraphNode(sign.op, [pool, *sign.inputs[1:]], shape, sign.hint, sign.of_layer, node.name, sign.tensors)
    reader.nodes.append(behind)
    return Value(behind)


def avg_pool2d(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    source = reader.argument(node)
    padding: Any = given.get("padding", 0)
    if padding not in (0, (0, 0), [0, 0]):
        raise Problem(f"has padding={padding}: use 0")
    if given.get("divisor_override") is not None:
        raise Problem("has a divisor of its own: leave it out")
    size: Any = given["kernel_size"]
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if sides == tuple(reader.tensor(source).shape[2:]) and (sides[0] != sides[-1] or sides[0] > LARGEST_WINDOW):
        return whole(reader, node)
    kernel, stride = window(given)
    read = reader.real(source)
    reader.check_map(source, read)
    return reader.emit(node, {"avg_pool": {"kernel": kernel, "stride": stride}}, [read], reader.result_shape(node))


def adaptive_avg_pool2d(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    size: Any = given["output_size"]
    if size not in (1, (1, 1), [1, 1]):
        raise Problem(f"has the output size {size}: use 1, or torch.nn.AvgPool2d, or nothing where it changes no map")
    return whole(reader, node)


def mean(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    source = reader.argument(node)
    axes: Any = given.get("dim", given.get("axis"))
    rank = reader.tensor(source).dim()
    axes = [axes] if isinstance(axes, int) else (list(range(rank)) if axes is None else axes)
    if rank < 3 or {axis % rank for axis in axes} != set(range(2, rank)):
        raise Problem(f"is over the axes {list(axes)}: only a mean over height and width, (2, 3), can be taken")
    read = reader.real(source)
    if reader.tensor(source).shape[1] != read.shape[0]:
        raise Problem(f"reads a view of the map {extents(read.shape)}: let it read the map itself")
    return reader.emit(node, "global_avg_pool", [read], (read.shape[0], 1, 1))


def whole(reader: Reader, node: fx.Node) -> Value:
    source = reader.argument(node)
    read = reader.real(source)
    reader.check_map(source, read)
    return reader.emit(node, "global_avg_pool", [read], (read.shape[0], 1, 1))


def add(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    if given.get("alpha", 1) != 1:
        raise Problem(f"has alpha={given['alpha']}: use 1")
    a, b = given["input"], given["other"]
    for one, other in ((a, b), (b, a)):
        if isinstance(one, (int, float)) and one == 0:
            # `sum` begins with it.
            return reader.known(other)
        if isinstance(one, fx.Node) and one in reader.constants:
            return biased(reader, node, other, reader.constants[one])
        if not isinstance(one, fx.Node):
            raise Problem("adds a number: use a bias of the layer in front, or RPReLU of onebit.torch.nn")
    sources = [reader.real(a), reader.real(b)]
    shapes = [list(reader.tensor(source).shape[1:]) for source in (a, b)]
    if shapes[0] != shapes[1] or sources[0].shape != sources[1].shape:
        raise Problem(f"adds {shapes[0]} and {shapes[1]} of an image: both must have one shape")
    return reader.emit(node, "add", sources, sources[0].shape)


def biased(reader: Reader, node: fx.Node, source: Any, bias: Tensor) -> Value:
    """A sum with a constant for each channel: an affine node, unless it can be the bias of the convolution in front."""
    read = reader.of_channels(source)
    rank = reader.tensor(source).dim()
    extents = [1] * (rank - bias.dim()) + list(bias.shape)
    if bias.dim() > rank or bias.dtype != torch.float32 or any(n != 1 for n in extents[:1] + extents[2:]):
        raise Problem(f"adds a constant of the shape {list(bias.shape)}: it must be float32, one number for each channel")
    shift = bias.detach().flatten().expand(read.shape[0])
    return reader.emit(node, "affine", [read], read.shape, {"scale": torch.ones(read.shape[0]), "shift": shift})


def cat(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    parts: Any = given["tensors"]
    if not isinstance(parts, (list, tuple)):
        raise Problem("joins what a function gives: list the tensors")
    axis = given.get("dim", given.get("axis", 0))
    rank = reader.tensor(parts[0]).dim()
    if axis % rank != 1:
        raise Problem(f"joins along dim={axis}: only channels, dim=1, can be joined")
    sources = [reader.real(part) for part in parts]
    joined = sources[0]
    for part, source in zip(parts, sources):
        if rank == 4:
            reader.check_map(part, source)
        elif source.shape[1:] != joined.shape[1:]:
            raise Problem("joins flattened maps of different sizes: make them of one size")
    for source in sources[1:]:
        shape = (joined.shape[0] + source.shape[0], *joined.shape[1:])
        joined = reader.emit(node, "concat", [joined, source], shape).node
    return Value(joined)


def channel_shuffle(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    source = reader.argument(node)
    read = reader.real(source)
    reader.check_map(source, read)
    return reader.emit(node, {"channel_shuffle": {"groups": given["groups"]}}, [read], read.shape)


def getitem(reader: Reader, node: fx.Node, given: Mapping[str, Any]) -> Value:
    if not isinstance(reader.tracer.value(given["input"]), Tensor):
        raise Unknown
    index: Any = given["index"]
    parts = index if isinstance(index, tuple) else (index,)
    if not all(part is None or part is Ellipsis or part == slice(None) for part in parts):
        raise Problem(unsupported("getitem"))
    return passed_on(reader, node, "view", given)


def passed_on(reader: Reader, node: fx.Node, function: str, given: Mapping[str, Any]) -> Value:
    """A value whose elements stay, in their order."""
    if function in ("dropout", "dropout2d") and given.get("training", True):
        raise Problem("drops values in evaluation too: give it training=self.training, or use torch.nn.Dropout")
    source = reader.argument(node)
    value = reader.known(source)
    result = reader.tracer.value(node)
    if result.dim() < 2 or result.shape[0] != TRACED or result.numel() != reader.tensor(source).numel():
        raise Problem(f"makes {list(result.shape)} of {TRACED} images: keep the first axis, as `flatten(1)` does")
    return value
