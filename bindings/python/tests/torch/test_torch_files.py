"""Weights in files: the Rust trainer's own, and checkpoints of PyTorch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from common import CRATES, FIXTURES, close, images, randomised, read, torch
from test_torch_network import METHODS, small

import onebit
import onebit.torch as ob
from onebit import _native

RUN = FIXTURES / "run-dd11de2"
OFFICIAL = CRATES / "onebit-pack/tests/fixtures/import"


def test_a_run_of_the_rust_trainer_goes_through_byte_for_byte(tmp_path: Path) -> None:
    checkpoint = RUN / "checkpoints/epoch-00002"
    graph, _ = _native.read_weights(RUN)
    net = ob.Network(graph)
    before = net.tensors()
    for source, file in (
        (RUN, RUN / "best/weights.safetensors"),
        (checkpoint, checkpoint / "weights.safetensors"),
        (str(RUN / "best/weights.safetensors"), RUN / "best/weights.safetensors"),
    ):
        net = ob.Network(graph)
        ob.load(net, source)
        ob.save(net, tmp_path / "w.safetensors")
        assert (tmp_path / "w.safetensors").read_bytes() == file.read_bytes()
    assert any((before[name] != values).any() for name, values in net.tensors().items())
    x = torch.rand(32, *graph.input_shape)
    report = onebit.pack(net, tmp_path / "n.onebit", verify=x)
    assert report.images == 32


@pytest.mark.parametrize("method", METHODS)
def test_round_trip(method: str, tmp_path: Path) -> None:
    net = randomised(ob.Network(small(method, weight_scale="learned")))
    path = tmp_path / "weights.safetensors"
    ob.save(net, path)
    content = path.read_bytes()
    for to in (torch.channels_last, torch.contiguous_format):
        other = ob.Network(net.graph).to(memory_format=to)
        ob.load(torch.nn.DataParallel(other), path)
        assert torch.equal(other.eval()(images(net)), net.eval()(images(net))) or to == torch.channels_last
        ob.save(torch.nn.DataParallel(other), path)
        assert path.read_bytes() == content
    ob.load(ob.Network(small(method, weight_scale="learned", classes=list("xyz"))), path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [False, True])
def test_checkpoints_of_pytorch(legacy: bool, wrap: bool, tmp_path: Path) -> None:
    net = randomised(ob.Network(small()))
    state = torch.nn.DataParallel(net).state_dict() if wrap else net.state_dict()
    path = tmp_path / "c.pth.tar"
    torch.save({"epoch": 3, "state_dict": state}, path, _use_new_zipfile_serialization=not legacy)
    other = ob.Network(net.graph)
    ob.load(other, path)
    assert all((other.tensors()[name] == values).all() for name, values in net.tensors().items())


@pytest.mark.parametrize("form", ["zip.pth", "legacy.pth.tar", "safetensors"])
@pytest.mark.parametrize(("network", "arch"), [("bireal", "birealnet18"), ("reactnet", "reactnet18"), ("mobile", "reactnet-a")])
def test_official_checkpoints_give_the_official_logits(network: str, arch: str, form: str) -> None:
    options: Any = {"widths": [8, 16], "blocks": [2, 2]}
    if network == "mobile":
        options = {"widths": [8, 16, 16, 32]}
    net = ob.Network(onebit.graph(arch, classes=5, input=(3, 64, 64), **options)).eval()
    ob.load(net, OFFICIAL / f"{network}.{form}")
    _, pictures = read(OFFICIAL / "images.safetensors")
    _, expected = read(OFFICIAL / f"{network}.expected.safetensors")
    for size, pixels in pictures.items():
        with torch.no_grad():
            logits = net((torch.tensor(pixels).float() - 128) / 64).double()
        close(logits, torch.tensor(expected[f"logits.{size}"]), 1e-5, size)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    ob.save(ob.Network(small("reactnet")), path)
    for other in (small("dybnn"), small("reactnet", padding="one"), small("reactnet", classes=4)):
        net = ob.Network(other)
        before = net.tensors()
        with pytest.raises(ValueError, match="has the weights of another network, <onebit.Graph resnet-small") as raised:
            ob.load(net, path)
        assert "\n" not in str(raised.value)
        assert all((before[name] == values).all() for name, values in net.tensors().items())
    torch.save({"fc.weight": torch.zeros(3, 32)}, tmp_path / "c.pth")
    with pytest.raises(onebit.FormatError):
        ob.load(ob.Network(small()), tmp_path / "c.pth")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    net = ob.Network(small())
    path = tmp_path / "weights.safetensors"
    ob.save(net, path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    for bad in (bytes(content), bytes(content[:-1]), b"", b"nothing", bytes(content[:2000])):
        path.write_bytes(bad)
        with pytest.raises(onebit.FormatError):
            ob.load(net, path)
    with pytest.raises(FileNotFoundError):
        ob.load(net, tmp_path / "nothing")
    shutil.copytree(RUN, tmp_path / "run")
    (tmp_path / "run/best/weights.safetensors").unlink()
    with pytest.raises((ValueError, onebit.FormatError, OSError)):
        ob.load(net, tmp_path / "run")


def test_loading_a_state_is_strict() -> None:
    net = ob.Network(small())
    state = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}
    net.load_state_dict(state)
    counters = [value for name, value in net.state_dict().items() if "num_batches" in name]
    assert counters and not any(counters)
    for wrong in ({**state, "own": torch.zeros(1)}, {k: v for k, v in state.items() if k != "fc.bias"}):
        with pytest.raises(RuntimeError, match="own|fc.bias"):
            net.load_state_dict(wrong)
    found = net.load_state_dict({}, strict=False)
    assert "fc.bias" in found.missing_keys


def test_one_tensor_under_two_names_is_refused() -> None:
    net = ob.Network(small())
    before = net.tensors()
    state = {**net.state_dict(), "module.fc.bias": torch.ones(3)}
    for strict in (True, False):
        with pytest.raises(ValueError, match="`fc.bias` and `module.fc.bias` are both the tensor `fc.bias` of the network"):
            net.load_state_dict(state, strict=strict)
    assert all((before[name] == values).all() for name, values in net.tensors().items())


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_tensors_stay_when_the_network_is_trained_on(form: Any) -> None:
    net = ob.Network(small()).to(memory_format=form)
    before = net.tensors()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1)
    after = net.tensors()
    assert not any((before[name] == after[name]).any() for name, _ in net.named_parameters())


def test_values_that_cannot_be_saved(tmp_path: Path) -> None:
    net = ob.Network(small())
    with torch.no_grad():
        net.get_parameter("fc.bias")[0] = float("nan")
    with pytest.raises(ValueError, match="fc.bias"):
        ob.save(net, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_without_pytorch_one_sentence_says_what_to_install() -> None:
    code = """
import sys
sys.modules["torch"] = None
try:
    import onebit.torch
except ImportError as error:
    print(type(error).__name__, error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "ImportError onebit.torch needs PyTorch, which is not installed: `pip install onebit[torch]`\n"
