"""Regularisation that ends: weight decay and dropout as they are for half of the training, then down to 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightning as L
from torch import nn

from churnlib.models.dropout import Dropout
from churnlib.models.schedules import flat_cosine_factor

if TYPE_CHECKING:
    from churnlib.models.module import ChurnModule


class FlatCosine(L.Callback):
    """Lower weight decay and dropout along half a cosine in the second half of the training (RealMLP, section 3).

    What they are lowered from is what the optimizer and the network were built with. A resumed run goes on where the
    interrupted one stood.

    Args:
        weight_decay: Lower the optimizer's weight decay.
        dropout: Lower the probability of every dropout layer, churnlib's and PyTorch's.
    """

    def __init__(self, *, weight_decay: bool = True, dropout: bool = True) -> None:
        self.weight_decay = weight_decay
        self.dropout = dropout
        self._layers: list[tuple[nn.Dropout | Dropout, float]] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        modules = pl_module.modules() if self.dropout else ()
        self._layers = [(module, module.p) for module in modules if isinstance(module, nn.Dropout | Dropout)]

    def on_step_start(self, trainer: L.Trainer, pl_module: ChurnModule) -> None:
        """Called by the module before each of its steps, in chunks or not."""
        factor = flat_cosine_factor(trainer.global_step / max(1, pl_module.total_steps()))
        for layer, start in self._layers:
            layer.p = start * factor
        for group in trainer.optimizers[0].param_groups if self.weight_decay else ():
            # Kept in the group, as torch's schedulers keep the initial rate: a checkpoint takes it along.
            start = group.setdefault("initial_weight_decay", group.get("weight_decay", 0.0))
            group["weight_decay"] = start * factor

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the layers back as they were, for another training."""
        for layer, start in self._layers:
            layer.p = start
