"""What packing needs of a module: its graph, its weights, and what it computes, for comparison."""

from __future__ import annotations

import copy
from typing import Any, Dict, Iterator, Tuple, Union

import numpy as np
import torch
from torch import Tensor, nn

from onebit import Graph

from .hyper import without_autocast
from .network import Network
from .nn import _BinaryWeights, _Threshold
from .tracing import Traced
from .weights import unwrapped

# Images that are observed at once.
_BATCH = 32


class Packable:
    """A network as it is now, on the CPU and evaluating: there its sums are exact and nothing is rounded to TF32."""

    def __init__(self, network: Network) -> None:
        for name, layer in network.named_modules():
            if isinstance(layer, (_BinaryWeights, _Threshold)) and layer.stage != "binary":
                raise ValueError(
                    f'`{name}` is in the stage {layer.stage!r}: a packed network is binary, `net.set_stage("binary")`'
                )
        self._network = copy.deepcopy(network).cpu().eval()

    @property
    def graph(self) -> Graph:
        return self._network.graph

    def tensors(self) -> Dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
        """As :meth:`Network.tensors`."""
        return self._network.tensors()

    def observe(self, images: Any) -> Tuple[Tensor, Dict[str, Tensor]]:
        """As :func:`observe`."""
        images = torch.tensor(images) if isinstance(images, np.ndarray) else torch.as_tensor(images).detach().cpu()
        if images.dtype != torch.float32:
            raise TypeError(f"the images are {images.dtype}, expected torch.float32 [N, C, H, W], normalised")
        signs: Dict[str, Tensor] = {}
        with torch.no_grad(), without_autocast(images):
            logits = self._network._run(images, signs)
        return logits, signs

    def observations(self, images: Any) -> Iterator[Tuple[Any, Any, Dict[str, Any]]]:
        """Images, logits and signs as arrays, some images at a time."""
        for start in range(0, len(images), _BATCH):
            part = images[start : start + _BATCH]
            logits, signs = self.observe(part)
            arrays = {name: values.numpy() for name, values in signs.items()}
            yield _array(part), logits.numpy(), arrays


def observe(net: nn.Module, images: Any) -> Tuple[Tensor, Dict[str, Tensor]]:
    """What a network computes on the CPU in float32, with its running statistics: the module itself stays as it is.

    Args:
        net: A :class:`Network`, or a wrapper of one, in the stage ``"binary"``.
        images: float32 [N, C, H, W], normalised: a tensor or an array.

    Returns:
        The logits [N, classes], and for each sign node whether it gives +1: bool [N, C, H, W].
    """
    return Packable(unwrapped(net)).observe(images)


def packable(module: nn.Module, **options: Any) -> Union[Packable, Traced]:
    """What ``onebit.pack`` packs: a :class:`Network` or a wrapper of one, or a module that is traced with ``options``.

    Raises ValueError for a network that is in another stage than ``"binary"``, and what :func:`trace` raises.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"the module is of type {type(module).__name__}, expected torch.nn.Module")
    try:
        network = unwrapped(module)
    except TypeError:
        if "input" not in options:
            kind = type(module).__name__
            raise TypeError(f"{kind} is no Network and is traced: input=(channels, height, width) is needed") from None
        return Traced(module, **options)
    if options:
        raise TypeError(f"{', '.join(options)}: a Network has its own graph, where that stands")
    return Packable(network)


def _array(images: Any) -> Any:
    return images.detach().cpu().numpy() if isinstance(images, Tensor) else images
