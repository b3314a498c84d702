"""A packed network as an OpenVINO graph on its operation BinaryConvolution.

To be compiled with `INFERENCE_PRECISION_HINT` f32. The default is bfloat16 on CPUs that have it, which turns many signs.
"""

from collections import Counter
from fractions import Fraction

import numpy as np
import openvino
import openvino.opset8 as ops

from onebit_file import Network


def build(path):
    """The network of the file, for one image in NCHW. Vectors are maps of one pixel up to the logits."""
    network = Network(path)
    _fold_affines(network)
    flat = _flat_signs(network)
    values = {}
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        if node.name in flat:
            inputs[0] = _flat(inputs[0])
        value = _value(network, node, inputs)
        value.set_friendly_name(node.name)
        values[node.name] = value.output(0)
    first, last = network.nodes[0], network.nodes[-1]
    logits = _reshaped(values[last.name], [1, -1])
    return openvino.Model([logits], [values[first.name].get_node()], network.arch)


def _fold_affines(network):
    """Gives signs `limits`, and `turned` for each channel, and takes affines out of their way that nothing else reads.

    OpenVINO folds those itself, rounding `threshold - shift`. With a threshold just below 0, which makes the sign of 0 a +1,
    that rounds to `-shift`, and a sum that is exactly there becomes a -1.
    """
    nodes = {node.name: node for node in network.nodes}
    readers = Counter(name for node in network.nodes for name in node.inputs)
    for node in network.nodes:
        if node.op != "sign" or node.threshold == "dynamic":
            continue
        source, affines = nodes[node.inputs[0]], []
        while source.op == "affine" and readers[source.name] == 1:
            affines.append((network.floats(source, "scale"), network.floats(source, "shift")))
            source = nodes[source.inputs[0]]
        node.inputs = [source.name]
        thresholds = network.floats(node, "threshold") if node.threshold == "static" else np.zeros(1)
        if affines:
            thresholds = np.broadcast_to(thresholds, affines[0][0].shape)
        limits = [
            _limit(threshold, [(scale[channel], shift[channel]) for scale, shift in affines])
            for channel, threshold in enumerate(thresholds)
        ]
        node.limits, node.turned = map(np.array, zip(*limits))


def _limit(threshold, affines):
    """`x > limit`, or where it is turned `x <= limit`, of what enters affines whose output is compared with a threshold."""
    limit, turned = Fraction(float(threshold)), False
    for scale, shift in affines:
        if scale == 0:
            positive = float(shift) < limit if turned else float(shift) > limit
            return np.float32(-np.inf if positive else np.inf), False
        limit = (limit - Fraction(float(shift))) / Fraction(float(scale))
        turned ^= bool(scale < 0)
    with np.errstate(over="ignore"):
        rounded = np.float32(float(limit))
    if float(rounded) > limit or turned and float(rounded) == limit:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return rounded, turned


def _flat_signs(network):
    """Names of the signs that only 1-bit layers read: their maps are flattened before there are bits."""
    readers = {node.name: set() for node in network.nodes}
    for node in network.nodes:
        for name in node.inputs:
            readers[name].add(node.op)
    return {node.name for node in network.nodes if node.op == "sign" and readers[node.name] == {"linear_bin"}}


def _value(network, node, inputs):
    if node.op == "input":
        return ops.parameter([1, node.channels, node.height, node.width], np.float32)
    _need(node, node.op in BUILDERS, "there is no form of it in OpenVINO here")
    return BUILDERS[node.op](network, node, *inputs)


def _need(node, holds, otherwise):
    if not holds:
        raise ValueError(f"node {node.name}, {node.op}: {otherwise}")


def _shape(value):
    return list(value.get_shape())


def _reshaped(value, shape):
    return ops.reshape(value, ops.constant(np.array(shape)), False)


def _flat(value):
    """A map as a vector, channels innermost as in the file."""
    if _shape(value)[2:] != [1, 1]:
        value = ops.transpose(value, ops.constant(np.array([0, 2, 3, 1])))
    return _reshaped(value, [1, -1, 1, 1]).output(0)


def _constant(values):
    return ops.constant(np.asarray(values, np.float32))


def _per_channel(network, node, suffix):
    return _constant(network.floats(node, suffix).reshape(1, -1, 1, 1))


def _window(node):
    return [node.stride] * 2, [node.padding] * 2, [node.padding] * 2, [1, 1]


def _conv(network, node, x):
    _need(node, node.groups == 1, "it has groups")
    weight = network.floats(node, "weight").transpose(0, 3, 1, 2)
    return ops.convolution(x, _constant(weight), *_window(node))


def _conv_bin(network, node, x):
    """The CPU leaves padded taps out with the padding value 0, where OpenVINO's specification has -1, and counts +1 with 1."""
    _, channels, height, width = _shape(x)
    _need(node, node.groups == 1, "it has groups")
    # OpenVINO 2026.4 mixes the bits of neighbouring pixels up where they do not end with a byte.
    _need(node, channels % 8 == 0 or height * width == 1, f"OpenVINO misreads {channels} channels, which fill no whole bytes")
    # Its sums are off by a number of taps with a stride of 3 or 5 and a wider window, unless padding is +1.
    right = node.pad == "one" or node.stride in (1, 2, 4, 8, 16) or node.kernel <= node.stride
    _need(node, right, f"OpenVINO miscounts the taps of windows of {node.kernel} with stride {node.stride}")
    weight = network.bits(node, [node.out_channels, node.kernel, node.kernel, channels])
    return _binary(x, weight.transpose(0, 3, 1, 2), _window(node), 1.0 if node.pad == "one" else 0.0)


def _linear_bin(network, node, x):
    _, channels, height, width = _shape(x)
    _need(node, height * width == 1, "a convolution reads the bits of its map, too")
    weight = network.bits(node, [node.out_features, channels, 1, 1])
    return _binary(x, weight, ([1, 1], [0, 0], [0, 0], [1, 1]), 0.0)


def _binary(x, weight, window, pad_value):
    """`x` and `weight` are 0 or 1 for -1 or +1."""
    packed = np.packbits(weight.ravel(), bitorder="little")
    tensor = openvino.Tensor(packed, openvino.Shape(list(weight.shape)), openvino.Type.u1)
    constant = openvino.op.Constant(tensor, shared_memory=False)
    return ops.binary_convolution(x, constant, *window, "xnor-popcount", pad_value)


def _affine(network, node, x):
    """OpenVINO takes subnormal constants as 0. A sign behind them needs the values' signs alone, a sum not even those."""
    scale, shift = (network.floats(node, suffix).reshape(1, -1, 1, 1) for suffix in ("scale", "shift"))
    subnormal = np.maximum(abs(scale), abs(shift)) < np.finfo(np.float32).tiny
    factor = np.where(subnormal, np.float32(2.0**64), np.float32(1.0))
    return ops.add(ops.multiply(x, _constant(factor * scale)), _constant(factor * shift))


def _sign(network, node, x):
    _need(node, node.threshold != "dynamic", "its thresholds depend on the image")
    # Several for each channel where the map is flattened.
    channels = _shape(x)[1]
    limits, low, high = (
        np.resize(values, channels).reshape(1, -1, 1, 1) for values in (node.limits, node.turned, ~node.turned)
    )
    # OpenVINO fuses it with a convolution only if no two of its inputs are one constant.
    return ops.fake_quantize(x, _constant(limits), _constant(limits), _constant(low), _constant(high), 2)


def _prelu(network, node, x):
    _need(node, node.slope != "both", "it has slopes on both sides")
    _need(node, node.shift != "dynamic", "its shifts depend on the image")
    rectified = ops.relu if node.slope == "relu" else lambda v: ops.prelu(v, _constant(network.floats(node, "slope_neg")))
    if node.shift == "none":
        return rectified(x)
    moved = ops.add(x, _constant(-network.floats(node, "shift_x").reshape(1, -1, 1, 1)))
    return ops.add(rectified(moved), _per_channel(network, node, "shift_y"))


def _avg_pool(network, node, x):
    return ops.avg_pool(x, [node.stride] * 2, [0, 0], [0, 0], [node.kernel] * 2, True)


def _max_pool(network, node, x):
    stride, begin, end, dilation = _window(node)
    return ops.max_pool(x, stride, dilation, begin, end, [node.kernel] * 2)


def _linear(network, node, x):
    vector = _reshaped(_flat(x), [1, -1])
    product = ops.matmul(vector, _constant(network.floats(node, "weight")), False, True)
    return _reshaped(ops.add(product, _constant(network.floats(node, "bias")[None])), [1, -1, 1, 1])


BUILDERS = {
    "conv": _conv,
    "conv_bin": _conv_bin,
    "affine": _affine,
    "sign": _sign,
    "prelu": _prelu,
    "add": lambda network, node, x, y: ops.add(x, y),
    "concat": lambda network, node, x, y: ops.concat([x, y], 1),
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "global_avg_pool": lambda network, node, x: ops.reduce_mean(x, ops.constant(np.array([2, 3])), True),
    "linear": _linear,
    "linear_bin": _linear_bin,
}
