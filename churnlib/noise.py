"""What the packages below say that no user can act on: silenced by the commands, and while a network is trained."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

WARNINGS = (
    # Tables lie in memory: workers would only slow them down.
    r"The '\w+' does not have many workers",
    # Lightning 2.6 with torch 2.13, until one of them changes.
    r".*isinstance\(treespec, LeafSpec\).*is deprecated",
    # A run goes on in its own folder; another folder with checkpoints in it is refused before.
    r"Checkpoint directory .* exists and is not empty",
    # A class with too few rows for one of them to validate on.
    r"No (positive|negative) samples (found )?in targets?",
    r"(AUROC|Average precision) score for one or more classes was `nan`",
    # Metrics are logged once per epoch.
    r"The number of training batches .* is smaller than the logging interval",
)

TALKATIVE = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
)
"""Loggers that announce devices, seeds and products at the level of information."""


def quieten() -> None:
    """Filter known noise out of warnings and logs; everything else still comes through. May be called often."""
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    for name in TALKATIVE:
        logger = logging.getLogger(name)
        logger.removeFilter(_only_warnings)
        logger.addFilter(_only_warnings)
    os.environ.setdefault("WANDB_SILENT", "true")


@contextmanager
def quiet() -> Iterator[None]:
    """Filter the same noise while the block runs, and leave warnings and loggers as they were."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    added = [logger for logger in loggers if _only_warnings not in logger.filters]
    for logger in added:
        logger.addFilter(_only_warnings)
    try:
        with warnings.catch_warnings():
            for message in WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger in added:
            logger.removeFilter(_only_warnings)


def _only_warnings(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
