"""Does ONNX Runtime compute what the engine computes?

Exports packed networks with `onebit export` and compares, image by image, every sign and every logit with the engine.
Without --models, the networks are all architectures at full size and some options, with random weights.

    pip install numpy onnx onnxruntime pillow
    cargo build --release --bins --examples
    python scripts/check_export.py --images FOLDER                       # JPEG or PNG files at any depth
    python scripts/check_export.py --images X.npy --models a.onebit ...  # X: what `onebit run` takes

Columns: different classes among the answers; share of +1 among the signs; images with a flipped sign and images of
the same class when both run by themselves; then, with the engine's signs in place of the flipped ones, the signs that
flip by themselves, their largest distance from the threshold in standard deviations of the map, the largest difference
of two logits in standard deviations of all logits, and images of the same class. Without graph optimizations, which
fold scales into the +-1 weights; the last columns are with them.

Exit code 1 where distance or difference is more than rounding explains, or a class differs with the same signs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image

# As in onebit_pack::agreement, in standard deviations of the logits.
MAX_LOGIT_DIFFERENCE = 1e-5
# Features of random networks are about five times as large as what varies between images, so that the same rounding
# of a sum over a thousand of them is a larger share of the logits' deviation.
MAX_LOGIT_DIFFERENCE_OF_RANDOM = 3e-5
# In standard deviations of the map: rounding of values that are a few deviations large.
MAX_MARGIN = 1e-5
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
NETWORKS = """
birealnet18 birealnet34 reactnet18 reactnet34 reactnet-a reactnet-b reactnet-c
ftbnn18 ftbnn18-compressed ftbnn18-grouped-2x2g ftbnn18-grouped-2x4g ftbnn-a dybnn18 dybnn-a
resnet20 resnet-small vgg-small birealnet18-cifar reactnet18-cifar ftbnn18-cifar dybnn18-cifar
reactnet-a-cifar ftbnn-a-cifar dybnn-a-cifar
""".split() + [
    '{"arch":"reactnet18","padding":"one","stem":"grouped"}',
    '{"arch":"dybnn18","nonlinearity":"frprelu","hyper":{"statistics":"mean_std","sharing":"block"}}',
    '{"arch":"dybnn18-cifar","nonlinearity_position":"before_bn","hyper":{"statistics":"mean_third","range":"raw"}}',
    '{"arch":"ftbnn18-cifar","nonlinearity_position":"before_add","downsample":"duplicate","stem":"conv3x3"}',
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of images, or .npy")
    parser.add_argument("--target", type=Path, default="target/release", help="where cargo puts onebit")
    parser.add_argument("--networks", nargs="*", default=NETWORKS, help="names, or JSON of a network section")
    parser.add_argument("--models", nargs="*", type=Path, help="packed files in place of random networks")
    parser.add_argument("--count", type=int, default=8, help="images")
    arguments = parser.parse_args()
    programs = Programs(arguments.target)
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, {arguments.count} images")
    print(HEADER, flush=True)
    wrong = False
    for network in arguments.models or arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            row = check(programs, network, arguments, Path(folder))
        limit = MAX_LOGIT_DIFFERENCE if arguments.models else MAX_LOGIT_DIFFERENCE_OF_RANDOM
        wrong |= row["difference"] > limit or row["margin"] > MAX_MARGIN or not row["same"]
        print(LINE.format(**row), flush=True)
    sys.exit(int(wrong))


HEADER = (
    "network                         nodes     MB  classes  +1 signs  flipped  same top-1  signs   margin  difference"
    "  same top-1 | optimised: flipped  same top-1"
)
LINE = (
    "{name:<31} {nodes:>5} {mb:>6.1f} {classes:>8} {ones:>9} {flipped:>8} {top1:>11} {signs:>6} {margin:>8.0e}"
    " {difference:>11.1e} {forced_top1:>11} | {opt_flipped:>18} {opt_top1:>11}"
)


class Programs:
    def __init__(self, target):
        self.target = target

    def onebit(self, *arguments):
        return json.loads(run(self.target / "onebit", *arguments, "--json"))

    def example(self, name, *arguments):
        run(self.target / "examples" / name, *arguments)


def run(*command):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def check(programs, network, arguments, folder):
    """Compares one network; returns the row of the table."""
    packed = network
    if not arguments.models:
        packed = folder / "random.onebit"
        arch = json.loads(network)["arch"] if network.startswith("{") else network
        size = [int(side) for side in programs.onebit("summary", arch)["input"].split("x")]
        images = load(arguments.images, size, IMAGENET, arguments.count, second_half=True)
        np.save(folder / "calibration.npy", images)
        programs.example("random_model", network, folder / "calibration.npy", packed)
    exported = programs.onebit("export", packed, "-o", folder / "model.onnx")
    model = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == exported["opset"] and len(model.graph.node) == exported["nodes"]
    check_weights(model.graph)
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props if entry.key != "arch"}
    size = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    images = load(arguments.images, size, (metadata["mean"], metadata["std"]), arguments.count)
    np.save(folder / "images.npy", images)
    programs.onebit("run", packed, "--input", folder / "images.npy", "--output", folder / "logits.npy")
    programs.example("signs", packed, folder / "images.npy", folder / "signs.npy")
    logits, signs = np.load(folder / "logits.npy"), np.load(folder / "signs.npy", mmap_mode="r")
    assert logits.shape[1] == len(metadata["classes"])
    plain = Comparison(model, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, images, logits, signs)
    optimised = Comparison(model, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL, images, logits, signs)
    n = len(images)
    return {
        "name": packed.name if arguments.models else short(network),
        "nodes": exported["nodes"],
        "mb": exported["bytes"] / 1e6,
        "classes": len(set(logits.argmax(1))),
        "ones": f"{100 * np.mean(signs[0] > 0):.0f}%",
        "flipped": f"{plain.flipped}/{n}",
        "top1": f"{plain.same_top1}/{n}",
        "signs": plain.signs,
        "margin": plain.margin,
        "difference": plain.difference,
        "forced_top1": f"{plain.forced_top1}/{n}",
        "same": plain.forced_top1 == n,
        "opt_flipped": f"{optimised.flipped}/{n}",
        "opt_top1": f"{optimised.same_top1}/{n}",
    }


def short(network):
    if not network.startswith("{"):
        return network
    words = json.loads(network)
    return words.pop("arch") + " " + ",".join(str(v) for v in words.values())[:16]


def load(path, size, normalization, count, second_half=False):
    """`count` images as float32 [N, C, H, W], spread over the folder; the second half is other images."""
    if path.suffix == ".npy":
        return np.load(path)[:count]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = [files[(2 * i + second_half) * len(files) // (2 * count)] for i in range(count)]
    channels, height, width = size
    pixels = [Image.open(f).convert("RGB" if channels == 3 else "L").resize((width, height)) for f in chosen]
    values = np.stack([np.asarray(image, np.float32).reshape(height, width, channels) for image in pixels])
    mean, std = (np.asarray(values, np.float32) for values in normalization)
    return np.ascontiguousarray(((values / 255 - mean) / std).transpose(0, 3, 1, 2))


def sign_nodes(graph):
    return [node for node in graph.node if node.op_type == "Where" and list(node.input[1:]) == ["/one", "/minus_one"]]


def check_weights(graph):
    """Weights of convolutions that read signs are +1 and -1, nothing else."""
    signs = {node.output[0] for node in sign_nodes(graph)}
    signs |= {node.output[0] for node in graph.node if node.op_type == "Pad" and node.input[0] in signs}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[0] in signs:
            weight = onnx.numpy_helper.to_array(constants[node.input[1]])
            assert np.all(np.abs(weight) == 1), node.name


class Comparison:
    """Signs and logits of ONNX Runtime against those of the engine, image by image.

    A flipped sign changes all that follows, so an image with one is computed again with the engine's signs put in
    place of ONNX Runtime's: its logits must then agree too, and what flips by itself must lie on its threshold.
    """

    def __init__(self, model, level, images, logits, signs):
        self.model, self.level = model, level
        self.names = [node.output[0] for node in sign_nodes(model.graph)]
        self.flipped, self.same_top1, self.forced_top1 = 0, 0, 0
        self.signs, self.margin, self.difference = 0, 0.0, 0.0
        session = self.session(self.names)
        for image, expected, bits in zip(images, logits, signs):
            found, *maps = session.run(["logits"] + self.names, {"input": image[None]})
            self.same_top1 += int(found[0].argmax() == expected.argmax())
            if not np.array_equal(np.concatenate([m.ravel() for m in maps]), bits):
                self.flipped += 1
                parts = np.split(bits, np.cumsum([m.size for m in maps])[:-1])
                maps = {name: part.reshape(m.shape) for name, part, m in zip(self.names, parts, maps)}
                found = self.forced(image, maps)
            self.forced_top1 += int(found[0].argmax() == expected.argmax())
            self.difference = max(self.difference, np.abs(found[0] - expected).max() / logits.std())

    def session(self, outputs, inputs=()):
        """Shows `outputs` besides the logits; `inputs` are given instead of computed."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        nodes = [node for node in model.graph.node if node.output[0] not in inputs]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        float32 = onnx.TensorProto.FLOAT
        model.graph.input.extend(onnx.helper.make_tensor_value_info(name, float32, None) for name in inputs)
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in outputs)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level, options.log_severity_level = self.level, 3
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def forced(self, image, signs):
        """Logits when the engine's signs are used; notes the signs that would have been others."""
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        above = {node.output[0]: node.input[0] for node in sign_nodes(self.model.graph)}
        compared = {node.output[0]: node.input for node in self.model.graph.node if node.op_type == "Greater"}
        sides = {name: list(compared[above[name]]) for name in self.names}
        outputs = sorted({side for pair in sides.values() for side in pair} - constants.keys() - {"input"})
        session = self.session(outputs, self.names)
        logits, *values = session.run(["logits"] + outputs, {"input": image[None], **signs})
        values = constants | {"input": image[None]} | dict(zip(outputs, values))
        for name, pair in sides.items():
            x, threshold = (values[side] for side in pair)
            differs = (x > threshold) != (signs[name] > 0)
            self.signs += int(differs.sum())
            self.margin = max(self.margin, np.abs(x - threshold)[differs].max(initial=0) / x.std())
        return logits


if __name__ == "__main__":
    main()
