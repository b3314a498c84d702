"""Writes a packed network as a flat buffer of Larq Compute Engine.

    python scripts/peers/larq_binary.py MODEL.onebit OUTPUT.tflite

TensorFlow pads a step of two at the end of rows and columns, our networks at their beginning. Turned upside down and
left to right (weights here, images by whoever runs it) the two are the same.
"""

import sys
import tempfile
from pathlib import Path

import larq_compute_engine
import numpy as np
import tensorflow as tf

from onebit_file import Network


def main():
    network = Network(sys.argv[1])
    image = network.nodes[0]
    shape = tf.TensorSpec([1, image.height, image.width, image.channels])
    module = tf.Module()
    module.run = tf.function(lambda x: _run(network, x), input_signature=[shape])
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=module.run)
        Path(sys.argv[2]).write_bytes(larq_compute_engine.convert_saved_model(folder))


def _run(network, image):
    values = {network.nodes[0].name: image}
    for node in network.nodes[1:]:
        values[node.name] = OPS[node.op](network, node, *(values[name] for name in node.inputs))
    return values[network.nodes[-1].name]


def _convolution(node, x, weight):
    assert node.groups == 1 and node.padding == node.kernel // 2 and node.stride <= 2, node.name
    turned = np.ascontiguousarray(weight[:, ::-1, ::-1].transpose(1, 2, 3, 0), np.float32)
    return tf.nn.conv2d(x, turned, node.stride, "SAME")


def _conv(network, node, x):
    return _convolution(node, x, network.floats(node, "weight"))


def _conv_bin(network, node, x):
    assert node.pad == "zero", node.name
    return _convolution(node, x, 2.0 * network.bits(node, [node.out_channels, node.kernel, node.kernel, x.shape[-1]]) - 1.0)


def _affine(network, node, x):
    return x * network.floats(node, "scale") + network.floats(node, "shift")


def _sign(network, node, x):
    """In the form that the converter knows, with which 0 is +1."""
    if node.threshold == "static":
        x = x - network.floats(node, "threshold")
    return tf.sign(tf.sign(x) + 0.1)


def _prelu(network, node, x):
    """In the form that the converter makes one operation of."""
    assert node.slope == "negative" and node.shift in ("none", "static"), node.name
    if node.shift == "static":
        x = x - network.floats(node, "shift_x")
    y = tf.nn.relu(x) + -network.floats(node, "slope_neg") * tf.nn.relu(-x)
    return y if node.shift == "none" else y + network.floats(node, "shift_y")


def _linear(network, node, x):
    return tf.matmul(x, network.floats(node, "weight"), transpose_b=True) + network.floats(node, "bias")


OPS = {
    "conv": _conv,
    "conv_bin": _conv_bin,
    "affine": _affine,
    "sign": _sign,
    "prelu": _prelu,
    "add": lambda network, node, x, y: x + y,
    "concat": lambda network, node, x, y: tf.concat([x, y], -1),
    "avg_pool": lambda network, node, x: tf.nn.avg_pool2d(x, node.kernel, node.stride, "VALID"),
    "max_pool": lambda network, node, x: tf.nn.max_pool2d(x, node.kernel, node.stride, "SAME"),
    "global_avg_pool": lambda network, node, x: tf.reduce_mean(x, [1, 2]),
    "linear": _linear,
}

if __name__ == "__main__":
    main()
