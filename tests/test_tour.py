"""Executes docs/tour.ipynb as Jupyter does."""

import re
from pathlib import Path

import pytest

TOUR = Path(__file__).parent.parent / "docs" / "tour.ipynb"
nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")


def test_the_tour_is_stored_without_outputs():
    notebook = nbformat.read(TOUR, 4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.timeout(1200)
# Of Jupyter's own, about its messages to the kernel.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
def test_the_tour_runs(tmp_path, monkeypatch):
    pytest.importorskip("ipykernel")
    from nbclient import NotebookClient

    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    notebook = nbformat.read(TOUR, 4)
    client = NotebookClient(
        notebook, timeout=1000, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    shown = [
        [output["data"]["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    printed = [output.text for cell in notebook.cells for output in cell.get("outputs", ()) if "text" in output]
    assert printed == []
    images, training, run, history, prediction, predictions, figures, comparison, _, exported = shown
    assert images[-1].count("<img") == 16
    assert len(training) == 1
    assert "test accuracy" in training[0]
    assert "95 % interval" in run[0]
    assert "val acc" in history[0]
    label = re.search(r"<b>(.+?)</b>", prediction[0])[1]
    assert label in ("hotdog", "not-hotdog")
    assert f"<b>{label}</b>" in exported[0]
    assert predictions[0].count("<tr") == 5
    assert "macro F1" in figures[-1]
    assert len(comparison) == 3  # one for each training, and the table
    assert "head=mlp" in comparison[-1]
    for html in (html for cell in shown for html in cell):
        assert "http" not in html
        assert "<script" not in html
    assert (tmp_path / "runs" / "efficientnet_lite0-linear-hotdog-cartoon-1" / "model.onnx").exists()
