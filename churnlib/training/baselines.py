"""Fitting one baseline: on the rows, the columns and the classes that a network would get."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

from churnlib.config import TrainConfig, loss_options
from churnlib.data.customers import Customers
from churnlib.data.resampling import learning_rows
from churnlib.models.baselines.baseline import Baseline, Rows, Task
from churnlib.models.baselines.inputs import EVERY_VALUE
from churnlib.models.weights import class_weights
from churnlib.training.fitted import Fit


def fit_baseline(recipe: Baseline, config: TrainConfig, customers: Customers) -> Fit:
    """Fit a recipe on the training rows; validation rows say when to stop.

    Args:
        recipe: The model's settings.
        config: The run's options; of the trainer's, threads.
        customers: The rows.
    """
    learned = learning_rows(customers, asdict(config.resample), seed=config.seed)
    weights = class_weights(loss_options(config.loss)["pos_weight"], learned.class_counts)
    task = replace(
        task_of(customers, class_weights=weights, seed=config.seed, threads=config.trainer.threads),
        class_ratios=learned.ratios,
    )
    train = Rows(learned.encoded.numeric, learned.encoded.codes, learned.label)
    validation = rows_of(customers, "validation")
    start = time.perf_counter()
    model = recipe.fit(train, validation, task)
    seconds = time.perf_counter() - start
    return Fit(model, 1, seconds, len(train) / max(seconds, 1e-9))


def task_of(customers: Customers, *, class_weights: list[float], seed: int = 0, threads: int | None = 1) -> Task:
    """Return what a recipe has to know of the customers; see :class:`~churnlib.models.baselines.baseline.Task`."""
    spec = customers.preparation.input_spec(one_hot_max=EVERY_VALUE)
    return Task(spec, class_weights, seed=seed, threads=threads)


def rows_of(customers: Customers, side: str) -> Rows:
    """Return the rows of a side."""
    encoded = customers.encoded[side]
    return Rows(encoded.numeric, encoded.codes, customers.labels(side))
