"""Keeping the weights of the best epoch in memory, where no run folder takes checkpoints."""

from __future__ import annotations

import copy
from typing import Any

import lightning as L


class BestWeights(L.Callback):
    """After training, the module has the weights of the epoch with the lowest monitored value.

    What :class:`lightning.pytorch.callbacks.ModelCheckpoint` does with files, without them: nothing to resume from, but
    nothing to write and to remove either. NaN is never the best, and of epochs with the same value the first one is.

    Args:
        monitor: Logged value that is better when lower.
    """

    def __init__(self, monitor: str = "val/log_loss") -> None:
        self.monitor = monitor
        self._lowest = float("inf")
        self._weights: dict[str, Any] | None = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep a copy of the weights if they are the best so far."""
        if trainer.sanity_checking:
            return  # weights that nobody has trained yet
        value = float(trainer.callback_metrics[self.monitor])
        if value < self._lowest:
            self._lowest, self._weights = value, copy.deepcopy(pl_module.state_dict())

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the best weights back."""
        if self._weights is not None:
            pl_module.load_state_dict(self._weights)
