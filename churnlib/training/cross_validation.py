"""Several models instead of one: folds, seeds, or both, and what they say about rows that they did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from churnlib.config import TrainConfig
from churnlib.data.customers import Customers
from churnlib.data.folds import deal_folds, recode
from churnlib.models.ensemble import Ensemble, Member, mean_logits
from churnlib.models.fitted import FittedModel
from churnlib.training.fitted import Fit, HeldOut, Part, Trained, held_out
from churnlib.training.many import fit_many


@dataclass(frozen=True, slots=True)
class Design:
    """Which models are fitted on what.

    Attributes:
        customers: The table as the models together read it.
        tables: The table of each model, in the order of seeds, repeats and folds, the folds changing fastest.
        seeds: Of each model.
        folds: Of each model, counted through all repeats; None for one division into training and validation rows.
        per_round: How many models together hold out each row once.
    """

    customers: Customers
    tables: tuple[Customers, ...]
    seeds: tuple[int, ...]
    folds: tuple[int | None, ...]
    per_round: int

    def __len__(self) -> int:
        return len(self.tables)


def design(config: TrainConfig, customers: Customers) -> Design:
    """Deal the rows as the options ask.

    Raises:
        ChurnlibError: If there are too few rows for so many folds.
    """
    whole, tables, numbers = customers, (customers,), (None,)
    if config.cv is not None:
        preprocess = asdict(config.preprocess)
        folds = deal_folds(customers, config.cv, repeats=config.cv_repeats, seed=config.seed, preprocess=preprocess)
        whole, tables, numbers = folds.whole, folds.parts, tuple(range(len(folds.parts)))
    tables, numbers = tables * config.ensemble, numbers * config.ensemble
    seeds = tuple((config.seed + number) % 2**32 for number in range(len(tables)))
    return Design(whole, tables, seeds, numbers, config.cv or 1)


def fit_design(config: TrainConfig, plan: Design, folder: Path, *, name: str) -> Trained:
    """Fit the configured model as often as a design says; their mean probability counts.

    Args:
        config: The run's options.
        plan: What is fitted on what.
        folder: Of the run.
        name: Short name of the model.
    """
    fits = fit_many(config, plan.tables, plan.seeds, folder)
    own = [held_out(fit.model, table) for fit, table in zip(fits, plan.tables, strict=True)]
    rounds = [_joined(own[start : start + plan.per_round]) for start in range(0, len(plan), plan.per_round)]
    members = [_member(plan.customers, table, fit.model) for fit, table in zip(fits, plan.tables, strict=True)]
    hazards = plan.customers.lifetimes is not None and len(plan.customers.lifetimes.breaks) > 1
    parts = zip(plan.folds, plan.seeds, fits, own, strict=True)
    return Trained(
        _together(fits, plan, Ensemble((tuple(members),), shift=no_shift(plan.customers), hazards=hazards)),
        plan.customers,
        HeldOut(rounds[0].rows, mean_logits([one.logits for one in rounds], hazards=hazards)),
        [Part(name, *part) for part in parts],
    )


def no_shift(customers: Customers) -> tuple[float, ...]:
    """Return the shift of an ensemble that has none."""
    if customers.lifetimes is not None:
        return (0.0,) * len(customers.lifetimes.breaks)
    return (0.0,) * (1 if len(customers.schema.classes) == 2 else len(customers.schema.classes))


def _together(fits: Sequence[Fit], plan: Design, model: Ensemble) -> Fit:
    """Return several fits as one: the longest, and all their seconds and rows."""
    seconds = sum(fit.seconds for fit in fits)
    rows = sum(len(table.rows("train")) * fit.epochs for table, fit in zip(plan.tables, fits, strict=True))
    longest = max(fits, key=lambda fit: fit.epochs)
    return Fit(model, longest.epochs, seconds, rows / max(seconds, 1e-9), longest.curve)


def _joined(folds: Sequence[HeldOut]) -> HeldOut:
    """Return the rows of all folds in the order of the table."""
    rows = np.concatenate([fold.rows for fold in folds])
    order = np.argsort(rows)
    return HeldOut(rows[order], np.concatenate([fold.logits for fold in folds])[order])


def _member(customers: Customers, table: Customers, model: FittedModel) -> Member:
    if table.preparation == customers.preparation:
        return Member(model)
    recoding = recode(customers.preparation, table.preparation)
    return Member(model, recoding.numeric, recoding.codes, recoding.categorical)
