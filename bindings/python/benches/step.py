"""A training step of a network in PyTorch: `python -m benches.step METHOD "eager|compile float32|bfloat16" GRAPH.json`.

The graph is written to GRAPH.json, for the Rust trainer to do the same. Environment: T threads, SECS seconds. Prints one line.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import onebit
import onebit.torch as ob
import torch
import torch.nn.functional as F

BATCH = 64


def main() -> None:
    """Times steps of forward, backward and Adam on random images."""
    method, form, path = sys.argv[1:]
    mode, precision = form.split()
    torch.set_num_threads(int(os.environ.get("T", "1")))
    torch.manual_seed(0)
    graph = onebit.graph("resnet20", method=method, classes=10)
    Path(path).write_text(graph.to_json(), encoding="utf-8")
    net = ob.Network(graph)
    run = torch.compile(net) if mode == "compile" else net
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
    images, classes = torch.randn(BATCH, 3, 32, 32), torch.arange(BATCH) * 7 % 10
    half = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with half:
            loss = F.cross_entropy(run(images), classes)
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.item()

    losses = [step() for _ in range(8)]
    assert losses[-1] < losses[0], f"the loss does not fall: {losses}"
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < float(os.environ.get("SECS", "4")):
        step()
        steps += 1
    print(f"{form} B={BATCH} {BATCH * steps / (time.perf_counter() - start):.1f} img/s")


if __name__ == "__main__":
    main()
