"""Averages of the weights along the way: often better than the last of them, above all where steps stay large.

Exponential averages (Polyak and Juditsky 1992) forget old weights; equal ones (stochastic weight averaging, Izmailov et
al. 2018, arXiv 1803.05407) take all from a certain epoch on. Lightning has a callback for both; it takes its averages
whenever ``on_train_batch_end`` is called, which chunks of steps have only once for all of them, and averages whole
numbers (row counts, chosen columns) as if they were weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor

from churnlib.models.module import ChurnModule

KINDS = ("exponential", "equal")


class WeightAveraging(L.Callback):
    """Keeps an average of the weights beside them; validation, checkpoints and the end of the run see the average.

    Between an epoch's validation and the next epoch's first step the module *is* the average: early stopping, the best
    epoch and whatever else looks at the end of an epoch judge it, and a checkpoint's ``state_dict`` holds it. The
    weights that training goes on from are the callback's own state, so a resumed run ends as the whole one.

    Running statistics of batch normalisation are averaged like the weights: they move as slowly as these, so their
    average is close to the statistics of the averaged network, at no cost. (Computing them anew would take a pass over
    the training rows after every epoch.) Buffers of whole numbers and truth values are taken over as they are.

    Args:
        kind: ``exponential`` or ``equal``.
        decay: Of the exponential average: share of the old average that a step keeps, in (0, 1). The first steps keep
            less, ``(1 + n) / (10 + n)`` after ``n`` steps, so that the initial weights are soon forgotten.
        start: Of the equal average: share of the epochs that pass before it begins, in [0, 1).

    Raises:
        ValueError: If an argument is outside its range.
    """

    def __init__(self, kind: str = "exponential", *, decay: float = 0.99, start: float = 0.5) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if not 0.0 < decay < 1.0:
            raise ValueError(f"decay must be between 0 and 1, got {decay}")
        if not 0.0 <= start < 1.0:
            raise ValueError(f"start must be in [0, 1), got {start}; 0.5 is the second half of the epochs")
        self.kind, self.decay, self.start = kind, decay, start
        self.n_averaged = 0
        self._other: dict[str, Tensor] = {}  # the average while training, the weights while the module is the average
        self._stepped = False
        self._is_average = False

    # --- along the steps --------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Refuse a module that does not say when it steps."""
        if not isinstance(pl_module, ChurnModule):
            raise TypeError(f"WeightAveraging follows the steps of a ChurnModule, got {type(pl_module).__name__}")

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Go on from the weights, not from their average."""
        # Asking a module for its state takes longer than averaging it; the tensors stay the same.
        self._now = {name: tensor.detach() for name, tensor in pl_module.state_dict().items()}
        if self._is_average:
            self._swap()

    def on_step_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the weights that the step before has left into the average; called by the module."""
        self._take(trainer)
        self._stepped = True

    def _take(self, trainer: L.Trainer) -> None:
        if not self._stepped:
            return
        self._stepped = False
        if self.kind == "equal" and trainer.current_epoch < self.start * (trainer.max_epochs or 0):
            return
        now = self._now
        if not self._other:
            self._other = {name: tensor.clone() for name, tensor in now.items()}
        share = self._share_of_new()
        floating = [name for name, tensor in now.items() if tensor.is_floating_point()]
        averages, weights = ([state[name] for name in floating] for state in (self._other, now))
        torch._foreach_lerp_(averages, weights, share)  # pyright: ignore[reportPrivateImportUsage]
        for name in now.keys() - set(floating):
            self._other[name].copy_(now[name])
        self.n_averaged += 1

    def _share_of_new(self) -> float:
        n = self.n_averaged
        return 1.0 / (n + 1) if self.kind == "equal" else 1.0 - min(self.decay, (1 + n) / (10 + n))

    # --- where an epoch is judged -----------------------------------------------------------------------------------

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the validation see the average."""
        self._show(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the checkpoint see the average, after an epoch without validation too."""
        self._show(trainer)

    def _show(self, trainer: L.Trainer) -> None:
        if self._is_average or trainer.sanity_checking:
            return
        self._take(trainer)
        if self._other:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, tensor in self._now.items():
            kept = self._other[name].to(tensor.device, copy=True)
            self._other[name] = tensor.clone()
            tensor.copy_(kept)
        self._is_average = not self._is_average

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return {"n_averaged": self.n_averaged, "is_average": self._is_average, "other": dict(self._other)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:  # noqa: D102
        self.n_averaged, self._is_average = state_dict["n_averaged"], state_dict["is_average"]
        self._other = dict(state_dict["other"])
