"""Helpers of the tests of tracing: small modules, trained a little, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
from common import torch

import onebit
from onebit.torch.tracing import trace
from torch import nn
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


class Head(nn.Module):
    """Logits of a map of any size."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, 5)

    def forward(self, x: Any) -> Any:
        return self.fc(x.reshape(x.shape[0], self.fc.in_features, -1).mean(2))
