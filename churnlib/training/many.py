"""Fitting the same configuration several times: on the folds of a cross-validation, from several seeds, or both.

Networks of one shape are trained in one pass (:mod:`churnlib.training.stacked`) where that gives what one by one would
give; everything else is fitted one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from churnlib.config import TrainConfig, loss_options
from churnlib.data.customers import Customers
from churnlib.models.baselines.recipes import recipe_of
from churnlib.training.baselines import fit_baseline
from churnlib.training.fitted import Fit
from churnlib.training.prior import settle_prior
from churnlib.training.unlabelled import pretraining_rows
from churnlib.training.weights import row_weights

if TYPE_CHECKING:
    from churnlib.data.datamodule import ChurnDataModule
    from churnlib.models.network import ChurnNetwork

MEMBERS = "members"
"""Folder in the run's, of those that are fitted one after the other."""

EARLY_STOPPING = "lightning.pytorch.callbacks.EarlyStopping"
CHECKPOINT, BEST_WEIGHTS = "churnlib.training.checkpoints.RunCheckpoint", "churnlib.training.best_weights.BestWeights"
PLATEAU = "churnlib.models.schedules.plateau"
MOST_CELLS = 2**28
"""Cells of all members' rows together, from which they are trained one after the other: 1 GiB."""


def fit_many(
    config: TrainConfig,
    parts: Sequence[Customers],
    seeds: Sequence[int],
    folder: Path,
) -> list[Fit]:
    """Fit the configured model on each table.

    Args:
        config: The run's options.
        parts: A table for each fit.
        seeds: A seed for each fit.
        folder: The run's folder; each fit that goes by itself has one of its own in it.
    """
    fits = _fit_each(config, parts, seeds, folder)
    return [settle_prior(config, fit, part) for fit, part in zip(fits, parts, strict=True)]


def _fit_each(config: TrainConfig, parts: Sequence[Customers], seeds: Sequence[int], folder: Path) -> list[Fit]:
    recipe = recipe_of(config.model)
    if recipe is not None:
        return [fit_baseline(recipe, replace(config, seed=seed), part) for part, seed in zip(parts, seeds, strict=True)]
    from churnlib.data.datamodule import ChurnDataModule
    from churnlib.training.fitting import fit

    weights = [row_weights(config.loss, part) for part in parts]
    tables = [
        ChurnDataModule(
            part,
            batch_size=config.trainer.batch_size,
            seed=seed,
            row_weights=weight,
            resample=asdict(config.resample),
        )
        for part, seed, weight in zip(parts, seeds, weights, strict=True)
    ]
    if len(tables) > 1 and stackable(config, tables):
        from churnlib.models.stacked import can_stack

        networks = [initial_network(config, table) for table in tables]
        if can_stack([network.body for network in networks]):
            return _fit_stacked(config, tables, networks, folder)
    # Their checkpoints would be of no use: a run of several models does not go on.
    config = replace(config, callbacks={name: _in_memory(spec) for name, spec in config.callbacks.items()})
    return [
        fit(
            replace(config, seed=table.seed),
            table,
            folder / MEMBERS / str(number),
            unlabelled=pretraining_rows(config, table.customers),
        )
        for number, table in enumerate(tables)
    ]


def _in_memory(spec: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a callback that keeps the best weights without files, for one that writes checkpoints."""
    if spec is None or spec["_target_"] != CHECKPOINT:
        return spec
    return {"_target_": BEST_WEIGHTS, "monitor": spec["monitor"]}


def stackable(config: TrainConfig, tables: Sequence[ChurnDataModule]) -> bool:
    """Whether training in one pass does all that the options ask for."""
    callbacks = {name: spec for name, spec in config.callbacks.items() if spec is not None}
    return (
        config.pretrain.passes == 0
        and all(_is_understood(spec) for spec in callbacks.values())
        and (config.scheduler or {}).get("_target_") != PLATEAU
        and not any(vars(config.augment).values())
        and all(table.row_weights is None for table in tables)
        and config.trainer.precision in ("auto", "32-true")
        and sum(table.customers.frame.height * table.customers.frame.width for table in tables) <= MOST_CELLS
    )


def _is_understood(spec: Mapping[str, Any]) -> bool:
    """Whether a callback is early stopping or keeps the best weights, by the validation log loss."""
    by_log_loss = spec.get("monitor", "val/log_loss") == "val/log_loss" and spec.get("mode", "min") == "min"
    return by_log_loss and spec["_target_"] in (EARLY_STOPPING, CHECKPOINT, BEST_WEIGHTS)


def initial_network(config: TrainConfig, table: ChurnDataModule) -> ChurnNetwork:
    """Return the network that a run with the table's seed would start from."""
    from churnlib.models.losses import training_loss
    from churnlib.models.network import build_network

    # As a run by itself begins; other seeds (Python's, numpy's) have no part in it.
    torch.manual_seed(table.seed)
    counts = table.class_counts().tolist()
    offset = training_loss(loss_options(config.loss), counts, table.class_ratios()).offset
    return build_network(config.model, table.input_spec(), n_classes=len(counts), offset=offset)


def _fit_stacked(
    config: TrainConfig, tables: Sequence[ChurnDataModule], networks: Sequence[ChurnNetwork], folder: Path
) -> list[Fit]:
    import lightning as L

    from churnlib.build import build_optimizer, build_scheduler
    from churnlib.models.losses import training_loss
    from churnlib.models.network_model import NetworkModel
    from churnlib.training.fitting import run_trainer
    from churnlib.training.stacked import StackedModule
    from churnlib.training.stacked_data import StackedData

    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    L.seed_everything(config.seed, verbose=False)
    targets = {spec["_target_"]: spec for spec in config.callbacks.values() if spec is not None}
    stop = targets.get(EARLY_STOPPING)
    loss = loss_options(config.loss)
    module = StackedModule(
        networks,
        [training_loss(loss, table.class_counts(), table.class_ratios()) for table in tables],
        patience=None if stop is None else stop.get("patience", 3),
        min_delta=0.0 if stop is None else abs(stop.get("min_delta", 0.0)),
        keep_best=CHECKPOINT in targets or BEST_WEIGHTS in targets,
        network=config.model,
        loss=loss,
        optimizer=build_optimizer(config.optimizer),
        scheduler=build_scheduler(config.scheduler),
    )
    # The module does itself, for each member, what the callbacks do for a single network.
    alone = replace(config, callbacks={}, trainer=replace(config.trainer, precision="32-true"))
    _, seconds = run_trainer(alone, module, StackedData(tables, networks), folder)
    rows = sum(len(table.learning_rows) * n for table, n in zip(tables, module.epochs, strict=True))
    share, rate = seconds / len(tables), rows / max(seconds, 1e-9)
    return [
        Fit(NetworkModel(network.cpu(), module.spec, table.input_spec()), n, share, rate, module.curve)
        for network, table, n in zip(networks, tables, module.epochs, strict=True)
    ]
