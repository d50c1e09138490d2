"""The live bar of a training run: one step per epoch."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import ProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

SHOWN = {"train/loss": "loss", "val/log_loss": "val", "val/roc_auc": "AUC"}
"""Logged values that the bar shows, and what it calls them."""


class EpochProgress(ProgressBar):
    """Shows the epoch, the training loss and the validation metrics, and which epoch was the best.

    Small tables train in many short epochs: a bar per batch would spend more time drawing than the batches take, and
    reading a loss at every step would make the device wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._progress: Progress | None = None
        self._enabled = True
        self._best: tuple[float, int] = (float("inf"), 0)

    def disable(self) -> None:
        """Draw nothing (Lightning asks for it in all processes but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Draw again."""
        self._enabled = True

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the bar."""
        super().on_train_start(trainer, pl_module)
        if not self._enabled:
            return
        # Together they fit into 80 characters.
        columns = (MofNCompleteColumn(), BarColumn(bar_width=10), TimeElapsedColumn(), TextColumn("{task.description}"))
        self._progress = Progress(TextColumn("epoch"), *columns, refresh_per_second=4)
        self._progress.start()
        self._progress.add_task("", total=trainer.max_epochs, completed=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Move on by one epoch."""
        if self._progress is None:
            return
        metrics = trainer.callback_metrics
        self._remember(metrics, trainer.current_epoch + 1)
        shown = [f"{label} {float(metrics[name]):.4f}" for name, label in SHOWN.items() if name in metrics]
        if self._best[1]:
            shown.append(f"best {self._best[1]}")
        self._progress.update(self._progress.task_ids[0], advance=1, description="  ".join(shown))

    def _remember(self, metrics: Any, epoch: int) -> None:
        loss = float(metrics.get("val/log_loss", float("inf")))
        if loss < self._best[0]:
            self._best = (loss, epoch)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the bar; its last state stays on the terminal."""
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Close the bar, so that what follows is not drawn over."""
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
