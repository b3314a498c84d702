"""Exact forward values, whatever the gradient's way: PyTorch's pitfalls."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from common import torch

from onebit.torch import nn

ESTIMATORS: list[Any] = [nn.ApproxSign(), nn.Clip(1.25), nn.Ede(2.0, 3.0)]
SPECIAL = [0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 3e38, float("inf"), float("-inf"), float("nan")]
needs_compile = pytest.mark.skipif(not hasattr(torch, "compile"), reason=f"torch {torch.__version__} has no torch.compile")


def values() -> Any:
    """Of every size, those around thresholds among them."""
    torch.manual_seed(0)
    spread = torch.randn(20_000) * 10.0 ** torch.randint(-30, 30, (20_000,))
    return torch.cat([torch.tensor(SPECIAL), spread, torch.nextafter(torch.zeros(1), torch.ones(1))])[:, None]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_signs_are_exact_with_and_without_a_gradient(estimator: Any, dtype: Any) -> None:
    x = values().to(dtype).requires_grad_()
    expected = [1.0 if value > 0 else -1.0 for value in x.flatten().tolist()]
    for layer in (nn.Sign(estimator=estimator), nn.RSign(1, estimator=estimator)):
        assert layer(x).flatten().tolist() == expected
        with torch.no_grad():
            assert layer(x).flatten().tolist() == expected


@pytest.mark.parametrize("estimator", ESTIMATORS[:2])
def test_no_value_makes_a_gradient_nan(estimator: Any) -> None:
    x = torch.tensor(SPECIAL)[:, None].requires_grad_()
    nn.Sign(estimator=estimator)(x).sum().backward()
    assert bool(x.grad.isfinite().all())
    assert x.grad[SPECIAL.index(float("inf")) :].flatten().tolist() == [0.0, 0.0, 0.0]


def test_a_threshold_is_compared_and_not_subtracted() -> None:
    # The difference is subnormal: where such numbers are flushed to 0, a subtraction would lose it.
    tiny = torch.finfo(torch.float32).tiny
    x, threshold = torch.tensor([[1.5 * tiny]]), 1.25 * tiny
    sign = nn.RSign(1)
    with torch.no_grad():
        sign.threshold.fill_(threshold)  # type: ignore[union-attr]
    torch.set_flush_denormal(True)
    try:
        assert sign(x).tolist() == [[1.0]]
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("scale", nn.SCALES)
@pytest.mark.parametrize("estimator", [nn.Clip(), nn.Identity()])
def test_binary_weights_are_exact(scale: str, estimator: Any) -> None:
    layer = nn.BinaryLinear(64, 300, scale=scale, estimator=estimator)
    with torch.no_grad():
        layer.weight.mul_(10.0 ** torch.randint(-20, 5, layer.weight.shape))
        layer.weight[0, :3] = torch.tensor([0.0, -0.0, 1e-45])
    weight, factor = layer._multiplied()
    assert torch.equal(weight, torch.where(layer.weight > 0, 1.0, -1.0))
    if scale.startswith("l1"):
        assert factor is not None and torch.equal(factor, layer.weight.abs().mean(1))


def test_a_filter_of_zeros_keeps_its_gradient() -> None:
    layer = nn.BinaryLinear(4, 2)
    with torch.no_grad():
        layer.weight.zero_()
    y = layer(torch.ones(1, 4))
    found = torch.autograd.grad(y, layer.weight, torch.tensor([[0.25, -3.0]]))[0]
    assert bool((y.abs() < 1e-28).all())
    assert torch.allclose(found, torch.tensor([[0.25], [-3.0]]).expand(2, 4))


def test_a_scale_of_the_weights_has_the_sign_of_zero_in_its_gradient() -> None:
    layer = nn.BinaryLinear(4, 1, scale="l1_grad")
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 1.0, -2.0, 0.5]]))
    x = torch.tensor([[1.0, -1.0, 1.0, 1.0]])
    found = torch.autograd.grad(layer(x).sum(), layer.weight)[0]
    signs = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    mean = 3.5 / 4
    expected = mean * x[0] * torch.tensor([1.0, 1.0, 0.0, 1.0]) + float((x[0] * signs).sum()) / 4 * signs
    assert torch.allclose(found[0], expected)


def test_autocast_keeps_the_sums_exact() -> None:
    torch.manual_seed(0)
    conv, linear = nn.BinaryConv2d(512, 8, 3, padding=1, scale="none"), nn.BinaryLinear(5000, 3, scale="none")
    x, vector = torch.where(torch.randn(2, 512, 5, 5) > -1, 1.0, -1.0), torch.where(torch.randn(2, 5000) > -1, 1.0, -1.0)
    with torch.no_grad():
        conv.weight[0], linear.weight[0] = 1.0, 1.0
    expected = conv(x), linear(vector)
    assert bool((expected[0] > 256).any()) and torch.equal(expected[0], expected[0].round())
    for kind in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.nn.functional.linear(vector, vector).dtype == torch.bfloat16
            found = conv(x.to(kind)), linear(vector.to(kind))
            offsets = nn.DySign(512).hyper(x)
        assert all(a.dtype == torch.float32 and torch.equal(a, b) for a, b in zip(found, expected))
        assert offsets.dtype == torch.float32
        assert torch.autograd.grad(found[0].sum(), conv.weight)[0].dtype == torch.float32


def test_real_weights_leave_no_parameter_without_a_gradient() -> None:
    layer = nn.BinaryConv2d(4, 6, 3, scale="learned")
    nn.set_stage(layer, "binary_activations")
    x = nn.Sign()(torch.randn(2, 4, 5, 5))
    y = layer(x)
    assert torch.equal(y, torch.nn.functional.conv2d(x, layer.weight))
    y.sum().backward()
    assert layer.scale is not None and layer.scale.grad is not None and float(layer.scale.grad.abs().max()) == 0


def test_the_gradients_are_those_of_the_float_network() -> None:
    torch.manual_seed(0)
    block = torch.nn.Sequential(
        nn.DySign(6, statistics="mean_std", precision="f32", estimator=nn.Ede(1.5, 0.8)),
        nn.BinaryConv2d(6, 4, 3, padding=1, groups=2),
        nn.ChannelShuffle(2),
        nn.DyPReLU(4, slope="both", statistics="mean_third", precision="f32"),
        nn.RSign(4),
    ).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    nn.set_stage(block, "float")
    x = 0.3 * torch.randn(2, 6, 3, 3).double()
    assert torch.autograd.gradcheck(block, (x.requires_grad_(),))
    assert len(block(x).unique()) > 20
    nn.set_stage(block, "binary_activations")
    assert block(x).unique().tolist() == [-1.0, 1.0]


def block(scale: str) -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        nn.DySign(16),
        nn.BinaryConv2d(16, 16, 3, padding=1, pad="one", scale=scale),
        torch.nn.BatchNorm2d(16),
        nn.ChannelShuffle(4),
        nn.DyPReLU(16, slope="both"),
        nn.RSign(16),
        nn.BinaryConv2d(16, 4, 1),
        nn.FPReLU(4, shifts=True),
        torch.nn.Flatten(),
        nn.Sign(),
        nn.BinaryLinear(4 * 36, 3, scale=scale),
    )


@needs_compile
@pytest.mark.parametrize("scale", nn.SCALES)
def test_compile_sees_the_whole_graph(scale: str) -> None:
    compare_compiled(block(scale), torch.randn(2, 16, 6, 6), backend="aot_eager")


@needs_compile
@pytest.mark.nightly
@pytest.mark.parametrize("scale", nn.SCALES)
def test_inductor_gives_the_same(scale: str) -> None:
    compare_compiled(block(scale), torch.randn(2, 16, 6, 6), backend="inductor")


def compare_compiled(module: Any, x: Any, **options: Any) -> None:
    """Values and gradients of a compiled module, and how often it is compiled."""
    import torch._dynamo as dynamo

    dynamo.reset()
    twin = copy.deepcopy(module)
    compiled = torch.compile(module, fullgraph=True, **options)
    for stage in ("binary_activations", "binary"):
        counters = dynamo.utils.counters["stats"]
        before = counters["unique_graphs"]
        for either in (module, twin):
            nn.set_stage(either, stage)
        for _ in range(3):
            for either in (module, twin):
                either.zero_grad()
            found, expected = compiled(x), twin(x)
            found.square().sum().backward()
            expected.square().sum().backward()
            assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
            for a, b in zip(module.parameters(), twin.parameters()):
                assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-4 * (1 + float(b.grad.abs().max())))
        assert counters["unique_graphs"] - before == 1, "one compilation for each stage"
