"""Networks of every architecture and method against the packed engine: signs first, then logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import images, randomised, torch
from test_torch_network import METHODS, small

import onebit
import onebit.torch as ob

# Options of the blocks that no architecture has by itself.
OPTIONS: list[dict[str, Any]] = [
    {"weight_scale": "none"},
    {"weight_scale": "l1_grad"},
    {"weight_scale": "learned"},
    {"padding": "one"},
    {"groups": 2},
    {"downsample": "binary"},
    {"downsample": "float_grouped"},
    {"downsample": "duplicate"},
    {"nonlinearity": "relu"},
    {"nonlinearity": "frprelu"},
    {"nonlinearity_position": "before_bn"},
    {"nonlinearity_position": "before_add"},
    {"hyper": {"statistics": "mean_std", "precision": "f32"}},
    {"hyper": {"statistics": "mean_third", "range": "raw"}},
    {"hyper": {"sharing": "block", "reduction": 2}},
]


def pack(graph: onebit.Graph, path: Path, count: int = 8) -> None:
    """Packs a random network, which has to agree on `count` images but where a value lies on its threshold."""
    torch.manual_seed(0)
    net = randomised(ob.Network(graph), batches=count)
    training = [module.training for module in net.modules()]
    report = onebit.pack(net, path, verify=images(net, count))
    assert [module.training for module in net.modules()] == training
    assert report.images == count and report.bytes == path.stat().st_size
    assert report.agree is not None and report.flipped_images is not None
    assert report.agree >= count - report.flipped_images


def reduced(arch: str, **options: Any) -> onebit.Graph:
    """An architecture for small images, with a quarter of its channels."""
    shape = onebit.graph(arch).input_shape
    if shape[1] > 64:
        shape = (3, 64, 64)
    if arch not in ("lfc", "cnv"):
        options["width_multiplier"] = 0.25
    return onebit.graph(arch, classes=10, input=shape, **options)


@pytest.mark.parametrize("arch", onebit.architectures())
def test_every_architecture_computes_what_is_packed(arch: str, tmp_path: Path) -> None:
    pack(reduced(arch), tmp_path / "n.onebit")


@pytest.mark.parametrize("arch", ["resnet-small", "vgg-small", "reactnet-a-cifar"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_computes_what_is_packed(arch: str, method: str, tmp_path: Path) -> None:
    pack(reduced(arch, method=method), tmp_path / "n.onebit")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("method", ["reactnet", "dybnn"])
def test_every_option_computes_what_is_packed(method: str, options: dict[str, Any], tmp_path: Path) -> None:
    pack(small(method, **options), tmp_path / "n.onebit")


@pytest.mark.nightly
@pytest.mark.parametrize("arch", [name for name in onebit.architectures() if onebit.graph(name).input_shape[1] > 64])
def test_every_architecture_at_full_size(arch: str, tmp_path: Path) -> None:
    pack(onebit.graph(arch), tmp_path / "n.onebit", count=2)


def test_observing_leaves_the_network_as_it_is(tmp_path: Path) -> None:
    net = randomised(ob.Network(small())).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = images(net, 70)
    logits, signs = ob.observe(net, x)
    assert net.training and all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert logits.shape == (70, 3) and {tuple(s.shape) for s in signs.values()} == {(70, 16, 12, 10)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again = ob.observe(torch.nn.DataParallel(net), np.asarray(x))
    assert torch.equal(again[0], logits) and all(torch.equal(again[1][name], signs[name]) for name in signs)
    readonly = x.numpy()
    readonly.setflags(write=False)
    assert onebit.pack(net, tmp_path / "n.onebit", verify=readonly).images == 70
    assert np.allclose(onebit.load(tmp_path / "n.onebit").run(readonly), logits, atol=1e-4)


def test_another_stage_is_not_packed(tmp_path: Path) -> None:
    net = ob.Network(small())
    net.set_stage("binary_activations")
    with pytest.raises(ValueError, match="is in the stage 'binary_activations': a packed network is binary"):
        onebit.pack(net, tmp_path / "n.onebit")
    with pytest.raises(TypeError, match="Linear is no Network and is traced: input="):
        onebit.pack(torch.nn.Linear(2, 2), tmp_path / "n.onebit")
    with pytest.raises(TypeError, match="input, classes: a Network has its own graph"):
        onebit.pack(ob.Network(small()), tmp_path / "n.onebit", input=(3, 2, 2), classes=2)


def test_a_module_that_computes_something_else_is_not_packed(tmp_path: Path) -> None:
    net = randomised(ob.Network(small()))
    net._modules["fc"].register_forward_hook(lambda module, given, y: y + 0.1)
    with pytest.raises(onebit.DisagreementError):
        onebit.pack(net, tmp_path / "n.onebit", verify=images(net))
    assert not list(tmp_path.iterdir())


def test_a_module_around_a_network_is_not_that_network(tmp_path: Path) -> None:
    class Normalised(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.module = randomised(ob.Network(small()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.module(x * 3 - 1)
            return y

    with pytest.raises(TypeError, match="Normalised is no Network and is traced"):
        onebit.pack(Normalised(), tmp_path / "n.onebit")
    with pytest.raises(ValueError):
        onebit.pack(Normalised(), tmp_path / "n.onebit", input=(3, 16, 16))
    with pytest.raises(TypeError, match="of type Normalised, expected onebit.torch.Network"):
        ob.save(Normalised(), tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


class Drawing(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.flatten(x + torch.randn(1, 3, 1, 1), 1)
        return y


class TwoImages(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, -1)


def test_what_would_pack_as_something_else_is_refused(tmp_path: Path) -> None:
    linear = torch.nn.Linear(12, 2)
    normed = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.utils.weight_norm(torch.nn.Linear(12, 2)))
    normed(torch.zeros(1, 3, 2, 2))
    cases: Any = [
        (torch.nn.Sequential(Drawing(), linear), {}, ValueError, "draws random numbers"),
        (torch.nn.Sequential(TwoImages(), linear), {}, ValueError, "computes 2 images and not 3"),
        (normed, {}, ValueError, "remove_weight_norm"),
        (None, {}, TypeError, "of type NoneType, expected torch.nn.Module"),
        (torch.nn.Sequential(torch.nn.Flatten(), linear), {"verify": True}, TypeError, "verify is of type bool"),
    ]
    for module, options, error, words in cases:
        with pytest.raises(error, match=words):
            onebit.pack(module, tmp_path / "n.onebit", input=(3, 2, 2), **options)
        assert not list(tmp_path.iterdir())
    for options in ({"kernel_size": (3, 3)}, {"kernel_size": 3, "stride": 0}, {"kernel_size": 3, "padding": "same"}):
        with pytest.raises(ValueError, match="expected one whole number"):
            ob.nn.BinaryConv2d(2, 2, **options)
