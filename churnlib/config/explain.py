"""Options of ``explain``, with their values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from churnlib.config.checks import check_choice, check_local, check_range
from churnlib.config.commands import ScoreConfig


@dataclass(kw_only=True)
class ReasonsConfig:
    """How reasons are worded; :class:`churnlib.explanation.wording.Wording` is one that speaks."""

    template: str = "{label}: {value} {direction} (odds × {odds})"
    """For all texts, with label, value, direction, odds, effect and outcome in braces."""
    raises: str = "raises the risk"
    """Words for an effect above 0,"""
    lowers: str = "lowers the risk"
    """and below."""
    missing: str = "unknown"
    """Stands for a missing value."""
    yes: str = "yes"
    """Stands for true,"""
    no: str = "no"
    """and for false."""
    merge: str = "found"
    """Columns that share a reason: found (those that nearly say the same, and the groups), declared (groups), none."""
    groups: dict[str, list[str]] = field(default_factory=dict)
    """Columns that share a reason, by its label."""
    min_effect: float = 0.1
    """Smallest effect that is a reason, in log-odds."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Label, template, code, actionable and values of columns, and of groups by their label."""

    def __post_init__(self) -> None:
        check_choice("reasons.merge", self.merge, ("found", "declared", "none"))
        check_range("reasons.min_effect", self.min_effect, low=0)


@dataclass(kw_only=True)
class ExplainConfig(ScoreConfig):
    """``scripts/explain.py``: a table in, probabilities and their reasons out."""

    batch_rows: int = 2_048
    """Rows explained at a time."""
    backend: str = "auto"
    """What answers; gradients are those of the model as it was trained."""
    top: int = 3
    """Reasons of each customer at most."""
    method: str = "auto"
    """gradients, shapley, exact, linear (a local line, as of LIME), or auto."""
    samples: int | None = None
    """Gradients per customer, 100 when left out, 1,000 for a TabNet; rows of a local line, 200 when left out."""
    pairs: int = 25
    """Orders of the columns per customer, each forth and back, where there are no gradients."""
    background: str | None = None
    """CSV or Parquet file of customers that effects are measured against; those of the bundle when left out."""
    target: str | None = None
    """Of more than two classes the one to explain."""
    seed: int = 0
    """Of gradients and orders."""
    reasons: ReasonsConfig = field(default_factory=ReasonsConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("method", self.method, ("auto", "gradients", "shapley", "exact", "linear"))
        for name in ("top", "pairs"):
            check_range(name, getattr(self, name), low=1)
        if self.samples is not None:
            check_range("samples", self.samples, low=1)
        check_range("seed", self.seed, low=0)


@dataclass(kw_only=True)
class OverallOptions:
    """How much of what a model goes by on the whole is computed."""

    rows: int = 2_000
    """Customers at most, spread evenly over all."""
    explained: int = 256
    """Of these, customers whose effects are computed."""
    paired: int = 512
    """Of these, customers that are compared with another one for the interactions."""
    repeats: int = 5
    """How often the cells of a column are dealt anew."""
    replicates: int = 200
    """Resampled sets of customers behind the intervals."""
    depth: int = 3
    """Questions of the surrogate tree down to a leaf at most."""
    curves: int = 30
    """Columns that have a curve: those that move the log-odds most."""
    permuted: int | None = None
    """Columns whose cells are dealt anew: those that move the log-odds most; null for all."""
    reseeded: int = 64
    """Of these, customers whose effects are computed again, from other draws and by each member of an ensemble, to see
    how alike they are; 0 for none."""


@dataclass(kw_only=True)
class ExplainModelConfig(OverallOptions):
    """``churnlib explain-model``: what a finished run's model goes by on the whole."""

    run: str = "outputs/latest"
    """Folder of a finished run."""
    output: str | None = None
    """Folder to write to; ``explanation`` in that of the run when left out."""
    top: int = 10
    """Columns on the terminal."""
    method: str = "auto"
    """How effects are computed: gradients, shapley, exact, or auto."""
    samples: int | None = None
    """Gradients per customer, 100 when left out, 1,000 for a TabNet."""
    pairs: int = 25
    """Orders of the columns per customer, each forth and back, where there are no gradients."""
    target: str | None = None
    """Of more than two classes the one to explain."""
    seed: int = 0
    """Of everything that is drawn."""
    backend: str = "auto"
    """What answers; gradients are those of the model as it was trained."""
    trust: list[str] = field(default_factory=list)
    """Packages of your own whose networks a bundle may name."""
    reasons: ReasonsConfig = field(default_factory=ReasonsConfig)
    """Groups of columns that count as one."""

    def __post_init__(self) -> None:
        check_local("output", self.output)
        check_choice("method", self.method, ("auto", "gradients", "shapley", "exact"))
        check_choice("backend", self.backend, ("auto", "torch", "onnx"))
        for name in ("explained", "paired", "repeats", "top", "pairs", "samples", "permuted"):
            check_range(name, getattr(self, name), low=1)
        for name in ("curves", "reseeded"):
            check_range(name, getattr(self, name), low=0)
        check_range("rows", self.rows, low=2)
        check_range("replicates", self.replicates, low=20)
        check_range("depth", self.depth, low=1, high=6)
        check_range("seed", self.seed, low=0)


__all__ = ["ExplainConfig", "ExplainModelConfig", "ReasonsConfig"]
