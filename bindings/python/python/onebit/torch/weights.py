"""Reading and writing trained weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Union

import torch
from torch import nn

from onebit import _native

from .network import Network, same_network, without_wrappers

_PathLike = Union[str, "os.PathLike[str]"]
_LONGEST_HEADER = 1 << 20


def load(net: nn.Module, path: _PathLike) -> None:
    """Reads weights into a :class:`Network`, all of them or none.

    Args:
        net: The network, or what DistributedDataParallel or ``torch.compile`` made of it.
        path: A run folder (its best weights), a checkpoint folder or a ``weights.safetensors``, of the Rust trainer or of
            :func:`save`; or a checkpoint of PyTorch (``.pth``, ``.pth.tar``, ``.safetensors``) with our names or those of the
            official code of Bi-Real Net and ReActNet. Nothing in a pickle is run.

    Raises:
        OSError, onebit.FormatError: Nothing there that can be read, or a checkpoint of another network.
        ValueError: Weights of another network.
    """
    network = unwrapped(net)
    if os.path.isdir(path) or _is_ours(path):
        graph, tensors = _native.read_weights(path)
        if not same_network(graph, network.graph):
            raise ValueError(f"{os.fspath(path)} has the weights of another network, {graph!r}: expected {network.graph!r}")
    else:
        tensors = _native.read_checkpoint(path, network.graph)
    network.load_state_dict({name: torch.from_numpy(values) for name, values in tensors.items()})


def save(net: nn.Module, path: _PathLike) -> None:
    """Writes a :class:`Network`'s weights as the Rust trainer writes its ``weights.safetensors``, byte for byte.

    Either the whole file is written or nothing.

    Raises:
        OSError: It cannot be written.
        TypeError: The weights are not float32.
        ValueError: They are not finite.
    """
    network = unwrapped(net)
    _native.write_weights(network.graph, network.tensors(), path)


def unwrapped(net: nn.Module) -> Network:
    """The network in what DistributedDataParallel, DataParallel and ``torch.compile`` make of it.

    Raises TypeError for any other module, also one that has a network inside.
    """
    inner = without_wrappers(net)
    if not isinstance(inner, Network):
        raise TypeError(f"the module is of type {type(net).__name__}, expected onebit.torch.Network")
    return inner


def _is_ours(path: _PathLike) -> bool:
    """Whether a file says that it is one of ours; a damaged one must not pass for a plain safetensors file."""
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, _LONGEST_HEADER))
    try:
        metadata = json.loads(header)["__metadata__"]
        return str(metadata["format"]).startswith("onebit")
    except (ValueError, KeyError, TypeError):
        return False
