"""Fitting one network several times: on the folds of a cross-validation, from several seeds, with several settings.

Networks of one shape are trained in one pass (:mod:`churnlib.training.stacked`) where that gives what one by one would
give; everything else is fitted one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from churnlib.config import TrainConfig, loss_options
from churnlib.data.customers import Customers
from churnlib.models.baselines.recipes import recipe_of
from churnlib.training.baselines import fit_baseline
from churnlib.training.fitted import Fit
from churnlib.training.prior import settle_prior
from churnlib.training.teaching import taught_rows
from churnlib.training.unlabelled import pretraining_rows
from churnlib.training.weights import row_weights

if TYPE_CHECKING:
    from churnlib.data.datamodule import ChurnDataModule
    from churnlib.models.network import ChurnNetwork
    from churnlib.training.stacked import Member

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
    from churnlib.training.fitting import fit

    tables = [data_module(replace(config, seed=seed), part) for part, seed in zip(parts, seeds, strict=True)]
    if len(tables) > 1 and stackable(config, tables):
        from churnlib.models.stacked import can_stack

        started = [initial_network(config, table) for table in tables]
        if can_stack([one.network.body for one in started]):
            return fit_stacked([replace(config, seed=seed) for seed in seeds], tables, started, folder)
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


def data_module(config: TrainConfig, customers: Customers) -> ChurnDataModule:
    """Return the rows as a network gets them: in batches, weighed and resampled as the options ask."""
    from churnlib.data.datamodule import ChurnDataModule

    return ChurnDataModule(
        customers,
        batch_size=config.trainer.batch_size,
        seed=config.seed,
        row_weights=row_weights(config.loss, customers),
        resample=asdict(config.resample),
        learning_rows=taught_rows(config, customers),
    )


def _in_memory(spec: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a callback that keeps the best weights without files, for one that writes checkpoints."""
    if spec is None or spec["_target_"] != CHECKPOINT:
        return spec
    return {"_target_": BEST_WEIGHTS, "monitor": spec["monitor"]}


def stackable(config: TrainConfig, tables: Sequence[ChurnDataModule]) -> bool:
    """Whether training in one pass does all that the options ask for."""
    return (
        config.pretrain.passes == 0
        and config.task.name == "classify"
        and all(_is_understood(spec) for spec in _callbacks(config).values())
        and (config.scheduler or {}).get("_target_") != PLATEAU
        and not any(vars(config.augment).values())
        and all(table.row_weights is None and table.learning_rows.soft is None for table in tables)
        and config.trainer.precision in ("auto", "32-true")
        and sum(table.customers.frame.height * table.customers.frame.width for table in tables) <= MOST_CELLS
    )


def _is_understood(spec: Mapping[str, Any]) -> bool:
    """Whether a callback is early stopping or keeps the best weights, by the validation log loss."""
    by_log_loss = spec.get("monitor", "val/log_loss") == "val/log_loss" and spec.get("mode", "min") == "min"
    return by_log_loss and spec["_target_"] in (EARLY_STOPPING, CHECKPOINT, BEST_WEIGHTS)


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run by itself would start.

    Attributes:
        network: With its initial weights.
        generator: In the state in which the random numbers of the training begin.
    """

    network: ChurnNetwork
    generator: torch.Generator


def initial_network(config: TrainConfig, table: ChurnDataModule) -> Start:
    """Return the network that a run with the table's seed would start from, and its random numbers."""
    from churnlib.models.losses import training_loss
    from churnlib.models.network import build_network

    # As a run by itself begins; other seeds (Python's, numpy's) have no part in it.
    torch.manual_seed(table.seed)
    counts = table.class_counts().tolist()
    offset = training_loss(loss_options(config.loss), counts, table.class_ratios()).offset
    network = build_network(config.model, table.input_spec(), n_classes=len(counts), offset=offset)
    generator = torch.Generator()
    generator.set_state(torch.get_rng_state())
    return Start(network, generator)


def fit_stacked(
    configs: Sequence[TrainConfig], tables: Sequence[ChurnDataModule], started: Sequence[Start], folder: Path
) -> list[Fit]:
    """Train networks of one shape in one pass.

    Args:
        configs: The options of each; they differ only in what :class:`~churnlib.training.stacked.Member` has.
        tables: A data module for each.
        started: What :func:`initial_network` returned for each.
        folder: The run's folder, for logs.
    """
    import lightning as L

    from churnlib.build import build_scheduler
    from churnlib.models.network import network_spec
    from churnlib.models.network_model import NetworkModel
    from churnlib.training.fitting import run_trainer
    from churnlib.training.stacked import StackedModule
    from churnlib.training.stacked_data import StackedData

    config = configs[0]
    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    L.seed_everything(config.seed, verbose=False)
    networks = [one.network for one in started]
    module = StackedModule(
        [_member(*one) for one in zip(configs, tables, started, strict=True)],
        keep_best=bool({CHECKPOINT, BEST_WEIGHTS} & set(_callbacks(config))),
        network=config.model,
        loss=loss_options(config.loss),
        scheduler=build_scheduler(config.scheduler),
    )
    # The module does itself, for each member, what trainer and callbacks do for a single network.
    trainer = replace(config.trainer, precision="32-true", gradient_clip_val=None)
    _, seconds = run_trainer(
        replace(config, callbacks={}, trainer=trainer), module, StackedData(tables, networks), folder
    )
    rows = sum(len(table.learning_rows) * n for table, n in zip(tables, module.epochs, strict=True))
    share, rate = seconds / len(tables), rows / max(seconds, 1e-9)
    return [
        Fit(NetworkModel(network.cpu(), network_spec(own.model), table.input_spec()), n, share, rate, curve)
        for own, network, table, n, curve in zip(configs, networks, tables, module.epochs, module.curves, strict=True)
    ]


def _member(config: TrainConfig, table: ChurnDataModule, start: Start) -> Member:
    from churnlib.build import build_optimizer
    from churnlib.models.losses import training_loss
    from churnlib.training.stacked import Member

    stop = _callbacks(config).get(EARLY_STOPPING)
    return Member(
        network=start.network,
        generator=start.generator,
        loss=training_loss(loss_options(config.loss), table.class_counts(), table.class_ratios()),
        optimizer=build_optimizer(config.optimizer),
        settings=repr(config.optimizer),
        clip=config.trainer.gradient_clip_val,
        patience=None if stop is None else stop.get("patience", 3),
        min_delta=0.0 if stop is None else abs(stop.get("min_delta", 0.0)),
    )


def _callbacks(config: TrainConfig) -> dict[str, Mapping[str, Any]]:
    """Return the callbacks that are not left out, by their class."""
    return {spec["_target_"]: spec for spec in config.callbacks.values() if spec is not None}
