"""What a comparison of groups has found: figures, what sets the groups apart, and what equal treatment would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from churnlib.evaluation.fairness.figures import COMPARED, ERROR, FIGURES, Figure, spread
from churnlib.evaluation.probabilities import NoiseFloor

FOUR_FIFTHS = 0.8
"""Below this share of the other group's selection rate a selection counts as adverse in the practice of US employment
law (29 CFR 1607.4 D); a convention, not a threshold of fairness."""

LONG = {
    "column": pl.String(), "class": pl.String(), "group": pl.String(), "n": pl.Int64(), "against": pl.String(),
    "figure": pl.String(), "value": pl.Float64(), "low": pl.Float64(), "high": pl.Float64(),
    "difference": pl.Float64(), "difference_low": pl.Float64(), "difference_high": pl.Float64(),
    "ratio": pl.Float64(), "ratio_low": pl.Float64(), "ratio_high": pl.Float64(),
}  # fmt: skip
"""Columns of the table with a line for each figure of each group; ``class`` is null of two classes."""

NOISE_FLOOR = f"{ERROR}_noise_floor"
"""The figure's name for what the calibration error of exact probabilities would be: on average, and in 95 of 100 draws
at most."""


@dataclass(frozen=True, slots=True)
class GroupReport:
    """A group of customers.

    Attributes:
        label: Its name.
        n: Rows.
        positives: Churners among them.
        against: With whom it is compared: another group, or ``rest``; None for the one that others are compared with.
        figures: By name, see :data:`~churnlib.evaluation.fairness.figures.FIGURES`.
        differences: The figure minus that of ``against``.
        ratios: Rates divided by those of ``against``.
        noise_floor: What the calibration error would be if the probabilities were exactly true.
    """

    label: str
    n: int
    positives: int
    against: str | None
    figures: Mapping[str, Figure]
    noise_floor: NoiseFloor
    differences: Mapping[str, Figure] = field(default_factory=dict)
    ratios: Mapping[str, Figure] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        parts = {"figures": self.figures, "differences": self.differences, "ratios": self.ratios}
        told: dict[str, Any] = {
            key: {name: figure._asdict() for name, figure in part.items()} for key, part in parts.items()
        }
        told[NOISE_FLOOR] = self.noise_floor._asdict()
        return {"group": self.label, "n": self.n, "positives": self.positives, "against": self.against, **told}


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """The groups of one column, or of two that meet.

    Attributes:
        column: Its name.
        groups: That are large enough.
        merged: Values that make up the group "other".
        left_out: Values that are too rare to be told of.
        n_left_out: Their rows.
        equalised: What thresholds by group would do and cost, by what they make equal; nothing without held-out rows.
        read_by_model: Whether the model reads the column; None where nobody said.
        of_class: Of more than two classes the one that is taken against the rest.
    """

    column: str
    groups: tuple[GroupReport, ...]
    merged: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    n_left_out: int = 0
    equalised: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    read_by_model: bool | None = None
    of_class: str | None = None

    @property
    def title(self) -> str:
        """What the groups are of, in words."""
        return self.column if self.of_class is None else f"{self.column}, {self.of_class} or not"

    def spread(self, name: str) -> dict[str, Any]:
        """Return how far the groups lie apart in a figure; see :func:`churnlib.evaluation.fairness.figures.spread`."""
        return spread({group.label: group.figures for group in self.groups}, name)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "column": self.column,
            "class": self.of_class,
            "read_by_model": self.read_by_model,
            "merged": list(self.merged),
            "left_out": {"groups": list(self.left_out), "n": self.n_left_out},
            "spread": {name: self.spread(name) for name in COMPARED},
            "groups": [group.to_dict() for group in self.groups],
            "equalised": dict(self.equalised),
        }


@dataclass(frozen=True, slots=True)
class FairnessReport:
    """How a model treats groups of customers.

    Attributes:
        columns: One report for each column.
        threshold: At which decisions were made; None of more than two classes, and where customers have their own.
        min_group: Rows that a group needs.
        n: Rows in all.
        clustered: Whether intervals are bootstrapped by customer, since some have several rows.
    """

    columns: tuple[ColumnReport, ...]
    threshold: float | None
    min_group: int
    n: int
    clustered: bool

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, as ``fairness.json`` holds them."""
        about = {name: getattr(self, name) for name in ("threshold", "min_group", "n", "clustered")}
        return {**about, "four_fifths": FOUR_FIFTHS, "columns": [column.to_dict() for column in self.columns]}

    def table(self) -> pl.DataFrame:
        """Return a line for each figure of each group, with the columns of :data:`LONG`."""
        lines = [
            (
                column.column, column.of_class, group.label, group.n, group.against, name, *figure,
                *group.differences.get(name, Figure()), *group.ratios.get(name, Figure()),
            )
            for column in self.columns
            for group in column.groups
            for name, figure in [
                *((name, group.figures[name]) for name in FIGURES),
                (NOISE_FLOOR, Figure(group.noise_floor.mean, None, group.noise_floor.high)),
            ]
        ]  # fmt: skip
        return pl.DataFrame(lines, schema=LONG, orient="row")


__all__ = ["FOUR_FIFTHS", "LONG", "ColumnReport", "FairnessReport", "GroupReport"]
