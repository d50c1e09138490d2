"""What fitting leaves behind, whatever was fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from churnlib.data.customers import Customers
from churnlib.data.rows_at_a_time import evaluation_rows
from churnlib.models.fitted import FittedModel


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model and how it came about.

    Attributes:
        model: Ready to answer; of a network the weights of the epoch with the lowest validation log loss.
        epochs: Epochs run; 1 for what is fitted in one go.
        seconds: Of the fit alone.
        rows_per_second: Training rows times epochs, by seconds.
        curve: What was logged, epoch by epoch; empty for what is fitted in one go.
        compilation: What was decided about compiling, and why; None where there was nothing to decide.
    """

    model: FittedModel
    epochs: int
    seconds: float
    rows_per_second: float
    curve: Sequence[Mapping[str, float]] = ()
    compilation: str | None = None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What was said about rows by models that did not learn from them; it decides temperature and threshold.

    Attributes:
        rows: ``(n,)`` int64 row numbers, ascending.
        logits: ``(n,)``, or ``(n, n_classes)`` for more than two classes.
    """

    rows: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True, slots=True)
class Part:
    """One model of several.

    Attributes:
        model: Name of its configuration.
        fold: Its fold, from 0, counted through all repeats; None without folds.
        seed: Its seed.
        fit: How it came about.
        held_out: What it said about its own validation rows.
    """

    model: str
    fold: int | None
    seed: int
    fit: Fit
    held_out: HeldOut


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run has trained: one model, or several that answer together.

    Attributes:
        fit: The model that the bundle will hold.
        customers: The table as that model reads it.
        held_out: What is said about validation rows.
        parts: The models behind it, if they are several.
        blend: Weight of each kind of model in a stack.
    """

    fit: Fit
    customers: Customers
    held_out: HeldOut
    parts: Sequence[Part] = ()
    blend: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ready:
    """What a run of a sweep has from a pass that it shared with others.

    Attributes:
        customers: Its table.
        fit: How its network was trained.
        seconds: Its share of the time that reading and training took.
        together: Runs that shared the pass.
    """

    customers: Customers
    fit: Fit
    seconds: float
    together: int


def held_out(model: FittedModel, customers: Customers) -> HeldOut:
    """Return what a model says about the validation rows of a table that was prepared for it."""
    encoded, step = customers.encoded["validation"], evaluation_rows(len(customers.preparation.feature_names))
    starts = range(0, len(encoded), step)
    parts = [model.logits(encoded.numeric[i : i + step], encoded.codes[i : i + step]) for i in starts]
    return HeldOut(customers.rows("validation"), np.concatenate(parts))
