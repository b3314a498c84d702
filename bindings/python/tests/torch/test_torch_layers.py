"""Layers against PyTorch's own numbers in float64, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
from common import close, fixture, names, torch

import onebit.torch as ob
from onebit.torch import hyper, nn

# The fixtures were rounded to float32 once.
TOLERANCE = 2e-7


def run(layer: Any, tensors: dict[str, Any], parameters: dict[str, str], inputs: tuple[str, ...] = ("x",)) -> None:
    """Loads `parameters` (name of the layer: name of the fixture), runs forward and backward, compares everything."""
    layer = layer.double()
    own = dict(layer.named_parameters())
    assert own.keys() == parameters.keys()
    layer.load_state_dict({name: tensors[key] for name, key in parameters.items()})
    given = [tensors[name].clone().requires_grad_() for name in inputs]
    y = layer(*given)
    y.backward(tensors["gy"])
    close(y.detach(), tensors["y"], TOLERANCE, "y")
    for name, value in zip(inputs, given):
        close(value.grad, tensors["gx" if name == "x" else f"g_{name}"], TOLERANCE, f"gradient of {name}")
    for name, key in parameters.items():
        close(own[name].grad, tensors[f"g_{key}"], TOLERANCE, f"gradient of {name}")


@pytest.mark.parametrize("name", names("conv_bin"))
def test_binary_conv(name: str) -> None:
    metadata, tensors = fixture(f"ops/{name}")
    out, inputs = tensors["weight"].shape[:2]
    groups = int(metadata["groups"])
    scale = {"l1": "l1_detached"}.get(metadata["scale"], metadata["scale"])
    layer = nn.BinaryConv2d(
        inputs * groups,
        out,
        int(metadata["kernel"]),
        stride=int(metadata["stride"]),
        padding=int(metadata["padding"]),
        groups=groups,
        pad={"0": "zero", "1": "one"}[metadata["pad_value"]],
        scale=scale,
    )
    parameters = {"weight": "weight", **({"scale": "scale"} if scale == "learned" else {})}
    run(layer, tensors, parameters)


@pytest.mark.parametrize("scale", nn.SCALES)
def test_binary_linear_is_a_1x1_convolution(scale: str) -> None:
    torch.manual_seed(0)
    conv = nn.BinaryConv2d(20, 7, 1, scale=scale).double()
    linear = nn.BinaryLinear(20, 7, scale=scale).double()
    linear.load_state_dict({name: value.flatten(1) if value.dim() > 1 else value for name, value in conv.state_dict().items()})
    x = ob.nn.Sign()(torch.randn(5, 20).double()).requires_grad_()
    g = torch.randn(5, 7).double()
    of_linear = torch.autograd.grad(linear(x), [x, *linear.parameters()], g)
    of_conv = torch.autograd.grad(conv(x[:, :, None, None]).flatten(1), [x, *conv.parameters()], g)
    for a, b in zip(of_linear, of_conv):
        close(a.flatten(), b.flatten(), 1e-12)


@pytest.mark.parametrize("name", names("sign"))
def test_sign(name: str) -> None:
    metadata, tensors = fixture(f"ops/{name}")
    setting = {key: float(metadata[key]) for key in ("bound", "k", "t") if key in metadata}
    kind: Any = {"approx_sign": nn.ApproxSign, "clip": nn.Clip, "ede": nn.Ede}[metadata["estimator"]]
    channels = len(tensors["threshold"])
    if metadata["threshold"] == "static":
        run(nn.RSign(channels, estimator=kind(**setting)), tensors, {"threshold": "threshold"})
        return
    layer = nn.OffsetSign(channels, estimator=kind(**setting))
    run(layer, tensors, {"threshold": "threshold"}, ("x", "d"))


@pytest.mark.parametrize("name", names("prelu"))
def test_rectifiers(name: str) -> None:
    metadata, tensors = fixture(f"ops/{name}")
    slope = {"relu": "relu", "prelu": "negative", "fprelu": "both"}[metadata["slope"]]
    channels = tensors["x"].shape[1]
    parameters: list[str] = [key for key in ("slope_pos", "slope_neg", "shift_x", "shift_y") if key in tensors]
    named = {key: key for key in parameters}
    if metadata["shift"] == "dynamic":
        run(nn.OffsetRectifier(channels, slope), tensors, named, ("x", "d"))
        return
    run(nn.StaticRectifier(channels, slope, metadata["shift"] == "static"), tensors, named)
    public: dict[Any, Any] = {
        ("negative", "none"): nn.PReLU,
        ("negative", "static"): nn.RPReLU,
        ("both", "none"): nn.FPReLU,
        ("both", "static"): lambda c: nn.FPReLU(c, shifts=True),
    }
    if slope != "relu":
        run(public[slope, metadata["shift"]](channels), tensors, named)


@pytest.mark.parametrize("name", names("hyper"))
def test_hyper_function(name: str) -> None:
    metadata, tensors = fixture(f"ops/{name}")
    outputs, hidden = tensors["w2"].shape
    limit = None if metadata["output"] == "raw" else float(metadata["lambda"])
    layer = torch.nn.Sequential(
        hyper.HyperTrunk(tensors["x"].shape[1], hidden, statistics=metadata["statistics"], precision="f32"),
        hyper.HyperHead(hidden, outputs, limit=limit, precision="f32"),
    )
    run(layer, tensors, {"0.weight": "w1", "0.bias": "b1", "1.weight": "w2", "1.bias": "b2"})


@pytest.mark.parametrize("name", names("channel_shuffle"))
def test_channel_shuffle(name: str) -> None:
    metadata, tensors = fixture(f"ops/{name}")
    run(nn.ChannelShuffle(int(metadata["groups"])), tensors, {})


def test_distillation() -> None:
    tensors = fixture("ops/distillation")[1]
    student = tensors["logits"].requires_grad_()
    teacher = tensors["teacher"].requires_grad_()
    loss: Any = ob.distillation(student, teacher)
    loss.backward()
    assert teacher.grad is None
    close(loss.detach()[None], tensors["loss"], TOLERANCE)
    close(student.grad, tensors["g_logits"], TOLERANCE)
    assert ob.distillation(student.detach().bfloat16(), teacher).dtype == torch.float64
    assert ob.distillation(student.detach().bfloat16(), teacher.detach().bfloat16()).dtype == torch.float32


def test_eight_bits_round_as_the_packer_does() -> None:
    weight = torch.tensor([[127.0, -126.5, 0.5, 1.4], [-0.254, 0.000_9, 0.0, 0.128], [0.0, 0.0, 0.0, 0.0]])
    integers = torch.tensor([[127.0, -127, 1, 1], [-127, 0, 0, 64], [0, 0, 0, 0]])
    assert torch.equal(hyper.rounded(weight), integers * torch.tensor([[1.0], [0.002], [0.0]]))
    head = hyper.HyperHead(8, 4, limit=None)
    with torch.no_grad():
        head.weight.copy_(torch.randn(4, 8))
    x = torch.randn(3, 8)
    head(x).sum().backward()
    assert torch.equal(head(x), torch.nn.functional.linear(x, hyper.rounded(head.weight.detach()), head.bias))
    close(head.weight.grad, x.sum(0).expand(4, 8), 1e-6)


@pytest.mark.parametrize("statistics", hyper.STATISTICS)
def test_dynamic_layers_own_their_hyper_functions(statistics: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 20, 5, 4)
    options: dict[str, Any] = {"statistics": statistics, "reduction": 2}
    sign: Any = nn.DySign(20, **options)
    rectifier: Any = nn.DyPReLU(20, **options)
    assert torch.equal(sign(x), nn.RSign(20)(x)) and torch.equal(rectifier(x), nn.RPReLU(20)(x))
    assert {name for name, _ in sign.named_parameters()} == {"threshold"} | {
        f"hyper.{half}.{suffix}" for half in ("trunk", "head") for suffix in ("weight", "bias")
    }
    for layer in (sign, rectifier):
        with torch.no_grad():
            layer.hyper.head.weight.normal_()
        layer(x).sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())
    offset = sign.hyper(x).detach()
    assert offset.shape == (3, 20) and float(offset.abs().max()) < 1
    assert torch.equal(sign(x) > 0, x > (sign.threshold + offset)[:, :, None, None])
    assert not nn.DyPReLU(20, limit=None).hyper(x).any()


def test_layers_take_vectors() -> None:
    x = torch.randn(5, 8)
    wide = x[:, :, None, None]
    for layer in (nn.Sign(), nn.RSign(8), nn.PReLU(8), nn.RPReLU(8), nn.FPReLU(8, shifts=True)):
        assert torch.equal(layer(x), layer(wide).flatten(1))


@pytest.mark.parametrize("slope", nn.SLOPES)
def test_a_nan_goes_through_every_rectifier(slope: str) -> None:
    y = nn.StaticRectifier(2, slope, True)(torch.tensor([[float("nan"), 1.0]]))
    assert y.isnan().tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.BinaryConv2d(4, 6, 3, scale="l1"), "scale is 'l1', expected one of 'none', 'l1_detached'"),
        (lambda: nn.BinaryConv2d(4, 6, 3, pad="two"), "pad is 'two', expected one of 'zero', 'one'"),
        (lambda: nn.BinaryConv2d(4, 6, 3, groups=4), "groups is 4, expected a divisor of 4 and 6 channels"),
        (lambda: nn.BinaryConv2d(4, 6, 0), "kernel_size is 0"),
        (lambda: nn.BinaryLinear(0, 6), "shape [6, 0]"),
        (lambda: nn.Clip(0), "bound is 0, expected a number above 0"),
        (lambda: nn.Ede(1, float("nan")), "t is nan"),
        (lambda: nn.DySign(8, statistics="max"), "statistics is 'max'"),
        (lambda: nn.DySign(8, precision="f16"), "precision is 'f16'"),
        (lambda: nn.DySign(8, reduction=0), "reduction is 0"),
        (lambda: nn.DyPReLU(8, limit=-1), "limit is -1"),
        (lambda: nn.DyPReLU(8, slope="none"), "slope is 'none'"),
        (lambda: nn.RSign(8)(torch.zeros(2, 1, 4, 4)), "shape [2, 1, 4, 4], expected [N, 8, ...]"),
        (lambda: nn.PReLU(8)(torch.zeros(8)), "shape [8], expected [N, 8, ...]"),
        (lambda: nn.ChannelShuffle(3)(torch.zeros(1, 4, 2, 2)), "4 channels cannot be shuffled in 3 groups"),
        (lambda: ob.set_stage(nn.Sign(), "real"), "the stage is 'real', expected one of 'float'"),
        (lambda: ob.distillation(torch.zeros(2, 3), torch.zeros(2, 4)), "shapes [2, 3] and [2, 4]"),
        (lambda: ob.param_groups(nn.RSign(2), -1), "weight_decay is -1"),
        (lambda: ob.param_groups(nn.RSign(2), float("inf")), "weight_decay is inf"),
        (lambda: nn.DySign(8)(torch.zeros(2, 8)), "shape [2, 8], expected [N, 8, H, W]"),
        (lambda: nn.DyPReLU(8, statistics="mean_std")(torch.zeros(2, 4, 3, 3)), "shape [2, 4, 3, 3], expected [N, 8, H, W]"),
        (lambda: ob.param_groups(nn.RSign(2), 1, on="all"), "on is 'all'"),
    ],
)
def test_bad_input(make: Any, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        make()
    assert words in str(raised.value) and "\n" not in str(raised.value)
