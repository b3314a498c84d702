"""Reads packed networks (docs/format.md): the nodes, and their parameters as numpy arrays."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

TYPES = {"U64": "<u8", "F32": "<f4", "I8": "i1"}


class Network:
    """`nodes` in evaluation order, each with `name`, `op`, `inputs` (names of nodes) and the fields of its op."""

    def __init__(self, path):
        content = Path(path).read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        self._tensors = json.loads(content[8:start])
        self._data = content[start:]
        graph = json.loads(self._tensors.pop("__metadata__")["graph"])
        self.arch = graph["arch"]
        self.nodes = [_node(node) for node in graph["nodes"]]

    def floats(self, node, suffix):
        """The parameter of a node as stored."""
        tensor = self._tensors[f"{node.name}.{suffix}"]
        first, end = tensor["data_offsets"]
        return np.frombuffer(self._data[first:end], TYPES[tensor["dtype"]]).reshape(tensor["shape"])

    def bits(self, node, shape):
        """The weights of a binary convolution or layer, 0 and 1, with the inputs innermost."""
        words = self.floats(node, "weight")
        bits = np.unpackbits(words.view(np.uint8), axis=-1, bitorder="little")
        # Words start anew at each tap in version 1, at each output in version 2.
        used = shape[-1] if words.ndim == 4 else int(np.prod(shape[1:]))
        return bits[..., :used].reshape(shape)


def _node(node):
    op = node["op"]
    kind, fields = (op, {}) if isinstance(op, str) else next(iter(op.items()))
    fields = fields | fields.pop("geometry", {})
    return SimpleNamespace(name=node["name"], op=kind, inputs=node["inputs"], **fields)
