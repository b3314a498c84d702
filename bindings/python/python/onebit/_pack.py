"""Packing PyTorch's modules, with the proof that the file computes the same."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Report:
    """What packing made and what was compared; None where nothing was."""

    bytes: int
    """Length of the file."""
    images: int | None = None
    """Images on which the module and the packed network were compared."""
    agree: int | None = None
    """How many of them both give the same class."""
    flipped_images: int | None = None
    """On how many a sign differs: values that lie on their thresholds but for rounding."""
    max_logit_difference: float | None = None
    """Largest difference of a logit on the others, in standard deviations of the logits."""


def pack(
    module: torch.nn.Module,
    path: str | os.PathLike[str],
    *,
    verify: Any = None,
    origin: dict[str, str] | None = None,
    **trace: Any,
) -> Report:
    """Packs a network into a .onebit file.

    Args:
        module: An ``onebit.torch.Network``, or a module of ``onebit.torch.nn`` and ordinary layers, which is traced.
        path: The file to write: the whole of it, or nothing.
        verify: Normalised images, float32 [N, C, H, W]: the file is only written if the engine gives the module's signs and
            logits for them.
        origin: Where the network comes from: ``licence``, ``source``, ``authors``, ``description``, ``metrics``.
        trace: For a module of your own what ``onebit.torch.trace`` takes: ``input``, ``classes``, ``mean``, ``std``.

    Raises:
        onebit.DisagreementError: The packed network computes something else; nothing is written.
        ValueError: The module cannot be expressed (everything at once, with places), or its values are not finite.
        ImportError: PyTorch is not installed.
    """
    from ._native import Packing
    from .torch.proof import packable
    from .torch.tracing import Traced

    if verify is not None and not hasattr(verify, "shape"):
        kind = type(verify).__name__
        raise TypeError(f"verify is of type {kind}, expected normalised images, float32 [N, C, H, W]")
    network = packable(module, **trace)
    if isinstance(network, Traced):
        packing = Packing.described(network.description, network.tensors(), origin=origin)
    else:
        packing = Packing(network.graph, network.tensors(), origin=origin)
    if verify is None:
        return Report(bytes=packing.write(path))
    for images, logits, signs in network.observations(verify):
        packing.compare(images, logits, signs)
    found = packing.verdict()
    return Report(
        bytes=packing.write(path),
        images=found["images"],
        agree=found["top1_agree"],
        flipped_images=found["flipped_images"],
        max_logit_difference=found["max_logit_difference"],
    )
