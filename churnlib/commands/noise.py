"""What the packages below say that no user of the commands can act on. The library itself silences nothing."""

from __future__ import annotations

import logging
import os
import warnings

WARNINGS = (
    # Tables lie in memory: workers would only slow them down.
    r"The '\w+' does not have many workers",
    # Lightning 2.6 with torch 2.13, until one of them changes.
    r".*isinstance\(treespec, LeafSpec\).*is deprecated",
    # A run goes on in its own folder; another folder with checkpoints in it is refused before.
    r"Checkpoint directory .* exists and is not empty",
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


def _only_warnings(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
