"""Full-size checkpoints of Bi-Real Net and ReActNet, imported by onebit and compared with PyTorch on photographs.

    pip install torch numpy safetensors pillow
    cargo build --release -p onebit-cli && cargo build --release -p onebit-pack --example signs
    python scripts/check_import.py target/release IMAGES [N]

IMAGES is a folder with folders of JPEG files of 224x224 pixels or more. For each network: random weights, running
statistics measured on 8 photographs, a checkpoint in each container and form, `onebit import` of each, which must give
the same bytes; then the imported network on N photographs (16 unless told) of two sizes, against PyTorch in float64.

A network of this size takes millions of signs of one image, so that a few lie within rounding of their threshold and
fall on the other side in any 32-bit program; PyTorch's own float32 is compared as well. Such a sign moves the logits by
more than rounding. So float64 is also run with the signs that onebit took: where it would have taken another, the value
must be within rounding of the threshold, and the logits must agree within rounding on every image.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
from collections import OrderedDict

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).parent / "fixtures"))
import official

TARGET, IMAGES = (pathlib.Path(argument) for argument in sys.argv[1:3])
COUNT = int(sys.argv[3]) if len(sys.argv) > 3 else 16
ARCHS = ["reactnet-a", "reactnet18", "birealnet18", "birealnet34", "reactnet34"]
SIZES, CALIBRATION = [224, 192], 8
MAX_LOGIT_DIFFERENCE = 1e-5  # in standard deviations of all logits, as `onebit pack --verify`
MAX_DISTANCE = 1e-4  # of a value from the threshold that it fell on the other side of, in standard deviations
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
ROW = "{:<12} {:>5} {:>7} {:>9} {:>11} {:>10} {:>12} {:>11} {:>13} {:>13}"


def main():
    paths = sorted(IMAGES.glob("*/*.JPEG"))
    step = len(paths) // (COUNT + CALIBRATION)
    photographs = torch.stack([load(path) for path in paths[::step][: COUNT + CALIBRATION]])
    print(ROW.format("network", "side", "top-1", "f32 top-1", "same signs", "f32 same", "flips/image", "of signs",
                     "distance/std", "logits/std"))
    correct = True
    with tempfile.TemporaryDirectory() as folder:
        for seed, arch in enumerate(ARCHS):
            correct &= check(arch, seed, photographs, pathlib.Path(folder))
    sys.exit(not correct)


def load(path):
    image = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
    top, left = ((side - 224) // 2 for side in image.shape[:2])
    image = image[top : top + 224, left : left + 224].float() / 255
    return ((image - MEAN) / STD).permute(2, 0, 1)


def check(arch, seed, photographs, folder):
    network = official.full_size(arch, False)
    official.randomize(network, torch.Generator().manual_seed(seed))
    official.calibrate(network, [photographs[COUNT:]])
    model = imported(arch, network.state_dict(), folder)
    correct = True
    for side in SIZES:
        margin = (224 - side) // 2
        images = photographs[:COUNT, :, margin : margin + side, margin : margin + side].contiguous()
        correct &= compare(arch, side, network, images, model, folder)
    return correct


def imported(arch, weights, folder):
    """The packed file, after both containers and forms gave the same one."""
    flat = OrderedDict(
        (f"module.{key}s", tensor.reshape(-1, 1)) if "binary_" in key else (f"module.{key}", tensor)
        for key, tensor in weights.items()
    )
    adam = {"state": {0: {"step": 1, "exp_avg": torch.zeros(9)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    checkpoint = {"epoch": 255, "state_dict": flat, "best_top1_acc": 60.0, "optimizer": adam}
    torch.save(checkpoint, folder / "legacy.pth.tar", _use_new_zipfile_serialization=False)
    torch.save(weights, folder / "zip.pth")
    for name in ["legacy.pth.tar", "zip.pth"]:
        done = json.loads(onebit("import", folder / name, "--arch", arch, "-o", folder / f"{name}.onebit", "--json"))
    files = [(folder / f"{name}.onebit").read_bytes() for name in ["legacy.pth.tar", "zip.pth"]]
    assert files[0] == files[1], f"{arch}: the containers give different files"
    print(f"{arch}: {done['tensors']} tensors, {done['bytes_f32']:,} bytes become {done['bytes_out']:,}, "
          f"{done['ratio']:.1f} times smaller")
    return folder / "zip.pth.onebit"


def onebit(*arguments):
    return subprocess.run([TARGET / "onebit", *arguments], check=True, stdout=subprocess.PIPE).stdout


def compare(arch, side, network, images, model, folder):
    np.save(folder / "x.npy", images.numpy())
    onebit("run", model, "--input", folder / "x.npy", "--output", folder / "y.npy")
    logits = torch.from_numpy(np.load(folder / "y.npy"))
    subprocess.run([TARGET / "examples" / "signs", model, folder / "x.npy", folder / "signs.npy"], check=True)
    rows = np.load(folder / "signs.npy", mmap_mode="r")

    same, same32, top, top32, signs, flips, distance = 0, 0, 0, 0, 0, 0, 0.0
    expected = []
    for image, row, found in zip(images, rows, logits):
        exact, seen = official.observe(network.double(), image[None].double())
        single, seen32 = official.observe(network.float(), image[None])
        taken = shaped(row, seen)
        same += not any(differing(x, s).any() for x, s in zip(seen, taken))
        same32 += not any(differing(x, y).any() for x, y in zip(seen, seen32))
        top += int(exact.argmax() == found.argmax())
        top32 += int(exact.argmax() == single.argmax())
        forced, seen = official.observe(network.double(), image[None].double(), taken)
        expected.append(forced[0])
        for x, s in zip(seen, taken):
            others = x[differing(x, s)]
            flips += len(others)
            distance = max(distance, *(others.abs() / x.std()).tolist(), 0.0)
        signs = sum(x.numel() for x in seen)
    expected = torch.stack(expected)
    difference = float((expected - logits).abs().max() / expected.std())
    print(ROW.format(arch, side, f"{top}/{COUNT}", f"{top32}/{COUNT}", f"{same}/{COUNT}", f"{same32}/{COUNT}",
                     f"{flips / COUNT:.1f}", f"{signs:,}", f"{distance:.1e}", f"{difference:.1e}"), flush=True)
    return difference <= MAX_LOGIT_DIFFERENCE and distance <= MAX_DISTANCE


def differing(x, other):
    return (x > 0) != (other > 0)


def shaped(row, like):
    """The signs of one image, +-1, in the shapes of `like`."""
    signs, at = [], 0
    for x in like:
        signs.append(torch.from_numpy(row[at : at + x.numel()].astype(np.int8)).reshape(x.shape))
        at += x.numel()
    assert at == len(row)
    return signs


main()
