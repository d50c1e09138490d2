"""Checkpoints that a run can be killed beside: whole or not there, and enough to go on to the same end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
"""Files in the state of a checkpoint callback."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its name and renames it once it is on the disk.

    Whenever the process is killed, or the machine stops, the name stands for the old file or for the new one, never for
    half of one. (Lightning writes into the folder for temporary files and moves, which copies where that is another
    file system.)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a local path; other places (s3://, ...) are left to Lightning."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # One name per target, so that what a killed run leaves is written over by the next.
        partial = target.with_name(f".{target.name}.partial")
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)


class RunCheckpoint(ModelCheckpoint):
    """Keeps the best epoch and the last one, of a run that may be killed, moved and resumed.

    Of epochs with the same monitored value the first is the best, as it is for early stopping, whose patience a tie
    uses up: of two models that do equally well on the validation rows, the one that saw the training rows less often.

    Lightning writes ``last.ckpt`` only for epochs that are among the best, and forgets which epoch was the best when
    the folder has another name than before.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        super().on_train_epoch_end(trainer, pl_module)
        if self.save_last and self._last_global_step_saved != trainer.global_step:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing: the last epoch has been written, and a run without a further epoch must not write it anew."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what is known about the best epoch, if its file came along."""
        folder = Path(self.dirpath or ".")

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        if state_dict["best_model_path"] and Path(here(state_dict["best_model_path"])).exists():
            paths = {name: here(state_dict[name]) for name in PATHS}
            models = {here(path): score for path, score in state_dict["best_k_models"].items()}
            state_dict = {**state_dict, **paths, "dirpath": self.dirpath, "best_k_models": models}
        super().load_state_dict(state_dict)


class StayStopped(L.Callback):
    """Trains no further epoch when the checkpoint comes from a run that had stopped early.

    Early stopping keeps in its checkpoint that its patience is over, but only asks itself after an epoch.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(one, EarlyStopping) and one.wait_count >= one.patience for one in callbacks):
            trainer.should_stop = True
