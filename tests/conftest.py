"""What several test files share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of this checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the public tables; tests that need it are skipped where it is not named."""
    folder = os.environ.get("CHURNLIB_DATA_DIR")
    if not folder:
        pytest.skip("CHURNLIB_DATA_DIR does not name a folder with the public tables")
    return Path(folder)


@pytest.fixture(autouse=True, scope="session")
def _few_answers_are_timed() -> Iterator[None]:
    """Every run asks its model for 65 single customers, to report how long that takes; no test looks at the figures."""
    from churnlib.training import inference

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inference, "N_ALONE", 5)
        yield


@pytest.fixture(autouse=True, scope="session")
def _reports_explain_few_customers() -> Iterator[None]:
    """Every run has a report, whose reasons take longer than all the rest of it; tests of these ask for them."""
    from churnlib.training import report_overall, report_parts

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report_parts, "LISTED", 6)
        patched.setattr(report_overall, "overall", lambda *_, **__: None)
        patched.setattr(report_parts, "SAMPLED", 6)
        yield


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
