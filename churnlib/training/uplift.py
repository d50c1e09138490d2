"""Fitting an uplift model to an experiment: both sides' customers apart, then their effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnlib.data.customers import Customers
from churnlib.data.preparation import FIRST_KNOWN
from churnlib.data.target import encode_target
from churnlib.errors import ConfigError, DataError
from churnlib.models.baselines.baseline import Baseline, Rows, Task
from churnlib.models.baselines.effects import fit_effects
from churnlib.models.baselines.linear import LogisticRegression
from churnlib.models.uplift import UpliftModel
from churnlib.schema import unknown_column
from churnlib.training.baselines import rows_of, task_of

FEWEST = 20
"""Customers of each side of an experiment that a fit needs, of those who learn and of those who judge."""

MOST_VALUES = 50
"""Values of a category whose shares are compared between the sides."""


def read_treatment(frame: pl.DataFrame, column: str, treated: str | None = None) -> NDArray[np.int64]:
    """Return who was treated, ``(n,)`` 1 or 0, -1 where the table does not say.

    Args:
        frame: The table.
        column: That says so.
        treated: Its value that means "treated"; may be left out for truth words.

    Raises:
        ConfigError: If there is no such column, or it is not clear which value means "treated".
        DataError: If it has one value, or more than two.
    """
    if column not in frame.columns:
        raise ConfigError(unknown_column(column, frame.columns, option="treatment"))
    values = frame[column].drop_nulls()
    count = values.n_unique()
    if count < 2:
        shown = f"the value {values[0]!r} in every row" if count else "no value in any row"
        raise DataError(
            f"treatment={column} has {shown}; an effect is measured by customers who were treated and customers who "
            "were not"
        )
    try:
        side, names = encode_target(frame[column], treated)
    except (ConfigError, DataError) as error:
        said = str(error).replace("data.positive", "treated").replace("the target", "the treatment")
        raise type(error)(said.replace("the customer left", "the customer was treated")) from error
    if len(names) != 2:
        raise DataError(f"treatment={column} has {len(names)} values; an experiment here has two sides")
    return side


@dataclass(frozen=True, slots=True)
class Sides:
    """The rows of one side of the split, by side of the experiment.

    Attributes:
        rows: All of them.
        treated: ``(n,)`` 1 or 0.
    """

    rows: Rows
    treated: NDArray[np.int64]

    def of(self, side: int) -> Rows:
        """Return the rows that were treated (1) or left alone (0)."""
        mine = self.treated == side
        return Rows(self.rows.numeric[mine], self.rows.codes[mine], self.rows.label[mine])


def sides_of(customers: Customers, treated: NDArray[np.int64], side: str) -> Sides:
    """Return the rows of train, validation or test of which it is known whether they were treated."""
    rows, known = rows_of(customers, side), treated[customers.rows(side)]
    given = known >= 0
    return Sides(Rows(rows.numeric[given], rows.codes[given], rows.label[given]), known[given])


def fit_uplift(
    recipe: Baseline,
    customers: Customers,
    treated: NDArray[np.int64],
    *,
    learner: str = "x",
    effects: str = "ridge",
    propensity: str = "constant",
    seed: int = 0,
    threads: int | None = 1,
) -> UpliftModel:
    """Fit an uplift model on the training rows; validation rows say when to stop.

    Args:
        recipe: How likely customers leave, fitted for each side of the experiment.
        customers: The rows; the treatment is none of their features.
        treated: ``(n,)`` for all rows: 1, 0, or -1 where it is not known.
        learner: ``x`` or ``t``.
        effects: Models of effects, one of :data:`churnlib.models.baselines.effects.EFFECT_MODELS`.
        propensity: ``constant`` or ``logistic``.
        seed: Of the fits.
        threads: Of the fits.

    Raises:
        DataError: If a side of the experiment has too few customers, or none who left or stayed.
    """
    train, validation = (sides_of(customers, treated, side) for side in ("train", "validation"))
    for name, rows in (("training", train), ("validation", validation)):
        _check_sides(name, rows)
    task = task_of(customers, class_weights=[1.0, 1.0], seed=seed, threads=threads)
    alone, given = (recipe.fit(train.of(side), validation.of(side), task) for side in (0, 1))
    model = UpliftModel(alone=alone, treated=given, share=float(train.treated.mean()))
    if learner == "t":
        return model
    parts = {
        name: _effects_of(side, other, effects, train, validation, task)
        for name, side, other in (("effect_alone", 0, given), ("effect_treated", 1, alone))
    }
    chance = _propensity(train, validation, task) if propensity == "logistic" else None
    return replace(model, **parts, propensity=chance)


def _effects_of(side: int, other: Any, kind: str, train: Sides, validation: Sides, task: Task) -> Any:
    """Fit the effects of one side: what its customers did, and what the other side's model says of them."""

    def effect(rows: Rows) -> NDArray[np.float64]:
        from scipy.special import expit

        said = expit(np.asarray(other.logits(rows.numeric, rows.codes), dtype=np.float64))
        return said - rows.label if side == 1 else rows.label - said

    mine, held_out = train.of(side), validation.of(side)
    return fit_effects(kind, mine, effect(mine), held_out, effect(held_out), task)


def _propensity(train: Sides, validation: Sides, task: Task) -> Any:
    learned, held_out = (replace(sides.rows, label=sides.treated) for sides in (train, validation))
    return LogisticRegression().fit(learned, held_out, task)


def propensity_scores(customers: Customers, treated: NDArray[np.int64], *, seed: int = 0) -> NDArray[np.float64]:
    """Return the log-odds of being treated of the test rows, by a logistic regression on the training rows."""
    train, validation, test = (sides_of(customers, treated, side) for side in ("train", "validation", "test"))
    task = task_of(customers, class_weights=[1.0, 1.0], seed=seed)
    return _propensity(train, validation, task).logits(test.rows.numeric, test.rows.codes)


def _check_sides(name: str, sides: Sides) -> None:
    for side, what in ((1, "were treated"), (0, "were left alone")):
        label = sides.of(side).label
        if len(label) < FEWEST or len(np.unique(label)) < 2:
            left = int(label.sum())
            raise DataError(
                f"{len(label):,} {name} rows {what}, of whom {left:,} left; an effect needs at least {FEWEST} of them, "
                "some who left and some who stayed"
            )


def balance_inputs(customers: Customers, treated: NDArray[np.int64]) -> tuple[NDArray[Any], list[str]]:
    """Return the training rows as numbers, ``(n, k)`` with NaN for missing, and a name for each column.

    Numbers as they are; of a category one column for each value, 1 for the customers who have it.
    """
    train, preparation = sides_of(customers, treated, "train").rows, customers.preparation
    columns, names = [train.numeric], [one.name for one in preparation.numeric]
    for place, known in enumerate(preparation.categorical):
        for number, value in enumerate(known.values[:MOST_VALUES]):
            columns.append((train.codes[:, [place]] == FIRST_KNOWN + number).astype(np.float32))
            names.append(f"{known.name}={value}")
    return np.concatenate(columns, axis=1), names


__all__ = ["FEWEST", "balance_inputs", "fit_uplift", "propensity_scores", "read_treatment", "sides_of"]
