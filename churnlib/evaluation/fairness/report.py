"""Groups of customers compared: figures, what sets the groups apart, and what equal treatment would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from churnlib.decision import decide
from churnlib.evaluation.bootstrap import REPLICATES, customer_numbers
from churnlib.evaluation.fairness.equalised import AIMS, equalised
from churnlib.evaluation.fairness.figures import (
    COMPARED,
    ERROR,
    FIGURES,
    RATES,
    Figure,
    Judged,
    difference,
    figures_of,
    quotient,
    spread,
)
from churnlib.evaluation.fairness.groups import NOBODY, Groups
from churnlib.evaluation.inputs import check_binary, check_multiclass
from churnlib.evaluation.probabilities import NoiseFloor, calibration_noise_floor
from churnlib.evaluation.profit.campaign import Campaign, payoffs

LARGEST, REST = "largest", "rest"
AGAINST = (LARGEST, REST)
"""With whom a group is compared: the largest group, or all customers that are not in it."""

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
        threshold: At which decisions were made; None of more than two classes.
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


def compare_groups(
    label: ArrayLike,
    probability: ArrayLike,
    groups: Sequence[Groups],
    *,
    threshold: float,
    held_out: tuple[ArrayLike, ArrayLike, Sequence[np.ndarray]] | None = None,
    campaign: Campaign | None = None,
    value: ArrayLike | None = None,
    customers: ArrayLike | None = None,
    against: str = LARGEST,
    min_group: int = 0,
    read: Mapping[str, bool] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> FairnessReport:
    """Compare how a model treats groups of customers.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` calibrated probability of class 1.
        groups: Of the rows, for each column; see :func:`churnlib.evaluation.fairness.groups.groups_of`.
        threshold: From which customers are predicted to leave.
        held_out: Label, probability and (for each of ``groups``) group numbers of other rows, from which thresholds by
            group are learned; without them none are.
        campaign: Costs of the profit; those of the paper on EMPC when left out.
        value: ``(n,)`` money that each customer is worth.
        customers: ``(n,)`` names, where a customer may have several rows.
        against: ``largest`` (group of the column) or ``rest``.
        min_group: Rows that a group needed, for the record.
        read: Whether the model reads the columns.
        replicates: Resampled sets.
        seed: Of the resampling.

    Raises:
        ValueError: If shapes disagree, or a label or probability is outside its range.
    """
    truth, scores = check_binary(label, probability)
    costs = campaign or Campaign()
    paid = payoffs(truth, costs.values(None if value is None else np.asarray(value), len(truth)), costs)
    rows = Judged(truth, scores, decide(scores, threshold), paid, customer_numbers(customers, len(truth)))
    drawn: dict[str, Any] = {"replicates": replicates, "seed": seed}
    told = []
    for place, one in enumerate(groups):
        found = {}
        if held_out is not None and len(one.labels) > 1:
            others, said = check_binary(held_out[0], held_out[1])
            aside = (others, said, held_out[2][place])
            found = {aim: equalised(rows, one, aside, threshold=threshold, aim=aim, **drawn) for aim in AIMS}
        told.append(_column(rows, one, against, read, equalised=found, **drawn))
    return FairnessReport(tuple(told), float(threshold), min_group, len(truth), rows.customers is not None)


def compare_classes(
    label: ArrayLike,
    probability: ArrayLike,
    groups: Sequence[Groups],
    *,
    classes: Sequence[str],
    customers: ArrayLike | None = None,
    against: str = LARGEST,
    min_group: int = 0,
    read: Mapping[str, bool] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> FairnessReport:
    """Compare how a model of several classes treats groups of customers: each class is taken against the rest.

    Selected is who is given the class, the most probable one. There are no thresholds that could be made equal, and no
    profit.

    Args:
        label: ``(n,)`` class indices.
        probability: ``(n, k)``.
        groups: Of the rows, for each column.
        classes: ``k`` names.
        customers: ``(n,)`` names, where a customer may have several rows.
        against: ``largest`` (group of the column) or ``rest``.
        min_group: Rows that a group needed, for the record.
        read: Whether the model reads the columns.
        replicates: Resampled sets.
        seed: Of the resampling.

    Raises:
        ValueError: If shapes disagree, or a label or probability is outside its range.
    """
    truth, scores = check_multiclass(label, probability, len(classes))
    decision, names = decide(scores), customer_numbers(customers, len(truth))
    told = []
    for place, of_class in enumerate(classes):
        own = ((truth == place).astype(np.int64), scores[:, place], (decision == place).astype(np.int64))
        rows = Judged(*own, customers=names)
        told += [
            _column(rows, one, against, read, of_class=of_class, replicates=replicates, seed=seed) for one in groups
        ]
    return FairnessReport(tuple(told), None, min_group, len(truth), names is not None)


def _column(
    rows: Judged,
    groups: Groups,
    against: str,
    read: Mapping[str, bool] | None,
    *,
    equalised: Mapping[str, Mapping[str, Any]] | None = None,
    of_class: str | None = None,
    replicates: int,
    seed: int,
) -> ColumnReport:
    if against not in AGAINST:
        raise ValueError(f"against must be one of {', '.join(AGAINST)}, got {against!r}")
    return ColumnReport(
        groups.name,
        _compared(rows, groups, against, replicates=replicates, seed=seed),
        groups.merged,
        groups.left_out,
        int((groups.codes == NOBODY).sum()),
        equalised or {},
        None if read is None else read.get(groups.name),
        of_class,
    )


def _compared(rows: Judged, groups: Groups, against: str, *, replicates: int, seed: int) -> tuple[GroupReport, ...]:
    masks = [groups.codes == place for place in range(len(groups.labels))]
    found = [figures_of(rows.where(mask), replicates=replicates, seed=seed) for mask in masks]
    largest = int(groups.counts().argmax()) if len(masks) else 0
    told = []
    for place, (name, mask, figures) in enumerate(zip(groups.labels, masks, found, strict=True)):
        n, positives = int(mask.sum()), int(rows.label[mask].sum())
        floor = calibration_noise_floor(rows.probability[mask], seed=seed)
        if len(masks) == 1 or (against == LARGEST and place == largest):
            told.append(GroupReport(name, n, positives, None, figures, floor))
            continue
        other = found[largest]
        if against == REST:
            other = figures_of(rows.where(~mask), replicates=replicates, seed=seed)
        differences = {figure: difference(figures[figure], other[figure]) for figure in COMPARED}
        ratios = {figure: quotient(figures[figure], other[figure]) for figure in RATES}
        whom = REST if against == REST else groups.labels[largest]
        told.append(GroupReport(name, n, positives, whom, figures, floor, differences, ratios))
    return tuple(told)


__all__ = [
    "AGAINST",
    "FOUR_FIFTHS",
    "ColumnReport",
    "FairnessReport",
    "GroupReport",
    "compare_classes",
    "compare_groups",
]
