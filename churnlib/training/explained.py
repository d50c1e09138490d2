"""A run's model explained on the rows it was tested on: its table is read again, as its configuration says."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churnlib.compose import SCHEMAS, compose
from churnlib.config import TrainConfig
from churnlib.config.explain import ExplainModelConfig
from churnlib.config.task import HazardConfig, TaskConfig
from churnlib.data.customers import Customers
from churnlib.errors import ConfigError, DataError
from churnlib.explanation.effects import Explainer
from churnlib.explanation.mask_picture import mask_picture
from churnlib.explanation.overall.report import OverallExplanation, OverallOptions, Say, explain_overall
from churnlib.explanation.wording import Wording
from churnlib.predictor import Predictor, load
from churnlib.training.money import campaign_of, values_of
from churnlib.training.results import write_table
from churnlib.training.run_folder import CONFIG, METRICS, write_json
from churnlib.training.train import read_customers

PARTS = ("split", "preprocess", "money")
"""Of a run's options those that say which rows it was tested on, and what they are worth."""

GLOBAL, MASKS = "global.json", "masks.svg"


@dataclass(frozen=True)
class ExplainedRun:
    """What was found.

    Attributes:
        found: The explanation.
        folder: Where it lies.
        currency: Unit of money of the run.
    """

    found: OverallExplanation
    folder: Path
    currency: str | None


def explain_run(config: ExplainModelConfig, say: Say | None = None) -> ExplainedRun:
    """Explain a finished run's model on its test rows, and write ``global.json`` with tables beside it.

    Args:
        config: The options.
        say: Told what is being computed.

    Raises:
        ConfigError: If the folder holds no finished run, or an option is wrong.
        DataError: If the table is no longer that of the run.
    """
    run = Path(config.run)
    options = run_options(run)
    predictor = load(run / "bundle", trust=config.trust, backend=config.backend)
    customers = read_customers(options)
    rows = tested(customers, run)
    found, reading = _explained(config, options, predictor, customers, rows, say)
    folder = run / "explanation" if config.output is None else Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in found.tables().items():
        write_table(table, folder / f"{name}.parquet")
    _draw_masks(predictor, reading, folder)
    write_json(folder / GLOBAL, found.to_dict())
    return ExplainedRun(found, folder, options.money.currency)


def _explained(
    config: ExplainModelConfig,
    options: TrainConfig,
    predictor: Predictor,
    customers: Customers,
    rows: np.ndarray,
    say: Say | None,
) -> tuple[OverallExplanation, pl.DataFrame]:
    explainer = Explainer(predictor, method=config.method, samples=config.samples, pairs=config.pairs, seed=config.seed)
    values, frame = values_of(options.money, customers), customers.frame[rows]
    wanted = {one.name: getattr(config, one.name) for one in fields(OverallOptions)}
    found = explain_overall(
        explainer,
        frame,
        None if customers.lifetimes is not None else customers.label[rows],  # who was lost from sight has none
        target=config.target,
        wording=Wording.from_config(config.reasons),
        campaign=campaign_of(options.money, customers),
        value=None if values is None else values[rows],
        customers=customers.ids(rows),
        options=OverallOptions(**wanted),
        say=say,
    )
    return found, frame


def run_options(run: Path) -> TrainConfig:
    """Return the options of a finished run, as far as they say what rows it learned from.

    Raises:
        ConfigError: If there is no finished run, or its options cannot be read by this release.
    """
    if not (run / METRICS).is_file() or not (run / CONFIG).is_file():
        raise ConfigError(f"run={run} holds no finished run; name a folder with {METRICS} and {CONFIG}")
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    told: Any = OmegaConf.load(run / CONFIG)
    known = compose([])
    try:
        # What an older run knew nothing of is as it is now.
        parts = {name: _read(getattr(known, name), told.get(name) or {}) for name in PARTS}
        data = _read(_data_schema(set(told.data)), told.data)
        task = told.get("task") or {}
        parts["task"] = _read(HazardConfig if task.get("name") == "hazard" else TaskConfig, task)
    except (OmegaConfBaseException, KeyError, TypeError) as error:
        raise ConfigError(f"{run / CONFIG} cannot be read by this release: {str(error).splitlines()[0]}") from error
    return replace(known, data=data, seed=int(told.seed), **parts)


def _read(schema: Any, values: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))


def _data_schema(keys: set[str]) -> type:
    """Return the schema that has these options: the one with all of them and fewest others."""
    schemas = SCHEMAS["data"].values()
    fitting = [schema for schema in schemas if keys <= {one.name for one in fields(schema)}]
    if not fitting:
        raise TypeError(f"there is no kind of table with the options {', '.join(sorted(keys))}")
    return min(fitting, key=lambda schema: len(fields(schema)))


def tested(customers: Customers, run: Path) -> np.ndarray:
    """Return the rows that a run was tested on.

    Raises:
        DataError: If there were none, or they are not what they were.
    """
    before = pl.read_parquet(run / "predictions.parquet", columns=["customer_id", "label"])
    rows = customers.rows("test")
    if not len(before):
        raise DataError(f"{run} has no test rows to explain the model on; train with split.test above 0")
    same = before["customer_id"].cast(pl.String).equals(customers.ids(rows).cast(pl.String))
    if not same or not np.array_equal(before["label"].to_numpy(), customers.label[rows]):
        raise DataError(
            f"the table is no longer the one that {run} was trained on: its test rows differ from predictions.parquet"
        )
    return rows


def _draw_masks(predictor: Predictor, frame: pl.DataFrame, folder: Path) -> None:
    if getattr(predictor.model, "has_masks", False):
        hidden = {column.name for column in predictor.schema.sensitive}
        (folder / MASKS).write_text(mask_picture(predictor.masks(frame), hidden=hidden), encoding="utf-8")


__all__ = ["GLOBAL", "ExplainedRun", "explain_run", "run_options", "tested"]
