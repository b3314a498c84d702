"""The native half: what `import onebit` shows of it is public."""

import os
from typing import Any, Iterable, Iterator, Literal, Optional, Sequence, Tuple, Union, final

import numpy as np
import numpy.typing as npt

_Path = Union[str, os.PathLike[str]]
_Origin = dict[str, str]
_Classes = Union[int, Iterable[str]]
_Input = Union[Tuple[int, int, int], Sequence[int]]
_Floats = npt.NDArray[np.float32]

__all__ = [
    "Batches",
    "DisagreementError",
    "FormatError",
    "Graph",
    "Model",
    "Node",
    "Packing",
    "Param",
    "Prediction",
    "__version__",
    "architectures",
    "batches",
    "graph",
    "import_checkpoint",
    "import_onnx",
    "inspect",
    "load",
    "pack_weights",
    "read_checkpoint",
    "read_weights",
    "task",
    "verify",
    "write_weights",
]

__version__: str

class FormatError(ValueError): ...
class DisagreementError(ValueError): ...

@final
class Param:
    @property
    def suffix(self) -> str: ...
    @property
    def shape(self) -> Tuple[int, ...]: ...
    @property
    def role(self) -> Literal["float", "binary", "int8", "statistic"]: ...

@final
class Node:
    @property
    def name(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def options(self) -> dict[str, Any]: ...
    @property
    def inputs(self) -> list[str]: ...
    @property
    def shape(self) -> Tuple[int, int, int]: ...
    @property
    def params(self) -> list[Param]: ...

@final
class Graph:
    @property
    def arch(self) -> str: ...
    @property
    def input_shape(self) -> Tuple[int, int, int]: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def mean(self) -> list[float]: ...
    @property
    def std(self) -> list[float]: ...
    @property
    def nodes(self) -> list[Node]: ...
    def to_json(self) -> str: ...
    @classmethod
    def from_json(cls, text: str) -> Graph: ...
    def summary(self) -> dict[str, Any]: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> Tuple[Any, Tuple[str]]: ...

@final
class Prediction:
    @property
    def index(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def probability(self) -> float: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    __hash__: None  # type: ignore[assignment]

@final
class Model:
    @property
    def input_shape(self) -> Tuple[int, int, int]: ...
    @property
    def classes(self) -> list[str]: ...
    @property
    def arch(self) -> str: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def mean(self) -> list[float]: ...
    @property
    def std(self) -> list[float]: ...
    @property
    def graph(self) -> Graph: ...
    def run(self, images: npt.ArrayLike) -> _Floats: ...
    def logits(self, images: Union[npt.NDArray[np.uint8], Iterable[Any]]) -> _Floats: ...
    def predict(
        self, images: Union[npt.NDArray[np.uint8], Iterable[Any]], top: int = 5
    ) -> list[list[Prediction]]: ...
    def features(
        self, images: Union[npt.NDArray[Any], Iterable[Any]], node: Optional[str] = None
    ) -> _Floats: ...
    def to_bytes(self) -> bytes: ...
    def __reduce__(self) -> Tuple[Any, Tuple[bytes, int]]: ...

@final
class Packing:
    def __new__(
        cls, graph: Graph, tensors: dict[str, _Floats], *, origin: Optional[_Origin] = None
    ) -> Packing: ...
    @classmethod
    def described(
        cls, description: str, tensors: dict[str, npt.NDArray[Any]], *, origin: Optional[_Origin] = None
    ) -> Packing: ...
    def compare(
        self,
        images: npt.ArrayLike,
        logits: npt.ArrayLike,
        signs: dict[str, npt.NDArray[np.bool_]],
    ) -> None: ...
    def verdict(self) -> dict[str, Any]: ...
    def to_bytes(self) -> bytes: ...
    def write(self, path: _Path) -> int: ...

@final
class Batches:
    def __iter__(self) -> Iterator[Tuple[_Floats, npt.NDArray[np.int64]]]: ...
    def __next__(self) -> Tuple[_Floats, npt.NDArray[np.int64]]: ...
    def __len__(self) -> int: ...

def load(path_or_bytes: Union[_Path, bytes], *, threads: int = 1, isa: Optional[str] = None) -> Model: ...
def verify(path: _Path) -> dict[str, Any]: ...
def inspect(path: _Path) -> dict[str, Any]: ...
def architectures() -> list[str]: ...
def graph(
    arch: str,
    *,
    classes: Optional[_Classes] = None,
    input: Optional[_Input] = None,
    mean: Optional[Sequence[float]] = None,
    std: Optional[Sequence[float]] = None,
    **options: Any,
) -> Graph: ...
def import_checkpoint(
    path: _Path,
    *,
    arch: str,
    out: _Path,
    classes: Optional[_Classes] = None,
    input: Optional[_Input] = None,
    mean: Optional[Sequence[float]] = None,
    std: Optional[Sequence[float]] = None,
    origin: Optional[_Origin] = None,
    **options: Any,
) -> dict[str, Any]: ...
def import_onnx(
    path: _Path,
    out: _Path,
    *,
    input: Optional[_Input] = None,
    classes: Optional[_Classes] = None,
    mean: Optional[Sequence[float]] = None,
    std: Optional[Sequence[float]] = None,
    arch: Optional[str] = None,
    origin: Optional[_Origin] = None,
) -> dict[str, Any]: ...
def pack_weights(
    graph: Union[str, dict[str, Any], Graph],
    tensors: dict[str, npt.NDArray[Any]],
    out: _Path,
    *,
    expect: Optional[Tuple[npt.ArrayLike, npt.ArrayLike]] = None,
    tolerance: float = ...,
    classes: Optional[_Classes] = None,
    origin: Optional[_Origin] = None,
) -> dict[str, Any]: ...
def read_weights(path: _Path) -> Tuple[Graph, dict[str, _Floats]]: ...
def read_checkpoint(path: _Path, graph: Graph) -> dict[str, _Floats]: ...
def write_weights(graph: Graph, tensors: dict[str, Any], path: _Path) -> None: ...
def task(spec: str, image_size: Optional[Tuple[int, int]]) -> dict[str, Any]: ...
def batches(
    spec: str,
    graph: Graph,
    *,
    batch: int,
    seed: int,
    epoch: int,
    augmentation: Optional[dict[str, Any]],
    shuffle: bool,
    rank: int,
    world: int,
    limit: Optional[int],
) -> Batches: ...
