"""Several optimizer steps in one of Lightning's batches, where nothing would notice.

Around each batch Lightning calls some thirty hooks, which together take about a millisecond; a step of a small network
takes little more. So :class:`~churnlib.models.module.ChurnModule` gets its batches in chunks and steps through each by
itself ("manual optimization"), doing in the same order what Lightning does: backward, unscale, clip, step, schedule.
"""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import (
    Checkpoint,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
)
from lightning.pytorch.utilities.model_helpers import is_overridden

CHUNK = 32
"""Optimizer steps in one of Lightning's batches: its cost all but vanishes, and Ctrl-C still works within a second."""

BATCH_HOOKS = ("on_train_batch_start", "on_train_batch_end", "on_before_zero_grad")
"""Hooks that are called once per chunk, or not at all, when the module steps by itself."""


def can_chunk(trainer: L.Trainer, module: L.LightningModule) -> bool:
    """Whether several steps at once give what single ones would: nobody counts, watches or limits batches."""
    plain = (
        trainer.accumulate_grad_batches == 1
        and trainer.max_steps == -1
        and trainer.max_epochs != -1
        and trainer.limit_train_batches == 1.0
        and trainer.val_check_interval == 1.0
        and not trainer.overfit_batches  # type: ignore[attr-defined]
        and trainer.world_size == 1
    )
    watched = any(is_overridden(hook, module, L.LightningModule) for hook in BATCH_HOOKS)
    return plain and not watched and not any(_watches(callback) for callback in trainer.callbacks)  # type: ignore[attr-defined]


def _watches(callback: L.Callback) -> bool:
    """Whether a callback does something at every batch."""
    if isinstance(callback, ModelCheckpoint):
        return bool(callback._every_n_train_steps) or callback._train_time_interval is not None
    if isinstance(callback, LearningRateMonitor):
        return callback.logging_interval != "epoch"
    if isinstance(callback, ProgressBar | ModelSummary | Checkpoint):
        return False
    return any(is_overridden(hook, callback, L.Callback) for hook in BATCH_HOOKS)


def share_step_count(checkpoint: dict[str, Any]) -> None:
    """Tell both of Lightning's loops how many steps were made, in place.

    Each counts only its own steps. A run may be resumed by the other one: a callback that watches batches was added.
    """
    loops = checkpoint.get("loops", {}).get("fit_loop")
    if loops is not None:
        made = {"ready": checkpoint["global_step"], "completed": checkpoint["global_step"]}
        by_module = loops["epoch_loop.manual_optimization.optim_step_progress"]
        by_lightning = loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
        for progress in (by_module, by_lightning):
            progress["total"].update(made)
