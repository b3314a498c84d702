"""The code in the documents runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onebit
import pytest
from conftest import ROOT, packed


@pytest.mark.parametrize("page", ["docs/python.md", "bindings/python/README.md", "README.md"])
def test_every_block_runs_in_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the documents train in PyTorch")
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    graph = onebit.graph(
        "resnet-small", widths=[16, 32], blocks=[1, 1], **onebit.data.task("fashion-mnist-sample")
    )
    Path("clothes.onebit").write_bytes(packed(graph))
    image.fromarray(np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)).save("shoe.png")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    names: dict[str, Any] = {"__name__": page}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert names["report"].agree == names["report"].images > 0
