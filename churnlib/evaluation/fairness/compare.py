"""Groups of customers compared: of two classes, and of each of several against the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from churnlib.decision import decide
from churnlib.evaluation.bootstrap import REPLICATES, customer_numbers
from churnlib.evaluation.fairness.equalised import AIMS, AT_OWN, equalised, standing
from churnlib.evaluation.fairness.figures import COMPARED, RATES, Judged, difference, figures_of, quotient
from churnlib.evaluation.fairness.groups import NOBODY, Groups
from churnlib.evaluation.fairness.report import ColumnReport, FairnessReport, GroupReport
from churnlib.evaluation.inputs import Floats, Ints, check_binary, check_multiclass
from churnlib.evaluation.probabilities import calibration_noise_floor
from churnlib.evaluation.profit.campaign import Campaign, payoffs

LARGEST, REST = "largest", "rest"
AGAINST = (LARGEST, REST)
"""With whom a group is compared: the largest group, or all customers that are not in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How groups are compared.

    Attributes:
        customers: ``(n,)`` names, where a customer may have several rows.
        against: ``largest`` (group of the column) or ``rest``.
        min_group: Rows that a group needed, for the record.
        read: Whether the model reads the columns.
        replicates: Resampled sets.
        seed: Of the resampling.
    """

    customers: ArrayLike | None = None
    against: str = LARGEST
    min_group: int = 0
    read: Mapping[str, bool] | None = None
    replicates: int = REPLICATES
    seed: int = 0

    def __post_init__(self) -> None:
        if self.against not in AGAINST:
            raise ValueError(f"against must be one of {', '.join(AGAINST)}, got {self.against!r}")


class HeldOut(NamedTuple):
    """Rows from which thresholds by group are learned.

    Attributes:
        label: ``(m,)`` 0 or 1.
        probability: ``(m,)`` calibrated probability of class 1.
        codes: For each column the group numbers, ``(m,)``.
        threshold: ``(m,)`` the customers' own thresholds, where they have them.
    """

    label: ArrayLike
    probability: ArrayLike
    codes: Sequence[Ints]
    threshold: ArrayLike | None = None


def compare_groups(
    label: ArrayLike,
    probability: ArrayLike,
    groups: Sequence[Groups],
    *,
    threshold: ArrayLike,
    held_out: HeldOut | None = None,
    campaign: Campaign | None = None,
    value: ArrayLike | None = None,
    **options: Any,
) -> FairnessReport:
    """Compare how a model treats groups of customers.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` calibrated probability of class 1.
        groups: Of the rows, for each column; see :func:`churnlib.evaluation.fairness.groups.groups_of`.
        threshold: From which customers are predicted to leave: a number, or ``(n,)`` each customer's own.
        held_out: Other rows, from which thresholds by group are learned; without them none are.
        campaign: Costs of the profit; those of the paper on EMPC when left out.
        value: ``(n,)`` money that each customer is worth.
        options: Of :class:`Comparison`.

    Raises:
        ValueError: If shapes disagree, or a label or probability is outside its range.
    """
    how = Comparison(**options)
    truth, scores = check_binary(label, probability)
    costs = campaign or Campaign()
    paid = payoffs(truth, costs.values(None if value is None else np.asarray(value), len(truth)), costs)
    rows = Judged(truth, scores, decide(scores, threshold), paid, customer_numbers(how.customers, len(truth)))
    told = []
    for place, one in enumerate(groups):
        equal = {} if held_out is None or len(one.labels) < 2 else _equal(rows, one, threshold, held_out, place, how)
        told.append(_column(rows, one, how, equalised=equal))
    common = None if np.ndim(threshold) else float(threshold)  # type: ignore[arg-type]
    return FairnessReport(tuple(told), common, how.min_group, len(truth), rows.customers is not None)


def _equal(
    rows: Judged, groups: Groups, threshold: ArrayLike, held_out: HeldOut, place: int, how: Comparison
) -> dict[str, Any]:
    """Return what thresholds by group would do and cost, by what they make equal."""
    label, probability = check_binary(held_out.label, held_out.probability)
    score: Floats | None = None
    cut = np.asarray(threshold, dtype=np.float64)
    if cut.ndim:
        if held_out.threshold is None:
            raise ValueError("where customers have thresholds of their own, held_out needs those of its rows")
        score, probability = standing(rows.probability, cut), standing(probability, np.asarray(held_out.threshold))
        cut = np.asarray(AT_OWN)
    aside = (label, probability, held_out.codes[place])
    drawn = {"replicates": how.replicates, "seed": how.seed}
    return {aim: equalised(rows, groups, aside, threshold=float(cut), aim=aim, score=score, **drawn) for aim in AIMS}


def compare_classes(
    label: ArrayLike, probability: ArrayLike, groups: Sequence[Groups], *, classes: Sequence[str], **options: Any
) -> FairnessReport:
    """Compare how a model of several classes treats groups of customers: each class is taken against the rest.

    Selected is who is given the class, the most probable one. There are no thresholds that could be made equal, and no
    profit.

    Args:
        label: ``(n,)`` class indices.
        probability: ``(n, k)``.
        groups: Of the rows, for each column.
        classes: ``k`` names.
        options: Of :class:`Comparison`.

    Raises:
        ValueError: If shapes disagree, or a label or probability is outside its range.
    """
    how = Comparison(**options)
    truth, scores = check_multiclass(label, probability, len(classes))
    decision, names = decide(scores), customer_numbers(how.customers, len(truth))
    told = []
    for place, of_class in enumerate(classes):
        own = ((truth == place).astype(np.int64), scores[:, place], (decision == place).astype(np.int64))
        rows = Judged(*own, customers=names)
        told += [_column(rows, one, how, of_class=of_class) for one in groups]
    return FairnessReport(tuple(told), None, how.min_group, len(truth), names is not None)


def _column(
    rows: Judged,
    groups: Groups,
    how: Comparison,
    *,
    equalised: Mapping[str, Mapping[str, Any]] | None = None,
    of_class: str | None = None,
) -> ColumnReport:
    return ColumnReport(
        groups.name,
        _compared(rows, groups, how),
        groups.merged,
        groups.left_out,
        int((groups.codes == NOBODY).sum()),
        equalised or {},
        None if how.read is None else how.read.get(groups.name),
        of_class,
    )


def _compared(rows: Judged, groups: Groups, how: Comparison) -> tuple[GroupReport, ...]:
    masks = [groups.codes == place for place in range(len(groups.labels))]
    found = [figures_of(rows.where(mask), replicates=how.replicates, seed=how.seed) for mask in masks]
    largest = int(groups.counts().argmax()) if len(masks) else 0
    told = []
    for place, (name, mask, figures) in enumerate(zip(groups.labels, masks, found, strict=True)):
        n, positives = int(mask.sum()), int(rows.label[mask].sum())
        floor = calibration_noise_floor(rows.probability[mask], seed=how.seed)
        if len(masks) == 1 or (how.against == LARGEST and place == largest):
            told.append(GroupReport(name, n, positives, None, figures, floor))
            continue
        other = found[largest]
        if how.against == REST:
            other = figures_of(rows.where(~mask), replicates=how.replicates, seed=how.seed)
        differences = {figure: difference(figures[figure], other[figure]) for figure in COMPARED}
        ratios = {figure: quotient(figures[figure], other[figure]) for figure in RATES}
        whom = REST if how.against == REST else groups.labels[largest]
        told.append(GroupReport(name, n, positives, whom, figures, floor, differences, ratios))
    return tuple(told)


__all__ = ["AGAINST", "Comparison", "HeldOut", "compare_classes", "compare_groups"]
