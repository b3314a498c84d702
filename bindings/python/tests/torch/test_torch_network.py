"""Networks: against PyTorch's own numbers, and as modules like any other."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from common import close, fixture, images, randomised, torch

import onebit
import onebit.torch as ob

SMALL: dict[str, Any] = {"classes": 3, "input": (3, 12, 10), "widths": [16, 32], "blocks": [1, 1]}
METHODS = ("bireal", "reactnet", "ftbnn", "dybnn")


def small(method: str = "dybnn", **options: Any) -> onebit.Graph:
    return onebit.graph("resnet-small", method=method, **{**SMALL, **options})


def fixture_graph(metadata: dict[str, str]) -> onebit.Graph:
    """The network of scripts/fixtures/net.py."""
    nodes: list[dict[str, Any]] = []

    def add(name: str, op: Any, *inputs: str) -> str:
        nodes.append({"name": name, "op": op, **({"inputs": list(inputs)} if inputs else {})})
        return name

    def geometry(out: int, kernel: int, stride: int = 1) -> dict[str, int]:
        return {"out_channels": out, "kernel": kernel, "stride": stride, "padding": kernel // 2, "groups": 1}

    def hyper(name: str, x: str, outputs: int, limit: str) -> list[str]:
        trunk = {"statistics": "mean", "hidden": 8, "precision": "f32"}
        add(f"{name}.trunk", {"hyper_trunk": trunk}, x)
        head = {"outputs": outputs, "range": {"sigmoid": {"lambda": float(metadata[limit])}}, "precision": "f32"}
        return [add(name, {"hyper_head": head}, f"{name}.trunk")]

    x = add("input", {"input": {"channels": 3, "height": 8, "width": 8}})
    x = add("stem.conv", {"conv": {"geometry": geometry(8, 3)}}, x)
    x = add("stem.bn", {"batch_norm": {"eps": 1e-5}}, x)
    for i, (channels, out, stride) in enumerate([(8, 8, 1), (8, 16, 2), (16, 16, 1)]):
        block, dynamic = f"blocks.{i}", metadata["sign"] == "dynamic"
        offsets = hyper(f"{block}.sign.hyper", x, channels, "lambda_threshold") if dynamic else []
        y = add(f"{block}.sign", {"sign": {"threshold": metadata["sign"]}}, x, *offsets)
        kind = {"geometry": geometry(out, 3, stride), "pad": "zero", "scale": "l1_detached"}
        y = add(f"{block}.conv", {"conv_bin": kind}, y)
        y = add(f"{block}.bn", {"batch_norm": {"eps": 1e-5}}, y)
        if stride == 2:
            x = add(f"{block}.shortcut.pool", {"avg_pool": {"kernel": 2, "stride": 2}}, x)
            x = add(f"{block}.shortcut.conv", {"conv": {"geometry": geometry(out, 1)}}, x)
            x = add(f"{block}.shortcut.bn", {"batch_norm": {"eps": 1e-5}}, x)
        x = add(f"{block}.add", "add", y, x)
        if metadata["slope"] != "none":
            slope = {"prelu": "negative", "fprelu": "both"}[metadata["slope"]]
            offsets = hyper(f"{block}.act.hyper", x, 2 * out, "lambda_shift") if metadata["shift"] == "dynamic" else []
            x = add(f"{block}.act", {"prelu": {"slope": slope, "shift": metadata["shift"]}}, x, *offsets)
    x = add("pool", "global_avg_pool", x)
    add("fc", {"linear": {"out_features": 4}}, x)
    normalization = {"mean": [0.0] * 3, "std": [1.0] * 3}
    graph = {"arch": "fixture", "normalization": normalization, "classes": list("abcd"), "nodes": nodes}
    return onebit.Graph.from_json(json.dumps(graph))


def fixture_name(name: str) -> str:
    """What the fixtures call a parameter."""
    for ours, theirs in (
        ("hyper.trunk.weight", "hyper.w1"),
        ("hyper.trunk.bias", "hyper.b1"),
        ("hyper.weight", "hyper.w2"),
        ("hyper.bias", "hyper.b2"),
    ):
        name = name.replace(ours, theirs)
    return name


@pytest.mark.parametrize("variant", METHODS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 3e-7), (torch.float32, 5e-5)])
def test_a_step_is_pytorchs_own(variant: str, dtype: Any, tolerance: float) -> None:
    metadata, tensors = fixture(f"net/net_{variant}")
    net = ob.Network(fixture_graph(metadata)).to(dtype)
    state = {}
    for name in net.state_dict():
        known = fixture_name(name)
        value = tensors.get(f"param.{known}", tensors.get(f"buffer.{known}"))
        if value is not None:
            state[name] = value
    net.load_state_dict(state)
    x = tensors["x"].to(dtype).requires_grad_()
    logits = net(x)
    smoothing = float(metadata["label_smoothing"])
    loss = torch.nn.functional.cross_entropy(logits, tensors["labels"].long(), label_smoothing=smoothing)
    loss.backward()
    close(logits.detach(), tensors["logits"], tolerance, "logits")
    close(loss.detach()[None], tensors["loss"], tolerance, "loss")
    close(x.grad, tensors["gx"], tolerance, "gx")
    for name, parameter in net.named_parameters():
        close(parameter.grad, tensors[f"grad.{fixture_name(name)}"], tolerance, name)
    for name, buffer in net.named_buffers():
        if not name.endswith("num_batches_tracked"):
            close(buffer, tensors[f"buffer_after.{name}"], tolerance, name)
    net.eval()
    with torch.no_grad():
        close(net(x), tensors["logits_eval"], tolerance, "logits_eval")
    if dtype == torch.float32:
        logits, signs = ob.observe(net, tensors["x"].float())
        for name, found in signs.items():
            threshold = tensors[f"sign_threshold_eval.{name}"]
            threshold = threshold.reshape(*(threshold.shape if threshold.dim() == 2 else (1, -1)), 1, 1)
            assert torch.equal(found, tensors[f"sign_input_eval.{name}"] > threshold)
        assert len(signs) == 3 and found.dtype == torch.bool


@pytest.mark.parametrize("method", METHODS)
def test_names_and_shapes_are_those_of_our_files(method: str) -> None:
    net = ob.Network(small(method))
    expected = {f"{node.name}.{param.suffix}": param.shape for node in net.graph.nodes for param in node.params}
    found = {name: tuple(value.shape) for name, value in net.state_dict().items() if "num_batches" not in name}
    assert found == expected and net.tensors().keys() == expected.keys()
    kinds = {type(module) for module in net.modules()}
    assert {torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.Linear} <= kinds
    assert net(images(net)).shape == (4, 3)
    assert net.eval()(torch.zeros(2, 3, 20, 24)).shape == (2, 3) and net(torch.zeros(0, 3, 12, 10)).shape == (0, 3)


def test_initial_values_are_distributed_as_the_trainers() -> None:
    net = ob.Network(onebit.graph("resnet-small", method="dybnn", weight_scale="learned", nonlinearity="frprelu"))
    for node in net.graph.nodes:
        for param in node.params:
            values = net.state_dict()[f"{node.name}.{param.suffix}"]
            bound = max(1, values[0].numel()) ** -0.5
            if param.suffix == "weight" and node.op in ("conv", "conv_bin", "linear", "hyper_trunk"):
                bound *= 6**0.5 if node.op == "hyper_trunk" else 1
                assert 0.8 * bound < float(values.abs().max()) <= bound * (1 + 1e-6)
                assert abs(float(values.mean())) < bound * 4 / values.numel() ** 0.5
                continue
            if param.suffix == "scale":
                kernel = net.state_dict()[f"{node.name}.weight"]
                expected = kernel[0].numel() ** -0.5
            elif (node.op, param.suffix) in (("batch_norm", "weight"), ("batch_norm", "running_var"), ("prelu", "slope_pos")):
                expected = 1.0
            else:
                expected = 0.25 if param.suffix == "slope_neg" else 0.0
            assert torch.allclose(values, torch.tensor(expected), rtol=1e-6, atol=0), f"{node.name}.{param.suffix}"


def test_batch_normalization_has_the_eps_of_the_graph(tmp_path: Path) -> None:
    text = small("reactnet").to_json().replace('"batch_norm"', '{"batch_norm":{"eps":0.001}}')
    net = randomised(ob.Network(onebit.Graph.from_json(text)))
    assert [m.eps for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)] == pytest.approx([1e-3] * 4)
    assert onebit.pack(net, tmp_path / "n.onebit", verify=images(net, 8)).images == 8


def test_a_dybnn_begins_as_the_reactnet_bit_for_bit() -> None:
    dynamic, static = ob.Network(small("dybnn")), ob.Network(small("reactnet"))
    randomised(static)
    state = {**dynamic.state_dict(), **static.state_dict()}
    dynamic.load_state_dict(state)
    x = images(static, 8)
    for training in (True, False):
        assert torch.equal(dynamic.train(training)(x), static.train(training)(x))


def test_the_generator_decides_the_weights() -> None:
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(ob.Network(small()))
    same, other = (
        all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[i].parameters())) for i in (1, 2)
    )
    assert same and not other


def copies(net: Any) -> Iterator[tuple[str, Any]]:
    yield "deepcopy", copy.deepcopy(net)
    yield "pickle", pickle.loads(pickle.dumps(net))
    yield "DataParallel's state", load_into(net, torch.nn.DataParallel(net).state_dict())
    yield "compiled state", load_into(net, {f"_orig_mod.module.{k}": v for k, v in net.state_dict().items()})
    averaged = torch.optim.swa_utils.AveragedModel(net)
    averaged.update_parameters(net)
    yield "average", averaged.module
    yield "SyncBatchNorm", torch.nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(net))


def saved(net: Any, folder: Path) -> Path:
    ob.save(net, folder / "w.safetensors")
    return folder / "w.safetensors"


def load_into(net: Any, state: dict[str, Any]) -> Any:
    other = ob.Network(net.graph)
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    return other


@pytest.mark.parametrize("method", METHODS)
def test_copies_compute_the_same(method: str) -> None:
    net = randomised(ob.Network(small(method, weight_scale="learned"))).eval()
    x = images(net)
    expected = net(x)
    for what, other in copies(net):
        # Before torch 2 it refuses to run on a CPU.
        if what != "SyncBatchNorm" or torch.__version__ >= "2":
            assert torch.equal(other.eval()(x), expected), what
        assert other.state_dict().keys() == net.state_dict().keys(), what
        assert other.graph == net.graph
    last = copy.deepcopy(net).to(memory_format=torch.channels_last)
    found = last(x.to(memory_format=torch.channels_last))
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert all((last.tensors()[name] == values).all() for name, values in net.tensors().items())


def test_training_in_channels_last_gives_the_same_gradients() -> None:
    net = randomised(ob.Network(small("reactnet", groups=2)))
    last = copy.deepcopy(net).to(memory_format=torch.channels_last)
    x = images(net, 8)
    net(x).square().sum().backward()
    last(x.to(memory_format=torch.channels_last)).square().sum().backward()
    for (name, a), b in zip(net.named_parameters(), last.parameters()):
        close(b.grad, a.grad, 1e-4, name)


def test_autocast_trains_with_exact_sums() -> None:
    net = randomised(ob.Network(small()))
    sums = []
    conv = next(module for module in net.modules() if isinstance(module, ob.nn.BinaryConv2d))
    conv.register_forward_hook(lambda module, given, y: sums.append(y / module.weight.abs().mean((1, 2, 3))[:, None, None]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(images(net))
        loss = torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 0]))
    loss.backward()
    assert sums[0].dtype == torch.float32 and torch.allclose(sums[0], sums[0].round(), atol=1e-4)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 and bool(p.grad.isfinite().all()) for p in net.parameters())


@pytest.mark.parametrize("stage", ["float", "binary_activations", "binary"])
def test_every_parameter_has_a_gradient_in_every_stage(stage: str) -> None:
    for scale in ob.nn.SCALES:
        net = randomised(ob.Network(small(weight_scale=scale)))
        net.set_stage(stage)
        loss: Any = ob.distillation(net(images(net)), torch.randn(4, 3))
        loss.backward()
        assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_stages_of_a_network() -> None:
    net = randomised(ob.Network(small("reactnet")))
    outputs: dict[str, list[Any]] = {}
    stage = ""
    for module in net.modules():
        if isinstance(module, (ob.nn.RSign, ob.nn.BinaryConv2d)):
            module.register_forward_hook(lambda m, given, y: outputs.setdefault(stage, []).append(y.detach()))
    signs = {}
    for stage in ob.nn.STAGES:
        net.set_stage(stage)
        net(images(net))
        signs[stage] = [set(torch.unique(y).tolist()) == {-1.0, 1.0} for y in outputs[stage][::2]]
    assert all(signs["binary"]) and all(signs["binary_activations"]) and not any(signs["float"])
    assert not torch.equal(outputs["binary"][1], outputs["binary_activations"][1])
    assert torch.equal(outputs["binary"][0], outputs["binary_activations"][0])


def test_what_is_decayed() -> None:
    """As the tests of crates/onebit-train/src/stages.rs."""
    net = ob.Network(small("dybnn", nonlinearity="frprelu", weight_scale="learned"))
    of = {id(parameter): name for name, parameter in net.named_parameters()}
    binary = {f"{node.name}.weight" for node in net.graph.nodes if node.op == "conv_bin"}
    real = {f"{node.name}.weight" for node in net.graph.nodes if node.op == "conv"}
    shifts = {name for name in of.values() if name.rsplit(".")[-1] in ("threshold", "shift_x", "shift_y")}
    assert binary and real and shifts

    def decayed(on: str) -> set[str]:
        groups = ob.param_groups(net, 1e-5, on=on)
        assert [group["weight_decay"] for group in groups] == [1e-5, 0.0]
        named = [{of[id(parameter)] for parameter in group["params"]} for group in groups]
        assert named[0] | named[1] == set(of.values()) and not named[0] & named[1]
        torch.optim.Adam(groups, lr=1e-3)
        return named[0]

    net.set_stage("binary_activations")
    assert decayed("convolutions") == binary | real and decayed("reactnet") == binary | real | shifts
    net.set_stage("binary")
    assert decayed("convolutions") == real and decayed("reactnet") == real | shifts
    assert [len(group["params"]) for group in ob.param_groups(torch.nn.DataParallel(net), 0)] == [len(real), len(of) - len(real)]


def test_training_agrees_with_evaluation_after_some_steps() -> None:
    torch.manual_seed(0)
    net = ob.Network(small("reactnet"), activation=ob.nn.Clip(1.5), weight=ob.nn.Identity())
    optimizer = torch.optim.Adam(ob.param_groups(net, 1e-5, on="reactnet"), lr=1e-2)
    x, labels = torch.randn(48, 3, 12, 10), torch.arange(48) % 3
    x += labels[:, None, None, None]
    losses = []
    for stage in ("binary_activations", "binary"):
        net.set_stage(stage)
        for _ in range(30):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(x), labels)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    accuracy = (net.eval()(x).argmax(1) == labels).float().mean()
    assert float(accuracy) > 0.95


def test_any_name_of_a_node_will_do() -> None:
    graph = json.loads(small("reactnet").to_json())
    text = json.dumps(graph)
    for old, new in (
        ("stem.conv", "type"),
        ("stem.bn", "type.weight"),
        ("stage1.0.sign", "_modules.0"),
        ("stage1.0.conv", "_steps"),
        ("stage1.0.bn", "graph"),
        ("stage1.0.add", "a..b"),
        ("stage1.0.prelu", "forward"),
        ("fc", "module.fc"),
    ):
        text = text.replace(f'"{old}"', f'"{new}"')
    net = randomised(ob.Network(onebit.Graph.from_json(text))).eval()
    names = [f"{node.name}.{param.suffix}" for node in net.graph.nodes for param in node.params]
    assert set(names) == net.tensors().keys() and isinstance(net.graph, onebit.Graph)
    x = images(net)
    with pytest.raises(ValueError, match="`training.fc` has the name of an attribute"):
        ob.Network(onebit.Graph.from_json(text.replace("module.fc", "training.fc")))
    for other in (copy.deepcopy(net), load_into(net, torch.nn.DataParallel(net).state_dict()).eval()):
        assert torch.equal(other(x), net(x))


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
@pytest.mark.parametrize("method", METHODS)
def test_distributed_training_waits_for_no_parameter(method: str, tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        net = randomised(ob.Network(small(method, weight_scale="learned")))
        for stage in ("binary_activations", "binary"):
            net.set_stage(stage)
            wrapped = torch.nn.parallel.DistributedDataParallel(net)
            for _ in range(2):
                wrapped(images(net)).sum().backward()
        state = wrapped.state_dict()
        assert all(name.startswith("module.") for name in state)
        ob.save(wrapped, tmp_path / "w.safetensors")
        ob.load(wrapped, tmp_path / "w.safetensors")
        load_into(net, state)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.skipif(not hasattr(torch, "compile"), reason=f"torch {torch.__version__} has no torch.compile")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.nightly)])
def test_compile_sees_the_whole_network(backend: str, tmp_path: Path) -> None:
    from test_torch_straight_through import compare_compiled

    compare_compiled(randomised(ob.Network(small("dybnn"))), torch.randn(8, 3, 12, 10), backend=backend)
    net = randomised(ob.Network(small("reactnet")))
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    ob.load(compiled, saved(net, tmp_path))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = compiled(images(net)), net(images(net))
    assert torch.allclose(found, expected, rtol=0.1, atol=0.1)
    load_into(net, compiled.state_dict())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda net: net(torch.zeros(1, 12, 10, 3)), ValueError, "shape [1, 12, 10, 3], expected [N, 3, H, W]"),
        (lambda net: net(torch.zeros(3, 12, 10)), ValueError, "shape [3, 12, 10], expected [N, 3, H, W]"),
        (lambda net: net(torch.zeros(1, 3, 12, 10).byte()), TypeError, "are torch.uint8, expected torch.float32"),
        (lambda net: net(torch.zeros(1, 3, 12, 10).double()), TypeError, "are torch.float64, expected torch.float32"),
        (lambda net: net(torch.zeros(1, 3, 12, 10).numpy()), TypeError, "of type ndarray, expected torch.Tensor"),
        (lambda net: net.set_stage("real_weights"), ValueError, "the stage is 'real_weights', expected one of"),
        (lambda net: type(net)("resnet-small"), TypeError, "the graph is of type str, expected onebit.Graph"),
        (lambda net: ob.observe(net, torch.zeros(1, 3, 12, 10).double()), TypeError, "torch.float64, expected torch.float32"),
        (lambda net: ob.observe(torch.nn.ReLU(), 1), TypeError, "of type ReLU, expected onebit.torch.Network"),
        (lambda net: ob.save(net.double(), "/nowhere/w"), TypeError, "torch.float64, expected torch.float32"),
    ],
)
def test_bad_input(call: Any, error: Any, words: str) -> None:
    with pytest.raises(error) as raised:
        call(ob.Network(small()))
    assert type(raised.value) is error and words in str(raised.value) and "\n" not in str(raised.value)


def test_a_graph_of_a_packed_file_cannot_be_trained(tmp_path: Any) -> None:
    onebit.pack(ob.Network(small()), tmp_path / "n.onebit")
    with pytest.raises(ValueError, match=r"`\S+` is of the kind affine, which only packed files have: it cannot be trained"):
        ob.Network(onebit.load(tmp_path / "n.onebit").graph)
