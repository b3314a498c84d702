"""Modules of the user's own: traced, packed, and what cannot be."""

from __future__ import annotations

import copy
import json
import re
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

SMALL = (3, 8, 8)


class Forward(nn.Module):
    """Layers by their names, and a function of them and the images as the forward."""

    def __init__(self, forward: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Any) -> Any:
        return self._forward(self, x)


def randn(*shape: int, seed: int = 1) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shaken(module: nn.Module, shape: tuple[int, ...] = SMALL) -> Any:
    """Moves all parameters away from where they begin, and measures statistics."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        module.train()
        for _ in range(3):
            module(torch.randn(6, *shape, generator=generator))
    return module.eval()


def trained(net: nn.Module, shape: tuple[int, ...], steps: int = 6) -> Any:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(steps):
        images = torch.randn(16, *shape, generator=generator)
        optimizer.zero_grad()
        loss: Any = F.cross_entropy(net(images), torch.randint(0, 5, (16,), generator=generator))
        loss.backward()
        optimizer.step()
    return net


def proved(module: nn.Module, path: Path, shape: tuple[int, ...] = SMALL, images: int = 12, **options: Any) -> onebit.Graph:
    """Packs a module, and compares what it computes with what the file does, signs and logits."""
    module = module.eval()
    x = randn(images, *shape)
    with torch.no_grad():
        expected = module(x.clone()).flatten(1).numpy()
    report = onebit.pack(module, path / "n.onebit", verify=x, input=shape, **options)
    assert report.agree == images and report.flipped_images == 0
    found = onebit.load(path / "n.onebit").run(x.numpy())
    assert np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max())
    return trace(module, shape, **options)


def proved_forward(path: Path, forward: Callable[[Any, Any], Any], **layers: nn.Module) -> onebit.Graph:
    return proved(shaken(Forward(forward, **layers)), path)


def ops(graph: onebit.Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def names(graph: onebit.Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def refused(module: nn.Module, *parts: str, shape: tuple[int, ...] = SMALL) -> str:
    """The message: each part is in it, and it has as many problems as there are parts."""
    with pytest.raises(ValueError) as error:
        trace(module, shape)
    message = str(error.value)
    for part in parts:
        assert part in message, message
    return message


def conv(out: int = 8, inputs: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, out, 3, **options)


# Networks that nobody here designed a graph for.


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


class Inverted(nn.Module):
    """A block of MobileNetV2 with squeeze-and-excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.act = nn.ReLU6()
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=(1, 1), groups=2 * channels, dilation=1)
        self.norm = nn.GroupNorm(2, 2 * channels)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2 * channels, 2 * channels, 1), nn.Sigmoid())
        self.project = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Any:
        y = self.norm(self.depthwise(self.act(self.expand(x))))
        y = y * self.squeeze(y)
        return x + self.project(torch.sign(y))


class Unet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, (1, 3), padding=(0, 1))
        self.wide = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.edges = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.block = Inverted(8)
        self.down = nn.MaxPool2d(2, ceil_mode=True)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.lists = nn.ModuleDict({"act": nn.SiLU()})
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Any:
        x = self.edges(self.wide(self.stem(x)))
        y = self.lists["act"](self.block(self.down(x)))
        y = torch.cat([F.interpolate(y, scale_factor=2.0), self.up(y)], 1)
        return self.head(y.mean((2, 3))), y


def test_everything_that_cannot_be_expressed_is_listed_at_once() -> None:
    net = Unet()
    message = refused(
        net,
        "the module cannot be expressed: ",
        "`stem` (Conv2d) has kernel_size=(1, 3): use one number for both axes",
        "`wide` (Conv2d) has dilation=(2, 2): use 1",
        "`edges` (Conv2d) has padding_mode='reflect': only zeros are padded",
        "`down` (MaxPool2d) has ceil_mode=True",
        "`block.act` (ReLU6) has no counterpart in a file: use torch.nn.ReLU",
        "`block.norm` (GroupNorm) has no counterpart in a file: use torch.nn.BatchNorm2d",
        "`block.squeeze.2` (Sigmoid) has no counterpart",
        "`mul` in `block` (test_trace.py:",
        "squeeze-and-excitation",
        "`sign` in `block` (test_trace.py:",
        "use onebit.torch.nn.Sign, whose sign of 0 is -1 (torch.sign gives 0)",
        "`lists.act` (SiLU) has no counterpart",
        "`interpolate` (test_trace.py:",
        "`up` (ConvTranspose2d) has no counterpart",
        "the output is not one tensor: it must be the logits",
    )
    assert message.count("; ") == 12 and "`block.project`" not in message and "`head`" not in message
    line = int(re.findall(r"`mul` in `block` \(test_trace.py:(\d+)\)", message)[0])
    assert Path(__file__).read_text().splitlines()[line - 1].strip() == "y = y * self.squeeze(y)"


# One by one: what can be.

class _Head(nn.Module):
    """Logits of a map of any size."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, 5)

    def forward(self, x: Any) -> Any:
        return self.fc(x.reshape(x.shape[0], self.fc.in_features, -1).mean(2))


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
    net = nn.Sequential(conv(padding=1), *copy.deepcopy(LAYERS[case]), _Head())
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
        "head": _Head(),
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
        net = shaken(nn.Sequential(conv(), Biased(shared), _Head()))
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

    graph = proved_forward(tmp_path, forward, conv=conv(), other=conv(), head=_Head())
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

    net = Deep(Deep(Inner(Inner(conv()))), nn.Sequential(ob.nn.DySign(8), ob.nn.BinaryConv2d(8, 8, 1)), _Head())
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
    net = shaken(nn.Sequential(conv(), shared, shared, shared, _Head()))
    graph = proved(net, tmp_path)
    assert [name for name in names(graph) if name.startswith("1.1")] == ["1.1", "1.1_1", "1.1_2"]
    tensors = Traced(net, SMALL).tensors()
    assert np.array_equal(tensors["1.1.weight"], tensors["1.1_2.weight"])


def test_names_are_unique_and_allowed(tmp_path: Path) -> None:
    layers: dict[str, nn.Module] = {"add": conv(), "a b": conv(8, 8), "a:b": conv(8, 8), "input": nn.ReLU(), "fc": _Head()}
    net = Forward(lambda m, x: m.fc(m.input(m.add(x) + m.add(x))), **layers)
    assert names(proved(shaken(net), tmp_path)) == ["input_1", "add", "add_1", "add_2", "input", "fc.mean", "fc.fc"]
    net = Forward(lambda m, x: m.fc(m._modules["a:b"](m._modules["a b"](m.add(x)))), **layers)
    assert names(proved(shaken(net), tmp_path))[1:4] == ["add", "a_b", "a_b_1"]
    assert names(trace(shaken(nn.Conv2d(3, 5, 8)), SMALL)) == ["input", "conv2d"]


# What is given.


def test_classes() -> None:
    net = nn.Sequential(conv(), _Head())
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
    net = nn.Sequential(conv(), nn.BatchNorm2d(8), _Head())
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

    net = shaken(nn.Sequential(conv(), Counting(), _Head()))
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
    graph = proved_forward(tmp_path, lambda m, x: m.head(function(m.recorded(x))), recorded=recorded, head=_Head())
    assert ops(graph) == ["input", "conv", "prelu", "prelu", "global_avg_pool", "linear"]


class Plain(nn.Conv2d):
    """A convolution with other defaults."""

    def __init__(self, inputs: int, out: int) -> None:
        super().__init__(inputs, out, 3, bias=False)


def test_a_subclass_that_computes_the_same_is_one(tmp_path: Path) -> None:
    assert ops(proved(shaken(nn.Sequential(Plain(3, 8), _Head())), tmp_path))[1] == "conv"


# One by one: what cannot be.


class Binarized(nn.Conv2d):
    """A convolution that is not one, as many published codes have it."""

    def forward(self, input: Tensor) -> Any:
        return F.conv2d(input, torch.sign(self.weight))


def hooked() -> nn.Module:
    layer = nn.ReLU()
    layer.register_forward_hook(lambda module, given, y: y + 1)
    return layer


def staged() -> nn.Module:
    layer = ob.nn.BinaryConv2d(8, 8, 1)
    layer.stage = "binary_activations"
    return nn.Sequential(ob.nn.Sign(), layer)


def clipped(threshold: float, clip: nn.Module) -> nn.Module:
    sign = ob.nn.RSign(8)
    nn.init.constant_(sign.threshold, threshold)  # type: ignore[arg-type]
    return nn.Sequential(clip, sign, ob.nn.BinaryConv2d(8, 8, 1))


REFUSED_LAYERS: dict[str, Callable[[], nn.Module]] = {
    "has kernel_size=(3, 1): use one number": lambda: nn.Conv2d(8, 8, (3, 1)),
    "has stride=(2, 1): use one number": lambda: nn.Conv2d(8, 8, 3, stride=(2, 1)),
    "has padding=(1, 0): use one number": lambda: nn.Conv2d(8, 8, 3, padding=(1, 0)),
    "has padding=1: it must be less than the kernel": lambda: nn.Conv2d(8, 8, 1, padding=1),
    "has padding='same' of an even kernel": lambda: nn.Conv2d(8, 8, 2, padding="same"),
    "has dilation=(2, 2): use 1": lambda: nn.Conv2d(8, 8, 3, dilation=2),
    "has padding_mode='circular'": lambda: nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
    "(MaxPool2d) has ceil_mode=True": lambda: nn.MaxPool2d(2, ceil_mode=True),
    "(MaxPool2d) has dilation=2": lambda: nn.MaxPool2d(2, dilation=2),
    "(AvgPool2d) has ceil_mode=True": lambda: nn.AvgPool2d(2, ceil_mode=True),
    "(AvgPool2d) has padding=1": lambda: nn.AvgPool2d(3, padding=1),
    "has a divisor of its own": lambda: nn.AvgPool2d(2, divisor_override=3),
    "has kernel_size=(2, 1)": lambda: nn.AvgPool2d((2, 1)),
    "has the output size (2, 2): use 1": lambda: nn.AdaptiveAvgPool2d((2, 2)),
    "has no running statistics": lambda: nn.BatchNorm2d(8, track_running_stats=False),
    "(SiLU) has no counterpart in a file: use torch.nn.ReLU": nn.SiLU,
    "(Hardswish) has no counterpart": nn.Hardswish,
    "(Tanh) has no counterpart in a file: leave it out in front of a sign": nn.Tanh,
    "(LayerNorm) has no counterpart in a file: use torch.nn.BatchNorm2d": lambda: nn.LayerNorm(6),
    "(Upsample) has no counterpart in a file: a map cannot become larger": lambda: nn.Upsample(scale_factor=2),
    "(Softmax) has no counterpart in a file: leave it out": lambda: nn.Softmax(1),
    "(ZeroPad2d) has no counterpart in a file: use the padding of": lambda: nn.ZeroPad2d(1),
    "(Binarized) is a Conv2d with a `forward` of its own, which is not looked into": lambda: Binarized(8, 8, 3),
    "for binary weights use onebit.torch.nn.BinaryConv2d": lambda: Binarized(8, 8, 3),
    "(ReLU) has hooks, whose effect is not seen": hooked,
    "is in the stage 'binary_activations'": staged,
    "has real weights and reads the signs of `1.0`: use onebit.torch.nn.BinaryConv2d": lambda: nn.Sequential(
        ob.nn.Sign(), nn.Conv2d(8, 8, 1)
    ),
    "(BatchNorm2d) reads the signs of `1.0`": lambda: nn.Sequential(ob.nn.Sign(), nn.BatchNorm2d(8)),
    "(BinaryConv2d) reads real values: put Sign, RSign or DySign": lambda: ob.nn.BinaryConv2d(8, 8, 1),
    "has thresholds outside [-1, 1), to which `1.0` (Hardtanh) clips": lambda: clipped(1.0, nn.Hardtanh()),
    "has thresholds outside [0, 1)": lambda: clipped(-0.1, nn.Hardtanh(0.0, 1.0)),
    "(ReLU) reads what `1.0` (Hardtanh) clips, which only a sign": lambda: nn.Sequential(nn.Hardtanh(), nn.ReLU()),
    "(BatchNorm1d) has a parameter for each of [288] values, which is a view of 8x6x6": lambda: nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(288)
    ),
    "(Linear) reads [8, 6, 6] of an image: put `flatten(1)` in front": lambda: nn.Linear(6, 6),
    "(Flatten) makes [576] of 2 images: keep the first axis": lambda: nn.Flatten(0),
    "reads [16, 3, 6], a view of the map 8x6x6": lambda: nn.Sequential(
        nn.Flatten(), nn.Unflatten(1, (16, 3, 6)), nn.MaxPool2d(2)
    ),
    "(Network) has no counterpart in a file: it has a graph already": lambda: ob.Network(
        onebit.graph("resnet-small", classes=3, input=(8, 6, 6), widths=[8], blocks=[1], mean=[0] * 8, std=[1] * 8)
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("part", REFUSED_LAYERS)
def test_layers_that_cannot_be_expressed(part: str) -> None:
    message = refused(nn.Sequential(conv(), REFUSED_LAYERS[part](), nn.Identity()), part)
    assert message.count("`1") <= 2 or part.startswith("has no"), message


REFUSED_FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "use onebit.torch.nn.Sign, whose": lambda m, x: torch.sign(x),
    "`sign` (test_trace.py:": lambda m, x: x.sign(),
    "`gt` (test_trace.py:": lambda m, x: m.bits((x > 0).float()),
    "squeeze-and-excitation": lambda m, x: x * x.mean((2, 3), keepdim=True),
    "`sub` (test_trace.py:": lambda m, x: x - m.a(x),
    "adds a number": lambda m, x: x + 1,
    "adds a constant of the shape [6]": lambda m, x: x + torch.ones(6),
    "has alpha=2": lambda m, x: torch.add(x, x, alpha=2),
    "adds [8, 6, 6] and [8, 1, 1]": lambda m, x: x + x.mean((2, 3), keepdim=True),
    "joins along dim=2": lambda m, x: torch.cat([x, x], 2),
    "`chunk` (test_trace.py:": lambda m, x: sum(x.chunk(2, 1)),
    "a map cannot be taken apart": lambda m, x: x[:, :, ::2, ::2],
    "`interpolate` (test_trace.py:": lambda m, x: F.interpolate(x, scale_factor=2.0),
    "`relu6` (test_trace.py:": lambda m, x: F.relu6(x),
    "`sigmoid` (test_trace.py:": lambda m, x: x.sigmoid(),
    "`conv2d` (test_trace.py:": lambda m, x: F.conv2d(x, m.a.weight),
    "use the padding of the layer behind": lambda m, x: F.pad(x, (1, 1, 1, 1)),
    "is over the axes [3]: only a mean over height and width": lambda m, x: x.mean(3),
    "`permute` (test_trace.py:": lambda m, x: x.permute(0, 1, 3, 2),
    "drops values in evaluation too": lambda m, x: F.dropout(x, 0.1),
    "has return_indices=True": lambda m, x: F.max_pool2d(x, 2, return_indices=True)[0],
    "`flatten` (test_trace.py:": lambda m, x: x.flatten(),
    "has bounds that are tensors": lambda m, x: torch.clamp(x, x.mean((2, 3), keepdim=True)),
    "the output is not one tensor: it must be the logits": lambda m, x: (x, x),
    "the output is not one tensor": lambda m, x: {"out": x},
    "the output has [288] of an image, of the map 8x6x6": lambda m, x: x.flatten(1),
    "the output has [8, 6, 6] of an image": lambda m, x: x,
    "the output is signs": lambda m, x: m.sign(x),
    "the output does not depend on the image": lambda m, x: m.a.weight,
}


@pytest.mark.parametrize("part", REFUSED_FUNCTIONS)
def test_functions_that_cannot_be_expressed(part: str) -> None:
    forward = REFUSED_FUNCTIONS[part]
    layers = {"stem": conv(), "a": nn.Conv2d(8, 8, 1), "sign": ob.nn.Sign(), "bits": ob.nn.BinaryConv2d(8, 8, 1)}
    message = refused(Forward(lambda m, x: forward(m, m.stem(x)), **layers), "the module cannot be expressed: ", part)
    assert message.count("test_trace.py") <= 1 and "None" not in message


UNTRACED: dict[str, Callable[[Any, Any], Any]] = {
    "a graph cannot depend on the values of the images or on their number": lambda m, x: x if x.mean() > 0 else -x,
    "make it depend on shapes or settings (": lambda m, x: x + int(x.sum()),
    "(symbolically traced variables cannot be used as inputs to control flow)": lambda m, x: x if x.size(0) > 1 else x,
    "it calls a layer that is none of its submodules": lambda m, x: nn.ReLU()(x),
    "it does not run on images [2, 3, 8, 8], RuntimeError: Given groups=1": lambda m, x: m.inner(x[:, :2]),
}


def test_what_cannot_be_expressed_is_listed_before_what_does_not_run() -> None:
    net = nn.Sequential(nn.SiLU(), nn.MultiheadAttention(8, 2), nn.GELU())
    message = refused(net, "`0` (SiLU) has no counterpart", "`1` (MultiheadAttention) has no counterpart")
    assert "; the module cannot be traced in `1`: it does not run on images [2, 3, 8, 8], TypeError: " in message


@pytest.mark.parametrize("part", UNTRACED)
def test_what_cannot_be_traced(part: str) -> None:
    forward = UNTRACED[part]
    net = nn.Sequential(nn.Identity(), Forward(lambda m, x: forward(m, x), inner=conv()))
    refused(net, part, " in `1.inner` (" if "run" in part else " in `1` (", "the module cannot be traced", "test_trace.py:")


def test_more_than_one_input_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Any:
            return x + y

    refused(Two(), "the module has 2 inputs, x, y: a network has one, the image")
    with pytest.raises(ValueError, match="expected channels, height and width"):
        trace(conv(), (8, 8))
    with pytest.raises(TypeError, match="`weight` is torch.float64, expected torch.float32"):
        trace(conv().double(), SMALL)
