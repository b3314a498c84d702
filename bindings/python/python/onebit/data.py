"""The Rust trainer's data: published sets, folders of images, augmentation, in threads."""

from typing import Any, Dict, Optional, Tuple

from ._native import Batches, Graph
from ._native import batches as _batches
from ._native import task as _task

__all__ = ["Batches", "loader", "task"]


def task(spec: str, *, image_size: Optional[Tuple[int, int]] = None) -> Dict[str, Any]:
    """What data asks of a network, as keywords of ``onebit.graph``: ``classes``, ``input``, ``mean`` and ``std``.

    Args:
        spec: As for ``loader``; its training images are what is measured.
        image_size: Height and width to which the images of a folder are brought; needed unless all have one size.

    Raises:
        OSError: The data is not there; a set has to be fetched first.
        ValueError: It names nothing known.
    """
    return _task(spec, image_size)


def loader(
    spec: str,
    *,
    graph: Graph,
    batch: int,
    seed: int = 0,
    epoch: int = 0,
    augmentation: Optional[Dict[str, Any]] = None,
    shuffle: bool = True,
    rank: int = 0,
    world: int = 1,
    limit: Optional[int] = None,
) -> Batches:
    """Iterates over one epoch: pairs of float32 [N, C, H, W], normalised as ``graph`` says, and int64 [N], classes of ``graph``.

    They are the very batches of the Rust trainer with the same seed, epoch and augmentation (``{"crop_padding": 4,
    "horizontal_flip": True}``, as in a recipe), decoded ahead by threads. It ends with the epoch: for the next, call again.

    Args:
        spec: ``fashion-mnist-sample``, a fetched set such as ``cifar10``, ``folder:PATH``, ``cifar:PATH`` or ``idx:PATH``, with
            ``:train`` or ``:test`` behind it; ``:test`` where it says neither.
        batch: Images of a batch, of all processes together.
        shuffle: Draw an order for the epoch and leave out the last batch if it is not full, as in training.
        rank, world: Which of how many processes this is: each gets its even part of every batch.
        limit: Keep so many images, spread evenly over the set.

    Raises:
        OSError: The data is not there; a set has to be fetched first.
        ValueError: Images or classes of another kind than the graph's, or a setting that cannot be.
    """
    return _batches(
        spec,
        graph,
        batch=batch,
        seed=seed,
        epoch=epoch,
        augmentation=augmentation,
        shuffle=shuffle,
        rank=rank,
        world=world,
        limit=limit,
    )
