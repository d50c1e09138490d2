"""Runs of a sweep that share one pass: networks of the same shapes that differ only in how they learn.

Each is what it would be by itself: its own split and preparation (which follow from its seed), initial weights, order
of rows, dropout, loss, optimizer settings, best epoch and end. The sums are rounded otherwise, and training amplifies
that as it does any rounding. What a run by itself has beside: checkpoints to go on from, and the areas under the curves
epoch by epoch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnlib.config import TrainConfig
from churnlib.data.customers import Customers
from churnlib.errors import ChurnlibError
from churnlib.training.fitted import Ready

if TYPE_CHECKING:
    from churnlib.data.datamodule import ChurnDataModule
    from churnlib.training.many import Start

PLAIN, MLP = "churnlib.models.mlp.PlainMLP", "churnlib.models.mlp.MLP"
OF_A_RUN = (
    "seed", "output_dir", "loss", "threshold", "calibration", "bundle", "leaks", "logger",
    "model.dropout", "trainer.gradient_clip_val",
)  # fmt: skip
"""Options in which runs of one pass may differ, beside those of optimizer and early stopping."""
PATIENCE = ("patience", "min_delta")


def shareable(configs: Mapping[int, TrainConfig]) -> list[tuple[int, ...]]:
    """Return which runs may share a pass, as far as options say; only the tables show whether they can.

    Args:
        configs: By the number of the run.

    Returns:
        Groups of two runs or more.
    """
    groups: dict[str, list[int]] = {}
    for number, config in configs.items():
        if _is_alone(config):
            continue
        groups.setdefault(_in_common(config), []).append(number)
    return [tuple(numbers) for numbers in groups.values() if len(numbers) > 1]


def _is_alone(config: TrainConfig) -> bool:
    """Whether a run is never trained with others: it does not want to, or is no single small network."""
    several = config.cv is not None or config.ensemble > 1 or config.split.origins > 1 or config.task.name != "classify"
    by_itself = config.ckpt_path is not None or config.teacher is not None
    return config.sweep.together == "false" or several or by_itself or not _is_plain(config.model)


def _is_plain(spec: Any) -> bool:
    """Whether a network may be one that :func:`churnlib.models.stacked.shapes` knows."""
    if not isinstance(spec, Mapping):
        return False
    bare = spec.get("numeric_embedding", "periodic") is None and spec.get("n_members") is None
    return spec.get("_target_") == PLAIN or (spec.get("_target_") == MLP and bare)


def _in_common(config: TrainConfig) -> str:
    """Return all that runs of one pass must have in common."""
    options = asdict(config)
    for name in OF_A_RUN:
        *path, last = name.split(".")
        holder = options[path[0]] if path else options
        holder.pop(last, None)
    for callback in options["callbacks"].values():
        for name in PATIENCE:
            (callback or {}).pop(name, None)
    # Schedules that move the momentum ask whether there is some.
    optimizer = options["optimizer"]
    options["optimizer"] = [optimizer["_target_"], bool(optimizer.get("momentum"))]
    return json.dumps(options, sort_keys=True, default=str)


def fit_together(configs: Mapping[int, TrainConfig], folder: Path) -> dict[int, Ready]:
    """Read the tables of runs that are :func:`shareable` and train those in one pass whose networks allow it.

    Args:
        configs: By the number of the run. Those that do not fit into memory together with the ones before are left out,
            and so are those that cannot be trained: by themselves they will say why.
        folder: Nothing is written into it.

    Returns:
        What was trained, by the number of the run.
    """
    from churnlib.models.stacked import shapes
    from churnlib.training.many import initial_network

    began = time.perf_counter()
    tables = _tables(configs)
    started = {number: initial_network(configs[number], table) for number, table in tables.items()}
    alike: dict[Any, list[int]] = {}
    for number, start in started.items():
        shape, n_rows = shapes(start.network.body), len(tables[number].learning_rows)
        if shape is not None:
            alike.setdefault((shape, n_rows), []).append(number)
    reading = (time.perf_counter() - began) / max(len(tables), 1)
    ready: dict[int, Ready] = {}
    for numbers in alike.values():
        if len(numbers) > 1:
            ready |= _fit(numbers, configs, tables, started, folder, reading)
    return ready


def _tables(configs: Mapping[int, TrainConfig]) -> dict[int, ChurnDataModule]:
    """Read each run's table, once for runs of one seed, as long as all of them fit into memory."""
    from churnlib.training.many import MOST_CELLS, data_module, stackable
    from churnlib.training.train import check_options, read_customers

    read: dict[int, Customers] = {}
    found: dict[int, ChurnDataModule] = {}
    cells = 0
    for number, config in configs.items():
        try:
            customers = read[config.seed] if config.seed in read else read_customers(config)
            check_options(config, customers)
        except ChurnlibError:
            continue
        cells += customers.frame.height * customers.frame.width
        if cells > MOST_CELLS:
            break
        read[config.seed] = customers
        table = data_module(config, customers)
        if stackable(config, [table]):
            found[number] = table
    return found


def _fit(
    numbers: Sequence[int],
    configs: Mapping[int, TrainConfig],
    tables: Mapping[int, ChurnDataModule],
    started: Mapping[int, Start],
    folder: Path,
    reading: float,
) -> dict[int, Ready]:
    from churnlib.training.many import fit_stacked
    from churnlib.training.prior import settle_prior

    # Members whose optimizers have equal settings cost less as neighbours.
    numbers = sorted(numbers, key=lambda number: repr(configs[number].optimizer))
    # Each run tells its own logger, afterwards.
    own = [replace(configs[number], logger=None) for number in numbers]
    fits = fit_stacked(own, [tables[number] for number in numbers], [started[number] for number in numbers], folder)
    ready = {}
    for number, config, fit in zip(numbers, own, fits, strict=True):
        customers = tables[number].customers
        ready[number] = Ready(customers, settle_prior(config, fit, customers), reading + fit.seconds, len(numbers))
    return ready
