"""Writes ResNet-18, MobileNetV1 and MobileNetV2 as ONNX files, in float and quantized to 8 bits by ONNX Runtime.

    python scripts/peers/float_nets.py IMAGES.npy FOLDER

The weights are random, which costs the same time as trained ones; batch normalization is folded into the convolutions.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

SEED = 1
OPSET, IR_VERSION = 13, 7
CLASSES = 1000


def main():
    images, folder = np.load(sys.argv[1]), Path(sys.argv[2])
    for name, layers in (("resnet18", resnet18), ("mobilenet-v1", mobilenet_v1), ("mobilenet-v2", mobilenet_v2)):
        path = folder / f"{name}-float.onnx"
        net = Net()
        layers(net)
        onnx.save(net.model(name), path)
        quantize_static(
            path,
            folder / f"{name}-int8.onnx",
            Images(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def resnet18(net):
    x = net.relu(net.conv("input", 64, 7, 2))
    x = net.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for width, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            changes = stride == 2
            shortcut = net.conv(x, width, 1, stride) if changes else x
            y = net.conv(net.relu(net.conv(x, width, 3, stride)), width, 3, 1)
            x = net.relu(net.add("Add", [y, shortcut]))
    net.classifier(x)


def mobilenet_v1(net):
    x = net.relu(net.conv("input", 32, 3, 2))
    widths = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for width, stride in widths:
        x = net.relu(net.depthwise(x, stride))
        x = net.relu(net.conv(x, width, 1, 1))
    net.classifier(x)


def mobilenet_v2(net):
    x = net.relu6(net.conv("input", 32, 3, 2))
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for factor, width, count, first in stages:
        for stride in [first] + [1] * (count - 1):
            before = net.channels[x]
            y = net.relu6(net.conv(x, factor * before, 1, 1)) if factor > 1 else x
            y = net.conv(net.relu6(net.depthwise(y, stride)), width, 1, 1)
            x = net.add("Add", [y, x]) if stride == 1 and before == width else y
    net.classifier(net.relu6(net.conv(x, 1280, 1, 1)))


class Net:
    """A network under construction; a value is known by its name."""

    def __init__(self):
        self.random = np.random.default_rng(SEED)
        self.nodes, self.constants = [], []
        self.channels = {"input": 3}

    def add(self, op, inputs, channels=None, output=None, **attributes):
        output = output or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        self.channels[output] = channels or self.channels[inputs[0]]
        return output

    def conv(self, x, width, kernel, stride, groups=1):
        fan_in = self.channels[x] // groups * kernel * kernel
        shape = [width, self.channels[x] // groups, kernel, kernel]
        weight = self.constant(self.random.normal(0, (2 / fan_in) ** 0.5, shape))
        bias = self.constant(self.random.normal(0, 0.1, [width]))
        pads = [kernel // 2] * 4
        window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads}
        return self.add("Conv", [x, weight, bias], width, group=groups, **window)

    def depthwise(self, x, stride):
        return self.conv(x, self.channels[x], 3, stride, self.channels[x])

    def relu(self, x):
        return self.add("Relu", [x])

    def relu6(self, x):
        return self.add("Clip", [x, self.constant(0.0), self.constant(6.0)])

    def classifier(self, x):
        width = self.channels[x]
        x = self.add("Flatten", [self.add("GlobalAveragePool", [x])])
        weight = self.constant(self.random.normal(0, width**-0.5, [CLASSES, width]))
        bias = self.constant(np.zeros(CLASSES))
        self.add("Gemm", [x, weight, bias], output="logits", transB=1)

    def constant(self, values):
        name = f"constant{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def model(self, name):
        float32 = onnx.TensorProto.FLOAT
        image = helper.make_tensor_value_info("input", float32, ["N", 3, 224, 224])
        logits = helper.make_tensor_value_info("logits", float32, ["N", CLASSES])
        graph = helper.make_graph(self.nodes, name, [image], [logits], self.constants)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


class Images(CalibrationDataReader):
    """The images by which ONNX Runtime sets the ranges of 8-bit activations."""

    def __init__(self, images):
        self.images = iter(images)

    def get_next(self):
        image = next(self.images, None)
        return None if image is None else {"input": image[None]}


if __name__ == "__main__":
    main()
