"""Quick honest baselines: each row is answered for by models that have not seen it, nor its fold.

Every fold has three parts: rows to learn from, rows that say when to stop and how scores become probabilities, and the
rows that are held out. Nothing that is said of a row was fitted to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from churnlib.data.customers import Customers, redealt
from churnlib.data.folds import deal_rows
from churnlib.data.splits import fold_of_rows
from churnlib.decision import probability_from_logits
from churnlib.errors import DataError
from churnlib.evaluation.calibrators import fit_calibration
from churnlib.evaluation.probabilities import log_odds, row_losses
from churnlib.models.baselines.baseline import Baseline, Rows
from churnlib.models.baselines.hist_gradient_boosting import HistGradientBoosting
from churnlib.models.baselines.linear import LogisticRegression
from churnlib.training.baselines import rows_of, task_of

FOLDS = 5
INNER_FOLDS = 6
"""One of so many parts of a fold's rows says when to stop and calibrates."""
FEWEST = 20
"""Rows of each class that it takes: of 20, each fold holds out four, and calibrates on two or three."""

PRIOR, MEAN = "prior", "mean of both"
RECIPES: Mapping[str, Baseline] = {
    "logistic regression": LogisticRegression(),
    "boosted trees": HistGradientBoosting(learning_rate=0.1, n_estimators=300, patience=20),
}
"""Those that are fitted; besides, the mean of their log-odds, and the churn rate for everybody."""


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    """What baselines say of rows that they have not seen.

    Attributes:
        tables: The folds; of each, the test rows are those that were held out.
        rows: ``(n,)`` their numbers in the table, ascending.
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` calibrated, by model.
    """

    tables: tuple[Customers, ...]
    rows: np.ndarray
    label: np.ndarray
    probability: Mapping[str, np.ndarray]

    @property
    def best(self) -> str:
        """The model with the lowest log loss."""
        losses = {name: row_losses(self.label, p).mean() for name, p in self.probability.items()}
        return min(losses, key=lambda name: losses[name])

    @property
    def recipe(self) -> str:
        """The better of the models that were fitted."""
        losses = {name: row_losses(self.label, self.probability[name]).mean() for name in RECIPES}
        return min(losses, key=lambda name: losses[name])


def out_of_fold(
    customers: Customers,
    *,
    preprocess: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> OutOfFold:
    """Fit the baselines on folds of all rows that are on some side.

    Args:
        customers: A prepared table; its own sides are forgotten. Where they go by time, so do the folds.
        preprocess: See :func:`~churnlib.data.sides.prepare_sides`.
        seed: Of folds and fits.
        progress: Called with what is done next.

    Raises:
        DataError: If a class has too few rows.
    """
    pool = np.sort(np.concatenate(list(customers.split.sides().values())))
    check_enough(customers, pool)
    tables = tuple(fold_tables(customers, pool, preprocess, seed))
    said: dict[str, list[np.ndarray]] = {name: [] for name in (PRIOR, *RECIPES)}
    for number, table in enumerate(tables):
        rate = table.labels("train").mean()
        said[PRIOR].append(np.full(len(table.rows("test")), rate))
        for name, recipe in RECIPES.items():
            progress(f"{name}, fold {number + 1} of {len(tables)}")
            said[name].append(answers(recipe, table, seed=seed))
    rows = np.concatenate([table.rows("test") for table in tables])
    order = np.argsort(rows, kind="stable")
    joined = {name: np.concatenate(parts)[order] for name, parts in said.items()}
    joined[MEAN] = probability_from_logits(np.mean([log_odds(joined[name]) for name in RECIPES], axis=0))
    return OutOfFold(tables, rows[order], customers.label[rows[order]], joined)


def check_enough(customers: Customers, pool: np.ndarray) -> None:
    """Refuse a table of other than two classes, or with too few rows of one.

    Raises:
        DataError: With the counts.
    """
    classes = customers.schema.classes
    if len(classes) != 2:
        raise DataError(
            f"the doctor judges two classes and the target has {len(classes)}; make it one of two, such as left or not"
        )
    counts = np.bincount(customers.label[pool], minlength=2)
    if counts.min() < FEWEST:
        name = classes[int(counts.argmin())]
        raise DataError(
            f"only {counts.min():,} of {len(pool):,} rows are {name!r}, and the doctor needs {FEWEST} rows of each "
            "class to hold some out; gather more rows"
        )


def fold_tables(
    customers: Customers, pool: np.ndarray, preprocess: Mapping[str, Any] | None, seed: int
) -> list[Customers]:
    """Return the folds, each prepared from its own training rows."""
    groups, tables = customers.dealing.groups, []
    for number, (others, held_out) in enumerate(deal_rows(customers, pool, FOLDS, seed=seed)):
        own = None if groups is None else groups[others]
        part = fold_of_rows(customers.label[others], INNER_FOLDS, np.random.default_rng((seed, 1, number)), groups=own)
        split = replace(
            customers.split, train=others[part > 0], validation=others[part == 0], test=held_out,
            left_out=0, purged=0, later=0,
        )  # fmt: skip
        tables.append(redealt(customers, split, preprocess=preprocess, seed=seed))
    return tables


def answers(recipe: Baseline, table: Customers, *, share: float = 1.0, seed: int = 0) -> np.ndarray:
    """Fit a model on a share of a fold's training rows and return the probabilities of its test rows.

    Args:
        recipe: The model.
        table: The fold.
        share: Of the training rows of each class, in (0, 1].
        seed: Of fit and share.
    """
    train, validation, test = (rows_of(table, side) for side in ("train", "validation", "test"))
    if share < 1.0:
        kept = _share_of(train.label, share, seed)
        train = Rows(train.numeric[kept], train.codes[kept], train.label[kept])
    model = recipe.fit(train, validation, task_of(table, class_weights=[1.0, 1.0], seed=seed))
    fitted = fit_calibration(model.logits(validation.numeric, validation.codes), validation.label, method="platt")
    return fitted.probabilities(model.logits(test.numeric, test.codes))


def _share_of(label: np.ndarray, share: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng((seed, 2))
    each = [rng.permutation(np.flatnonzero(label == one)) for one in (0, 1)]
    return np.sort(np.concatenate([rows[: max(2, round(share * len(rows)))] for rows in each]))


__all__ = ["FEWEST", "FOLDS", "MEAN", "PRIOR", "RECIPES", "OutOfFold", "answers", "out_of_fold"]
