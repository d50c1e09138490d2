"""The notebooks run from top to bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOKS = sorted(path.name for path in (Path(__file__).resolve().parents[1] / "notebooks").glob("*.py"))


def test_there_is_a_notebook():
    assert "01_from_table_to_model.py" in NOTEBOOKS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_from_top_to_bottom(checkout, tmp_path, monkeypatch, name):
    import jupytext
    from nbclient import NotebookClient

    # Its process gets this checkout, whatever else is installed, and a folder of its own to write into.
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    notebook = jupytext.read(checkout / "notebooks" / name)
    NotebookClient(notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
