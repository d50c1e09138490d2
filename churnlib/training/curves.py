"""Learning curves as a file, and the alarm when a network learned its training rows by heart."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

CURVES = "learning_curves.csv"

GAP = 0.7
"""The training loss, as a share of the validation loss at the best epoch, below which the alarm rings."""
RISE = 1.25
"""The validation loss of the last epochs, as a multiple of its best, above which the alarm rings."""
LAST = 3
"""Epochs over which the end of a curve is averaged: single epochs jump."""

REMEDY = "try a higher model.dropout or optimizer.weight_decay, a smaller network, or more training rows"


@dataclass(frozen=True, slots=True)
class Overfitting:
    """What the curves say about learning by heart.

    Attributes:
        best_epoch: Epoch with the lowest validation log loss, from 1.
        train_log_loss: Of the training rows in that epoch (while they were learned, with dropout).
        val_log_loss: Of the validation rows after it.
        final_val_log_loss: Mean of the last three epochs.
        alarm: One sentence with the remedy; None if all is well.
    """

    best_epoch: int
    train_log_loss: float
    val_log_loss: float
    final_val_log_loss: float
    alarm: str | None


def overfitting(curve: Sequence[Mapping[str, float]]) -> Overfitting | None:
    """Judge a run by its learning curve; None without validation rows.

    >>> best = {"epoch": 1, "train/log_loss": 0.20, "val/log_loss": 0.40}
    >>> overfitting([best]).alarm[:72]
    'Overfitting: the training log loss of the best epoch (1) is 0.200, 50 % '

    Args:
        curve: ``ChurnModule.curve``: a mapping with ``epoch``, ``train/log_loss`` and ``val/log_loss`` for each epoch.
    """
    judged = [row for row in curve if "val/log_loss" in row]
    if not judged:
        return None
    best = min(judged, key=lambda row: row["val/log_loss"])
    end = [row["val/log_loss"] for row in judged[-LAST:]]
    train, validation, final = best["train/log_loss"], best["val/log_loss"], sum(end) / len(end)
    alarm, epoch = None, int(best["epoch"])
    if train < GAP * validation:
        alarm = (
            f"Overfitting: the training log loss of the best epoch ({epoch}) is {train:.3f}, "
            f"{100 * (1 - train / validation):.0f} % below the validation rows' {validation:.3f}; {REMEDY}"
        )
    elif final > RISE * validation:
        alarm = (
            f"Overfitting: after epoch {epoch} of {len(judged)} the validation log loss rose from {validation:.3f} to "
            f"{final:.3f} (the weights of epoch {epoch} were kept); {REMEDY}"
        )
    return Overfitting(epoch, train, validation, final, alarm)


def write_curves(curve: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write one line for each epoch as CSV, whole or not at all; nothing if no epoch was trained."""
    if not curve:
        return
    names = list(dict.fromkeys(name for row in curve for name in row))
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(curve)
    partial.replace(path)


def log_curve(curve: Sequence[Mapping[str, float]], spec: Mapping[str, Any] | None, folder: Path) -> None:
    """Tell a run's logger, after the training, what it would have been told epoch by epoch.

    Args:
        curve: As :func:`overfitting` takes it.
        spec: The logger's configuration; None for none.
        folder: The run's folder.
    """
    from churnlib.build import build_logger, close_logger

    logger = build_logger(spec, folder)
    if isinstance(logger, bool):
        return
    for row in curve:
        epoch = int(row["epoch"]) - 1
        logger.log_metrics({**row, "epoch": epoch}, step=epoch)
    logger.save()
    close_logger(logger)
