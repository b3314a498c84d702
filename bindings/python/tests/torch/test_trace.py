"""Modules of the user's own: traced, packed, and proved."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import pytest
from common import torch

import onebit
import onebit.torch as ob
from onebit.torch.tracing import Traced, trace
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from modules import Head, SMALL, Forward, conv, names, ops, proved, proved_forward, randn, refused, shaken, trained


class Vgg(nn.Module):
    """Convolutions and fully connected layers of 1 bit, in the form of BinaryNet."""

    def __init__(self) -> None:
        super().__init__()
        nn_ = ob.nn
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.Hardtanh(inplace=True),
            nn_.Sign(),
            nn_.BinaryConv2d(16, 24, 3, padding=1, scale="none"),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(24, eps=1e-4),
            nn_.Sign(),
            nn_.BinaryConv2d(24, 32, 3, padding=1, scale="learned"),
            nn.BatchNorm2d(32),
            nn_.RSign(32),
            nn.MaxPool2d(kernel_size=2, stride=2),
        )
        self.classifier = nn.Sequential(
            nn_.BinaryLinear(32 * 4 * 4, 48),
            nn.BatchNorm1d(48),
            nn.Dropout(0.3),
            nn.Hardtanh(),
            nn_.Sign(),
            nn_.BinaryLinear(48, 5, scale="none"),
            nn.BatchNorm1d(5, affine=False),
        )

    def forward(self, x: Tensor) -> Any:
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.classifier(x)


class PreActivation(nn.Module):
    """A block: its convolution is of 1 bit, pads with +1 and has a bias."""

    def __init__(self, inputs: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.sign = ob.nn.RSign(inputs)
        self.conv = ob.nn.BinaryConv2d(inputs, out, 3, stride=stride, padding=1, pad="one")
        self.bias = nn.Parameter(torch.zeros(1, out, 1, 1))
        self.act = ob.nn.RPReLU(out)
        self.down: Optional[nn.Module] = None
        if stride > 1:
            self.down = nn.Sequential(nn.AvgPool2d(2, stride), nn.Conv2d(inputs, out, 1, bias=True))

    def forward(self, x: Tensor) -> Any:
        shortcut = x if self.down is None else self.down(x)
        out = self.act(self.conv(self.sign(self.bn(x))) + self.bias)
        out += shortcut
        return out


class PreActivationNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=True)
        self.layers = nn.ModuleList([PreActivation(16, 16), PreActivation(16, 32, 2), PreActivation(32, 32)])
        self.bn = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32, 5, bias=False)

    def forward(self, x: Tensor, scale: Optional[Tensor] = None) -> Any:
        n, channels, _, _ = x.shape
        assert channels == 3
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        if scale is not None:
            x = x * scale
        x = F.relu(self.bn(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).reshape(n, -1))


def test_vgg_with_binary_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = trained(Vgg(), (3, 16, 16))
    graph = proved(net, tmp_path, (3, 16, 16), classes=list("abcde"), mean=[0.5] * 3, std=[0.2] * 3, arch="vgg")
    assert graph.classes == list("abcde") and graph.arch == "vgg" and graph.std == pytest.approx([0.2] * 3)
    binary = [node.name for node in graph.nodes if node.op.endswith("_bin")]
    assert binary == ["features.4", "features.8", "classifier.0", "classifier.5"]
    # The pooling of signs has moved in front of the sign.
    order = names(graph)
    assert order.index("features.11") < order.index("features.10") < order.index("classifier.0")
    model = onebit.load(tmp_path / "n.onebit")
    assert model.arch == "vgg" and model.mean == pytest.approx([0.5] * 3)


def test_residual_network_before_activation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = trained(PreActivationNet(), (3, 32, 32))
    graph = proved(net, tmp_path, (3, 32, 32))
    assert graph.classes == ["0", "1", "2", "3", "4"] and graph.mean == [0, 0, 0] and graph.std == [1, 1, 1]
    nodes = {node.name: node for node in graph.nodes}
    assert nodes["layers.0.conv"].options["pad"] == "one"
    assert nodes["layers.0.add"].inputs == ["layers.0.act", "stem"]
    assert {"layers.0.add", "layers.1.add", "layers.1.down.1", "relu", "adaptive_avg_pool2d", "fc"} <= nodes.keys()
    traced = Traced(net, (3, 32, 32))
    assert {"stem.bias", "layers.0.conv.bias", "layers.1.down.1.bias"} <= traced.tensors().keys()
    with pytest.raises(ValueError, match="affine"):
        # A bias that cannot be one of a convolution stays where it is.
        ob.Network(trace(Forward(lambda m, x: m.fc((x + torch.ones(3, 1, 1)).flatten(1)), fc=nn.Linear(192, 5)), SMALL))
    assert ob.Network(graph)(randn(2, 3, 32, 32)).shape == (2, 5)


LAYERS: dict[str, list[nn.Module]] = {
    "batch_norm": [nn.BatchNorm2d(8)],
    "batch_norm, not affine": [nn.BatchNorm2d(8, affine=False, eps=0.01)],
    "convolution": [nn.Conv2d(8, 8, 3, stride=2, padding="valid", groups=4, bias=False), nn.Conv2d(8, 8, 3, padding="same")],
    "relu": [nn.ReLU(inplace=True)],
    "leaky_relu": [nn.LeakyReLU(0.2)],
    "prelu of one slope": [nn.PReLU()],
    "prelu": [nn.PReLU(8)],
    "our prelu": [ob.nn.PReLU(8)],
    "rprelu": [ob.nn.RPReLU(8)],
    "fprelu": [ob.nn.FPReLU(8)],
    "fprelu, shifted": [ob.nn.FPReLU(8, shifts=True)],
    "dyprelu": [ob.nn.DyPReLU(8)],
    "dyprelu, both slopes": [ob.nn.DyPReLU(8, slope="both", statistics="mean_std", precision="f32", limit=None)],
    "max_pool": [nn.MaxPool2d(3, 2, 1)],
    "avg_pool": [nn.AvgPool2d(2)],
    "global_avg_pool": [nn.AdaptiveAvgPool2d((1, 1))],
    "shuffle": [ob.nn.ChannelShuffle(2), nn.ChannelShuffle(4)],
    "dropped": [nn.Dropout(0.5), nn.Identity(), nn.Dropout2d(0.5), nn.Sequential()],
    "sign": [ob.nn.Sign(), ob.nn.BinaryConv2d(8, 8, 3, groups=2, stride=2)],
    "rsign": [ob.nn.RSign(8), ob.nn.BinaryConv2d(8, 8, 3, padding=1, scale="learned")],
    "dysign": [ob.nn.DySign(8, statistics="mean_third", reduction=2), ob.nn.BinaryConv2d(8, 8, 3, scale="l1_grad")],
    "dysign, pooled": [ob.nn.DySign(8, limit=None), nn.MaxPool2d(2), ob.nn.BinaryConv2d(8, 8, 3)],
    "sign, pooled twice": [ob.nn.Sign(), nn.MaxPool2d(2), nn.Dropout(), nn.MaxPool2d(3, 1, 1), ob.nn.BinaryConv2d(8, 8, 1)],
    "hardtanh": [nn.Hardtanh(), nn.Dropout(), ob.nn.Sign(), ob.nn.BinaryConv2d(8, 8, 1)],
    "hardtanh, pooled": [nn.Hardtanh(), nn.MaxPool2d(2), ob.nn.RSign(8), ob.nn.BinaryConv2d(8, 8, 1)],
    "no padding and one": [ob.nn.Sign(), ob.nn.BinaryConv2d(8, 8, 3, padding=1, pad="one", scale="none")],
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers(case: str, tmp_path: Path) -> None:
    net = nn.Sequential(conv(padding=1), *copy.deepcopy(LAYERS[case]), Head())
    proved(shaken(net), tmp_path)


FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda m, x: x + m.a(x),
    "add of three": lambda m, x: torch.add(x, m.a(x)).add(x),
    "sum": lambda m, x: sum([x, m.a(x), m.b(x)]),
    "add_": lambda m, x: m.a(x).add_(x),
    "relu": lambda m, x: F.relu(m.a(x)) + torch.relu(x) + m.b(x).relu(),
    "relu in place": lambda m, x: F.relu(m.a(x), inplace=True) + m.b(x).relu_(),
    "leaky_relu": lambda m, x: F.leaky_relu(m.a(x), 0.3),
    "prelu": lambda m, x: F.prelu(m.a(x), m.slope.weight),
    "cat": lambda m, x: m.join(torch.cat([x, m.a(x), m.b(x)], dim=1)),
    "cat of one map": lambda m, x: m.join(torch.cat((x, x, m.a(x)), 1)),
    "max_pool2d": lambda m, x: F.max_pool2d(F.max_pool2d(m.a(x), 2), 3, stride=1, padding=1),
    "avg_pool2d": lambda m, x: F.avg_pool2d(m.a(x), x.size(3)),
    "avg_pool2d of what is not square": lambda m, x: F.avg_pool2d(F.max_pool2d(x, 1)[:, :], x.shape[2:]),
    "mean": lambda m, x: m.a(x).mean([-2, -1], keepdim=True),
    "mean of a view": lambda m, x: m.a(x).flatten(2).mean(-1),
    "shuffle": lambda m, x: F.channel_shuffle(m.a(x), 4),
    "dropout": lambda m, x: F.dropout2d(F.dropout(m.a(x), 0.5, m.training), training=m.training),
    "same": lambda m, x: m.a(x.contiguous().clone()).detach().to(x.dtype).squeeze().unsqueeze(2).squeeze(2),
    "clamp": lambda m, x: m.bits(m.sign(torch.clamp(x, -1, 1))) + m.bits(m.sign(F.hardtanh(m.a(x), -0.5, 2.0))),
    "clamp of one side": lambda m, x: m.bits(m.sign(x.clamp(max=3))),
    "sign read twice": lambda m, x: (lambda s: m.bits(F.max_pool2d(s, 2)) + F.max_pool2d(m.bits(s), 2))(m.sign(x)),
    "sizes": lambda m, x: m.a(x) if x.dim() == 4 and x.shape[2] > 4 and x.ndim == 4 else m.b(x),
    "constant": lambda m, x: m.a(x) + torch.arange(8.0).view(1, 8, 1, 1) + m.slope.weight.view(-1, 1, 1).expand_as(x),
    "dead code": lambda m, x: (m.b(x), m.a(x))[1],
}


def a_forward(case: str) -> Any:
    forward = FUNCTIONS[case]
    layers = {
        "stem": conv(padding=1),
        "a": nn.Conv2d(8, 8, 1),
        "b": nn.Conv2d(8, 8, 1, bias=False),
        "join": nn.Conv2d(24, 8, 1),
        "slope": nn.PReLU(8),
        "sign": ob.nn.Sign(),
        "bits": ob.nn.BinaryConv2d(8, 8, 1),
        "head": Head(),
    }
    return shaken(Forward(lambda m, x: m.head(forward(m, m.stem(x))), **layers))


@pytest.mark.parametrize("case", FUNCTIONS)
def test_functions(case: str, tmp_path: Path) -> None:
    proved(a_forward(case), tmp_path)


def test_maps_that_are_not_square(tmp_path: Path) -> None:
    net = Forward(lambda m, x: m.fc(F.avg_pool2d(m.conv(x), (6, 10)).flatten(1)), conv=conv(padding=1), fc=nn.Linear(8, 5))
    assert ops(proved(shaken(net, (3, 6, 10)), tmp_path, (3, 6, 10))) == ["input", "conv", "global_avg_pool", "linear"]


@pytest.mark.parametrize("binary", [False, True])
def test_maps_are_flattened_channel_by_channel(binary: bool, tmp_path: Path) -> None:
    shape = (3, 5, 7)
    layers: dict[str, Any] = {"conv": conv(4, padding=1), "sign": ob.nn.Sign()}
    layers["same"] = nn.Identity()
    layers["fc"] = ob.nn.BinaryLinear(140, 5, scale="none") if binary else nn.Linear(140, 5)
    forms: list[Callable[[Any, Any], Any]] = [
        lambda m, x: m.fc((m.sign if binary else m.same)(x).flatten(1)),
        lambda m, x: m.fc((m.sign if binary else F.relu)(torch.flatten(x, 1))),
        lambda m, x: m.fc((m.sign if binary else F.relu)(x.view(-1, 140))),
        lambda m, x: m.fc((m.sign if binary else F.relu)(x.reshape(x.size()[0], -1) + x.flatten(start_dim=1))),
    ]
    for form in forms:
        proved(shaken(Forward(lambda m, x: form(m, m.conv(x)), **layers), shape), tmp_path, shape)


def test_flattened_maps_are_joined(tmp_path: Path) -> None:
    layers = {"a": conv(4), "b": conv(2), "fc": nn.Linear(6 * 36, 5)}
    graph = proved_forward(tmp_path, lambda m, x: m.fc(torch.cat([m.a(x).flatten(1), m.b(x).flatten(1)], 1)), **layers)
    assert names(graph) == ["input", "a", "b", "cat", "fc"]


def test_a_perceptron_of_a_binary_image(tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Flatten(), ob.nn.Sign(), ob.nn.BinaryLinear(192, 32), nn.BatchNorm1d(32), ob.nn.RSign(32), ob.nn.BinaryLinear(32, 5)
    )
    assert ops(proved(shaken(net), tmp_path)) == ["input", "sign", "linear_bin", "batch_norm", "sign", "linear_bin"]


def test_biases_of_binary_convolutions(tmp_path: Path) -> None:
    class Biased(nn.Module):
        def __init__(self, shared: bool) -> None:
            super().__init__()
            self.bits = nn.Sequential(ob.nn.Sign(), ob.nn.BinaryConv2d(8, 8, 3))
            self.bias = nn.Parameter(torch.zeros(8, 1, 1))
            self.shared = shared

        def forward(self, x: Tensor) -> Any:
            y = self.bits(x)
            return (self.bias + y) + y if self.shared else y + self.bias

    for shared in (False, True):
        net = shaken(nn.Sequential(conv(), Biased(shared), Head()))
        graph = proved(net, tmp_path)
        # Where the sums are read without the bias, too, it is an operation of its own.
        assert ("affine" in ops(graph)) == shared
        assert ("1.bits.1.bias" in Traced(net, SMALL).tensors()) == (not shared)


def test_what_changes_in_place_changes_for_all_that_hold_it(tmp_path: Path) -> None:
    def forward(m: Any, x: Any) -> Any:
        y = m.conv(x)
        held = y.view(y.shape)
        before = F.avg_pool2d(y, 6)
        y += m.other(x)
        F.relu(y, inplace=True)
        return m.head(F.avg_pool2d(held, 6) + before)

    graph = proved_forward(tmp_path, forward, conv=conv(), other=conv(), head=Head())
    inputs = {node.name: node.inputs for node in graph.nodes}
    assert inputs["avg_pool2d"] == ["conv"] and inputs["avg_pool2d_1"] == ["relu"] and inputs["relu"] == ["add"]


def test_a_clip_in_place_is_seen_by_the_shortcut() -> None:
    layers = {"conv": conv(), "clip": nn.Hardtanh(inplace=True), "sign": ob.nn.Sign(), "bits": ob.nn.BinaryConv2d(8, 8, 1)}

    def forward(m: Any, x: Any) -> Any:
        y = m.conv(x)
        return (m.bits(m.sign(m.clip(y))) + y).mean((2, 3))

    what = "reads what `clip` (Hardtanh) clips, which only a sign directly behind it may"
    refused(Forward(forward, **layers), "`add` (test_trace.py:", what)


# Names.


class Inner(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        return F.relu(self.layer(x))


def test_nodes_have_the_names_of_the_state_dict(tmp_path: Path) -> None:
    class Deep(nn.Sequential):
        pass

    net = Deep(Deep(Inner(Inner(conv()))), nn.Sequential(ob.nn.DySign(8), ob.nn.BinaryConv2d(8, 8, 1)), Head())
    traced = Traced(shaken(net), SMALL)
    assert names(traced.graph) == [
        "input",
        "0.0.layer.layer",
        "0.0.layer.relu",
        "0.0.relu",
        "1.0.hyper.trunk",
        "1.0.hyper.head",
        "1.0",
        "1.1",
        "2.mean",
        "2.fc",
    ]
    state = net.state_dict()
    assert traced.tensors().keys() == state.keys()
    for name, values in traced.tensors().items():
        assert values.dtype == np.float32 and np.array_equal(values, state[name].numpy()), name
    # They are copies.
    with torch.no_grad():
        state["2.fc.weight"].zero_()
    assert traced.tensors()["2.fc.weight"].any()


def test_shared_layers_are_copied(tmp_path: Path) -> None:
    shared = nn.Sequential(ob.nn.Sign(), ob.nn.BinaryConv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
    net = shaken(nn.Sequential(conv(), shared, shared, shared, Head()))
    graph = proved(net, tmp_path)
    assert [name for name in names(graph) if name.startswith("1.1")] == ["1.1", "1.1_1", "1.1_2"]
    tensors = Traced(net, SMALL).tensors()
    assert np.array_equal(tensors["1.1.weight"], tensors["1.1_2.weight"])


def test_names_are_unique_and_allowed(tmp_path: Path) -> None:
    layers: dict[str, nn.Module] = {"add": conv(), "a b": conv(8, 8), "a:b": conv(8, 8), "input": nn.ReLU(), "fc": Head()}
    net = Forward(lambda m, x: m.fc(m.input(m.add(x) + m.add(x))), **layers)
    assert names(proved(shaken(net), tmp_path)) == ["input_1", "add", "add_1", "add_2", "input", "fc.mean", "fc.fc"]
    net = Forward(lambda m, x: m.fc(m._modules["a:b"](m._modules["a b"](m.add(x)))), **layers)
    assert names(proved(shaken(net), tmp_path))[1:4] == ["add", "a_b", "a_b_1"]
    assert names(trace(shaken(nn.Conv2d(3, 5, 8)), SMALL)) == ["input", "conv2d"]


# What is given.


def test_classes() -> None:
    net = nn.Sequential(conv(), Head())
    assert trace(net, SMALL).classes == trace(net, input=SMALL, classes=5).classes == list("01234")
    assert trace(net, SMALL, classes=(name for name in "vwxyz")).classes == list("vwxyz")
    with pytest.raises(ValueError, match="5"):
        trace(net, SMALL, classes=4)


def test_the_module_stays_as_it_is(tmp_path: Path) -> None:
    net = PreActivationNet().train()
    net.bn.eval()
    before = copy.deepcopy(net.state_dict())
    modes = [module.training for module in net.modules()]
    x = randn(3, 3, 32, 32)
    given = x.clone()
    traced = Traced(net, (3, 32, 32))
    list(traced.observations(x))
    assert [module.training for module in net.modules()] == modes and torch.equal(x, given)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters()) and not hasattr(net, "_tensor_constant0")


def test_wrappers_are_taken_off() -> None:
    net = nn.Sequential(conv(), nn.BatchNorm2d(8), Head())
    assert trace(nn.DataParallel(net), SMALL) == trace(net, SMALL)
    synchronised: Any = nn.SyncBatchNorm
    assert trace(synchronised.convert_sync_batchnorm(net), SMALL) == trace(net, SMALL)
    if hasattr(torch, "compile"):
        assert trace(torch.compile(net), SMALL) == trace(net, SMALL)


def test_observations() -> None:
    net = shaken(nn.Sequential(conv(), ob.nn.RSign(8), nn.MaxPool2d(2), nn.Flatten(), ob.nn.BinaryLinear(72, 5)))
    x = randn(40, *SMALL)
    traced = Traced(net, SMALL)
    parts = list(traced.observations(x))
    assert [len(part[0]) for part in parts] == [32, 8] and json.loads(traced.description)["layout"] == "oihw"
    images, logits, signs = (np.concatenate(values) for values in zip(*((i, y, s["1"]) for i, y, s in parts)))
    with torch.no_grad():
        assert np.array_equal(images, x.numpy()) and np.array_equal(logits, net(x).numpy())
        assert np.array_equal(signs, net[:3](x).numpy() > 0) and signs.shape == (40, 8, 3, 3)
    with pytest.raises(TypeError, match="float64"):
        next(traced.observations(x.numpy().astype(float)))


def test_what_is_described_is_what_pack_weights_takes(tmp_path: Path) -> None:
    net = trained(Vgg(), (3, 16, 16), 1).eval()
    traced = Traced(net, (3, 16, 16))
    x = randn(4, 3, 16, 16)
    with torch.no_grad():
        expected = (x.numpy(), net(x).numpy())
    onebit.pack_weights(traced.description, traced.tensors(), tmp_path / "n.onebit", expect=expected)


def test_what_fx_does_not_see_is_found_by_the_proof(tmp_path: Path) -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return x + torch.full((8, 1, 1), float(self.calls))

    net = shaken(nn.Sequential(conv(), Counting(), Head()))
    with pytest.raises(onebit.DisagreementError):
        onebit.pack(net, tmp_path / "n.onebit", input=SMALL, verify=randn(4, *SMALL))
    assert not list(tmp_path.iterdir())


def test_what_is_not_a_layer_is_looked_into(tmp_path: Path) -> None:
    class Rectified(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            ctx.save_for_backward(x)
            return x.relu()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Any:
            return gradient

    recorded = torch.fx.symbolic_trace(nn.Sequential(conv(), nn.ReLU()))
    function: Any = Rectified.apply
    graph = proved_forward(tmp_path, lambda m, x: m.head(function(m.recorded(x))), recorded=recorded, head=Head())
    assert ops(graph) == ["input", "conv", "prelu", "prelu", "global_avg_pool", "linear"]
