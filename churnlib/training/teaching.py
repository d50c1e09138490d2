"""Learning from another model: what a teacher says of the training rows, in place of who left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churnlib.config import TrainConfig
from churnlib.data.coercion import coerce
from churnlib.data.customers import Customers
from churnlib.data.resampling import LearningRows, below
from churnlib.errors import ChurnlibError, ConfigError
from churnlib.predictor import Predictor, load

HELD_OUT = {"test": "predictions.parquet", "validation": "held_out.parquet"}
"""Files of a run that say whom its model did not learn from, by the side on which they stood."""


def check_teacher(config: TrainConfig, customers: Customers, *, network: bool) -> None:
    """Refuse a teacher that cannot teach this run, before anything is written.

    Args:
        config: The run's options.
        customers: The rows.
        network: Whether the student is one network.

    Raises:
        ConfigError: With the remedy.
    """
    if config.teacher is None:
        return
    said = f"teacher={config.teacher}"
    if not network:
        raise ConfigError(f"{said} is for a network, such as model=mlp_plain; leave it out, or choose one")
    if config.task.name != "classify":
        raise ConfigError(f"{said} teaches whether customers leave, not when; add task=classify")
    if config.cv is not None or config.split.origins > 1:
        option = "cv" if config.cv is not None else "split.origins"
        raise ConfigError(
            f"{said} has learned from rows that a fold or an earlier window holds out; leave {option} out"
        )
    if config.resample.name != "none":
        raise ConfigError(f"{said} has an answer for each training row as it is; add resample=none")
    if config.loss.name != "bce" or getattr(config.loss, "pos_weight", None) is not None:
        raise ConfigError(f"{said} goes with loss=bce, without loss.pos_weight")
    _check_rows(Path(config.teacher), customers)
    _read(config.teacher, customers)


def taught_rows(config: TrainConfig, customers: Customers) -> LearningRows | None:
    """Return the training rows with what the teacher says of them, and altered copies; None without a teacher.

    The teacher's log-odds are taken as they were trained: its calibration was fitted on validation rows, of which a
    student is to learn nothing.

    Raises:
        ConfigError: If the teacher cannot read the rows.
    """
    if config.teacher is None:
        return None
    predictor = _read(config.teacher, customers)
    rows = customers.frame[customers.rows("train")]
    said = _answers(predictor, rows, config.teacher)
    label, share = customers.labels("train"), config.teacher_share
    known = label if said.ndim == 1 else np.eye(said.shape[1])[label]
    encoded, soft = [customers.encoded["train"]], [share * said + (1 - share) * known]
    rng = np.random.default_rng((config.seed, 0x7EAC4))
    names = [column.name for column in customers.schema.features if column.name in rows.columns]
    for _ in range(config.teacher_copies):
        copies = swapped(rows, names, probability=config.teacher_swap, rng=rng)
        encoded.append(customers.preparation.encode(coerce(copies, customers.schema).typed))
        soft.append(_answers(predictor, copies, config.teacher))
    together = np.concatenate(soft).astype(np.float32)
    likelier = (together >= 0.5).astype(np.int64) if together.ndim == 1 else together.argmax(1)
    return LearningRows(below(*encoded), likelier, (1.0,) * len(customers.schema.classes), soft=together)


def swapped(rows: pl.DataFrame, names: Sequence[str], *, probability: float, rng: np.random.Generator) -> pl.DataFrame:
    """Return rows some of whose cells are those of other rows.

    Args:
        rows: A table.
        names: Columns whose cells may change; each by itself.
        probability: That a cell does.
        rng: Source of the draws.
    """
    n = len(rows)
    places = [np.where(rng.random(n) < probability, rng.integers(n, size=n), np.arange(n)) for _ in names]
    return rows.with_columns(rows[name].gather(place) for name, place in zip(names, places, strict=True))


def teacher_facts(config: TrainConfig) -> dict[str, Any] | None:
    """Return who taught a run: bundle, model and version; None where nobody did."""
    if config.teacher is None:
        return None
    predictor = load(config.teacher)
    return {"bundle": config.teacher, "model": predictor.model_name, "version": predictor.version}


def _answers(predictor: Predictor, rows: pl.DataFrame, path: str) -> np.ndarray:
    """Return the probabilities of the teacher's log-odds, ``(n,)`` or ``(n, n_classes)`` float64."""
    reading = predictor.read(rows, rules=False)
    try:
        predictor.check(reading)
    except ChurnlibError as error:
        raise ConfigError(f"teacher={path} cannot read the training rows: {error}") from error
    return _probabilities(predictor.logits(reading.typed))


def _probabilities(logits: np.ndarray) -> np.ndarray:
    if logits.ndim == 1:
        return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    odds = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def _read(path: str, customers: Customers) -> Predictor:
    predictor = load(path)
    if predictor.bundle.hazards is not None:
        raise ConfigError(
            f"teacher={path} says when customers leave, not whether; choose one trained with task=classify"
        )
    if predictor.classes != customers.schema.classes:
        classes, own = (", ".join(names) for names in (predictor.classes, customers.schema.classes))
        raise ConfigError(f"teacher={path} knows the classes {classes}, and the table has {own}; choose another bundle")
    return predictor


def _check_rows(bundle: Path, customers: Customers) -> None:
    """Refuse a teacher that has learned from a row that the student is stopped, calibrated or judged by."""
    for side, name in HELD_OUT.items():
        path = bundle.parent / name
        if not path.exists():
            raise ConfigError(
                f"teacher={bundle} must lie in the folder of its run, whose {' and '.join(HELD_OUT.values())} say whom "
                "it has not learned from; name the bundle there"
            )
        held_out = pl.read_parquet(path, columns=["customer_id", "label"])
        ids, label = customers.customer_ids(side), customers.labels(side)
        alike = held_out["customer_id"].cast(pl.String).to_list() == ids.cast(pl.String).to_list()
        if not (alike and held_out["label"].to_list() == label.tolist()):
            raise ConfigError(
                f"teacher={bundle} was trained with other {side} rows than this run, so it may have learned from "
                "those that the student is judged by; train it on the same table with the same split and seed, "
                "without cv"
            )
