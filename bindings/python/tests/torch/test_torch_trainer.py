"""Both programs train the same network on the same batches: what moves, moves alike."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import CRATES, torch
from test_torch_network import METHODS

import onebit
import onebit.torch as ob
from onebit import _native

RECIPE = """
[data]
train = "fashion-mnist-sample"
test = "fashion-mnist-sample"
train_limit = 256
test_limit = 64

[network]
arch = "resnet-small"
method = "{method}"
widths = [16, 32]
blocks = [1, 1]

[train]
stages = "two"
real_weight_epochs = 1
epochs = 1
batch = 64
seed = 1
lr = 1e-3
schedule = "constant"
label_smoothing = 0.1
weight_decay = 1e-2
weight_decay_on = "reactnet"
init = {init}
"""
# Of how far tensors have moved in four steps, on average. Where a gradient is little but rounding, Adam steps along its sign.
MOST_APART = 0.02


def program() -> Path:
    """A program that can train."""
    for kind in ("release", "debug"):
        path = CRATES.parent / "target" / kind / "onebit"
        if path.exists() and subprocess.run([path, "train", "--help"], capture_output=True).returncode == 0:
            return path
    pytest.skip("no program that can train: `cargo build -p onebit-cli`")


def train(net: Any, epoch: int, weight_decay: float) -> None:
    optimizer = torch.optim.Adam(ob.param_groups(net, weight_decay, on="reactnet"), lr=1e-3)
    batches = onebit.data.loader("fashion-mnist-sample:train", graph=net.graph, batch=64, seed=1, epoch=epoch, limit=256)
    for x, labels in batches:
        optimizer.zero_grad()
        logits = net(torch.as_tensor(x))
        torch.nn.functional.cross_entropy(logits, torch.as_tensor(labels), label_smoothing=0.1).backward()
        optimizer.step()


@pytest.mark.nightly
@pytest.mark.parametrize("method", METHODS)
def test_four_steps_of_each_stage_are_those_of_the_rust_trainer(method: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = ob.Network(onebit.graph("resnet-small", method=method, widths=[16, 32], blocks=[1, 1], classes=10, input=(1, 28, 28)))
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() < 4:
                parameter.add_(0.1 * torch.randn_like(parameter))
    init = tmp_path / "init.safetensors"
    ob.save(net, init)
    (tmp_path / "r.toml").write_text(RECIPE.format(method=method, init=json.dumps(str(init))))
    subprocess.run([program(), "train", tmp_path / "r.toml", "--out", tmp_path / "run"], check=True, capture_output=True)
    for epoch, (stage, weight_decay) in enumerate([("binary_activations", 1e-2), ("binary", 0.0)]):
        graph, expected = _native.read_weights(tmp_path / f"run/checkpoints/epoch-0000{epoch + 1}")
        before = net.tensors()

        def apart(**estimators: Any) -> float:
            # The images decide the normalization of the graph.
            trained = ob.Network(graph, **estimators)
            trained.load_state_dict(net.state_dict())
            trained.set_stage(stage)
            train(trained, epoch, weight_decay)
            shares = []
            for name, found in trained.tensors().items():
                moved = np.abs(expected[name] - before[name]).sum()
                shares.append(np.abs(found - expected[name]).sum() / moved)
            return float(np.mean(shares))

        assert apart() < MOST_APART, stage
        assert apart(activation=ob.nn.Clip()) > 3 * MOST_APART, f"{stage}: another estimator makes no difference"
        net.load_state_dict({name: torch.from_numpy(values) for name, values in expected.items()})
