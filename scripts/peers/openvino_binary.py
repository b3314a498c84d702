"""A packed network as an OpenVINO graph on its operation BinaryConvolution."""

import numpy as np
import openvino
import openvino.opset8 as ops

from onebit_file import Network


def build(path):
    """The network of the file, for one image in NCHW."""
    network = Network(path)
    values = {}
    for node in network.nodes:
        values[node.name] = _value(network, node, [values[name] for name in node.inputs])
    first, last = network.nodes[0], network.nodes[-1]
    return openvino.Model([values[last.name]], [values[first.name]], network.arch)


def _value(network, node, inputs):
    if node.op == "input":
        return ops.parameter([1, node.channels, node.height, node.width], np.float32)
    return BUILDERS[node.op](network, node, *inputs)


def _channels(value):
    return value.output(0).get_partial_shape()[1].get_length()


def _constant(values):
    return ops.constant(np.asarray(values, np.float32))


def _per_channel(network, node, suffix):
    return _constant(network.floats(node, suffix).reshape(1, -1, 1, 1))


def _window(node):
    return [node.stride] * 2, [node.padding] * 2, [node.padding] * 2, [1, 1]


def _conv(network, node, x):
    assert node.groups == 1, node.name
    weight = network.floats(node, "weight").transpose(0, 3, 1, 2)
    return ops.convolution(x, _constant(weight), *_window(node))


def _conv_bin(network, node, x):
    """`x` is 0 or 1 for -1 or +1, as OpenVINO wants it; padded taps count 0."""
    assert node.groups == 1 and node.pad == "zero", node.name
    weight = network.bits(node, _channels(x)).transpose(0, 3, 1, 2)
    packed = np.packbits(weight.ravel(), bitorder="little")
    tensor = openvino.Tensor(packed, openvino.Shape(list(weight.shape)), openvino.Type.u1)
    constant = openvino.op.Constant(tensor, shared_memory=False)
    return ops.binary_convolution(x, constant, *_window(node), "xnor-popcount", 0.0)


def _affine(network, node, x):
    scaled = ops.multiply(x, _per_channel(network, node, "scale"))
    return ops.add(scaled, _per_channel(network, node, "shift"))


def _sign(network, node, x):
    threshold = _constant(np.zeros((1, 1, 1, 1)))
    if node.threshold == "static":
        threshold = _per_channel(network, node, "threshold")
    low, high = (_constant(np.full((1, 1, 1, 1), value)) for value in (0.0, 1.0))
    return ops.fake_quantize(x, threshold, threshold, low, high, 2)


def _prelu(network, node, x):
    assert node.slope == "negative" and node.shift in ("none", "static"), node.name
    slope = _constant(network.floats(node, "slope_neg"))
    if node.shift == "none":
        return ops.prelu(x, slope)
    moved = ops.add(x, _constant(-network.floats(node, "shift_x").reshape(1, -1, 1, 1)))
    return ops.add(ops.prelu(moved, slope), _per_channel(network, node, "shift_y"))


def _avg_pool(network, node, x):
    return ops.avg_pool(x, [node.stride] * 2, [0, 0], [0, 0], [node.kernel] * 2, True)


def _max_pool(network, node, x):
    stride, begin, end, dilation = _window(node)
    return ops.max_pool(x, stride, dilation, begin, end, [node.kernel] * 2).output(0)


def _linear(network, node, x):
    product = ops.matmul(x, _constant(network.floats(node, "weight")), False, True)
    return ops.add(product, _constant(network.floats(node, "bias")[None]))


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
    "global_avg_pool": lambda network, node, x: ops.reduce_mean(x, ops.constant(np.array([2, 3])), False),
    "linear": _linear,
}
