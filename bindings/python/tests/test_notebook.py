"""The notebook runs from its first cell to its last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT


def test_the_notebook_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the notebook trains in PyTorch")
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    path = ROOT / "bindings/python/examples/train_and_pack.ipynb"
    text = path.read_text(encoding="utf-8")
    assert "5, 10_000" in text
    assert all(not cell.get("outputs") for cell in json.loads(text)["cells"]), "outputs stay out of the repository"
    notebook = nbformat.reads(text.replace("5, 10_000", "2, 1_000"), as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    said = "".join(output.get("text", "") for output in outputs)
    assert len(pictures) == 3 and "of 500 images get the same class" in said, said
    assert (tmp_path / "clothes.onebit").exists()
