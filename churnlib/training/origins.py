"""``split.origins=N``: how the same model would have done before, trained at earlier days and tested on what came next.

The newest window is the run itself, and makes the bundle. The earlier ones are fitted for their figures alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from churnlib.config import TrainConfig
from churnlib.data.customers import Customers, redealt
from churnlib.data.rolling import rolling_origins
from churnlib.data.splits import Split

FIGURES = ("roc_auc", "average_precision", "log_loss", "brier", "f1")
ORIGINS = "origins"
"""Folder in the run's, with one for each earlier window that writes files."""


def windows(config: TrainConfig, customers: Customers) -> list[Split]:
    """Return the splits, oldest first; the last one is that of the table.

    Raises:
        ConfigError: If there are too few rows for so many.
        DataError: If the gap leaves a side empty.
    """
    split, dealing = config.split, customers.dealing
    assert dealing.moments is not None
    shares = (split.train, split.validation, split.test)
    seed = config.seed if split.seed is None else split.seed
    return rolling_origins(dealing.moments, shares, split.origins, seed=seed, groups=dealing.groups, gap=dealing.gap)


def earlier_origins(config: TrainConfig, customers: Customers, splits: Sequence[Split], folder: Path) -> list[dict]:
    """Fit and test the model on each window but the newest.

    Args:
        config: The run's options.
        customers: The rows.
        splits: What :func:`windows` returned.
        folder: Of the run.

    Returns:
        For each window what :func:`described` says.
    """
    from churnlib.training.packing import calibrated
    from churnlib.training.results import side_metrics
    from churnlib.training.train import fit_model
    from churnlib.training.unlabelled import pretraining_rows

    found = []
    for number, split in enumerate(splits[:-1]):
        part = redealt(customers, split, preprocess=asdict(config.preprocess), seed=config.seed)
        unlabelled = pretraining_rows(config, part)
        trained = fit_model(config, part, folder / ORIGINS / str(number), unlabelled=unlabelled)
        found.append(described(part, side_metrics(part, "test", calibrated(config, trained)) or {}))
    return found


def described(customers: Customers, test: Mapping[str, Any]) -> dict[str, Any]:
    """Return the days of a window's sides, the counts of its test rows, and its test figures."""
    moments = customers.dealing.moments
    assert moments is not None
    sides = customers.split.sides()
    days = {side: [_day(moments[rows].min()), _day(moments[rows].max())] for side, rows in sides.items() if len(rows)}
    counts = {side: len(rows) for side, rows in sides.items()}
    return {"days": days, "rows": counts, "positives": test.get("positives"), **{k: test.get(k) for k in FIGURES}}


def summary(origins: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the windows, and of each figure the mean and the worst."""
    figures = {}
    for name in FIGURES:
        values = [one[name] for one in origins if one[name] is not None]
        worst = max if name in ("log_loss", "brier") else min
        figures[name] = {"mean": float(np.mean(values)), "worst": worst(values)} if values else None
    return {"windows": list(origins), **figures}


def _day(moment: np.integer) -> str:
    return datetime.fromtimestamp(int(moment) / 1e6, UTC).date().isoformat()
