"""Runs one network in one program on one thread, and times it as often as it is told to.

    python scripts/peers/worker.py openvino-binary reactnet18.onebit [IMAGES.npy LOGITS.npy]
    python scripts/peers/worker.py openvino|onnxruntime|tract resnet18.onnx
    python scripts/peers/worker.py larq reactnet18.tflite [IMAGES.npy LOGITS.npy]

Prints one JSON object a line: first what it is, with IMAGES also how its logits compare with LOGITS; then for each line
on stdin, the seconds to spend, the median of the times of one image. Or `{"error": ...}`, and exit code 1.
"""

import json
import statistics
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MIN_RUNS = 3
# In standard deviations of the logits: two programs that took the same signs.
SAME = 1e-4


def main():
    system, path, *expected = sys.argv[1:]
    try:
        program = SYSTEMS[system](path)
        about = program.about
        if expected:
            about["agreement"] = agreement(program, *map(np.load, expected))
        image = np.random.default_rng(1).normal(size=(1, 3, 224, 224)).astype(np.float32)
        image = program.layout(image)
        if not np.all(np.isfinite(program.run(image))):
            raise ValueError("the logits are not finite numbers")
    except Exception as error:
        answer({"error": textwrap.shorten(f"{type(error).__name__}: {error}", 200)})
        sys.exit(1)
    answer(about)
    for line in sys.stdin:
        seconds = float(line)
        times(program.run, image, seconds)
        samples = times(program.run, image, seconds)
        answer({"median_ms": statistics.median(samples), "runs": len(samples)})


@dataclass
class Program:
    """A loaded network: `run` maps one image in the `layout` of the program to logits `[1, classes]`."""

    run: Callable
    about: dict
    layout: Callable = lambda image: image


def answer(value):
    print(json.dumps(value), flush=True)


def agreement(program, images, logits):
    """Images of the same class, images of the same logits, and the largest difference of those."""
    found = np.concatenate([program.run(program.layout(image[None])).copy() for image in images])
    difference = np.abs(found - logits).max(1) / logits.std()
    same = difference <= SAME
    return {
        "images": len(images),
        "same_class": int((found.argmax(1) == logits.argmax(1)).sum()),
        "same_logits": int(same.sum()),
        "difference": float(difference[same].max(initial=0)),
    }


def times(run, image, seconds):
    """Milliseconds of runs for that long."""
    samples = []
    started = before = time.perf_counter()
    while len(samples) < MIN_RUNS or before - started < seconds:
        run(image)
        now = time.perf_counter()
        samples.append(1e3 * (now - before))
        before = now
    return samples


def openvino_binary(path):
    from openvino_binary import build

    return openvino_run(build(path))


def openvino(path):
    from openvino import Core

    model = Core().read_model(path)
    model.reshape([1, 3, 224, 224])
    return openvino_run(model)


def openvino_run(model):
    """Also tells which implementations the layers of the most time have."""
    import openvino

    config = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()
    profiled = core.compile_model(model, "CPU", config | {"PERF_COUNT": True}).create_infer_request()
    profiled.infer([np.zeros((1, 3, 224, 224), np.float32)])
    steps = [step for step in profiled.get_profiling_info() if step.real_time.total_seconds() > 0]
    request = core.compile_model(model, "CPU", config).create_infer_request()
    about = {
        "version": f"OpenVINO {openvino.__version__.split('-')[0]}",
        "implementations": sorted({f"{step.node_type} {step.exec_type}" for step in steps}),
    }
    return Program(lambda image: request.infer([image], share_inputs=True, share_outputs=True)[0], about)


def onnxruntime(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    about = {"version": f"ONNX Runtime {onnxruntime.__version__}"}
    return Program(lambda image: session.run(None, {"input": image})[0], about)


def tract(path):
    import tract

    model = tract.onnx().load(path)
    model.set_input_fact(0, "1,3,224,224,f32")
    runnable = model.into_model().into_runnable()
    about = {"version": f"tract {tract.version()}"}
    return Program(lambda image: runnable.run([image])[0].to_numpy(), about)


def larq(path):
    """Takes images turned upside down and left to right (see larq_binary.py)."""
    from importlib.metadata import version

    from larq_compute_engine.tflite.python.interpreter_wrapper_lite import LiteInterpreter

    with open(path, "rb") as file:
        interpreter = LiteInterpreter(file.read(), 1, False, True, True)
    about = {"version": f"Larq Compute Engine {version('larq_compute_engine')}"}
    return Program(lambda image: interpreter.predict([image])[0], about, turned)


def turned(image):
    return np.ascontiguousarray(image[:, :, ::-1, ::-1].transpose(0, 2, 3, 1))


SYSTEMS = {
    "openvino-binary": openvino_binary,
    "openvino": openvino,
    "onnxruntime": onnxruntime,
    "tract": tract,
    "larq": larq,
}

if __name__ == "__main__":
    main()
