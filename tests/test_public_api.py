"""What `import churnlib` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import churnlib

HEAVY = {"torch", "polars", "lightning", "hydra", "sklearn", "wandb", "litserve", "rich", "numpy"}


def imported(code: str) -> set[str]:
    """Names of the modules that a fresh Python has loaded after this code."""
    code = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_every_public_name_can_be_used():
    assert all(getattr(churnlib, name) is not None for name in churnlib.__all__)


def test_the_public_names_are_those_of_the_readme():
    assert churnlib.__all__ == [
        "__version__", "ChurnClassifier", "ChurnDataModule", "ChurnlibError", "ChurnModule", "doctor", "explain",
        "Explainer", "infer_schema", "load", "MLP", "plan", "Predictor", "report", "Schema", "scorecard", "simulate",
        "TabNet",
    ]  # fmt: skip
    assert dir(churnlib) == sorted(churnlib.__all__)


def test_other_names_are_unknown():
    with pytest.raises(AttributeError, match="module 'churnlib' has no attribute 'Predicter'"):
        churnlib.Predicter  # noqa: B018


def test_importing_churnlib_loads_nothing_heavy():
    assert not imported("import churnlib; churnlib.__all__; churnlib.ChurnlibError") & HEAVY


def test_the_commands_load_nothing_heavy_until_they_run():
    assert not imported("import churnlib.cli, churnlib.commands.train, churnlib.commands.score") & HEAVY


def test_the_configuration_knows_no_torch():
    loaded = imported("from churnlib.compose import compose; compose(['model=tabnet'])")
    assert "hydra" in loaded and not loaded & (HEAVY - {"hydra"})
