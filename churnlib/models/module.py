"""The one LightningModule that trains any network; it owns the loss, the metrics and the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAUROC,
    MulticlassAveragePrecision,
)

from churnlib.models.network import ChurnNetwork, build_network, network_spec
from churnlib.models.parameter_groups import fused, parameter_groups, scaled
from churnlib.models.weights import class_weights

OptimizerFactory = Callable[[Any], torch.optim.Optimizer]
SchedulerFactory = Callable[[torch.optim.Optimizer, int], Any]

INITIAL_ROWS = 8_192
"""Training rows by which a network places its bins and scales before the first step."""


class ChurnModule(L.LightningModule):
    """Trains a network on a :class:`~churnlib.data.datamodule.ChurnDataModule`.

    The network is built when the trainer has read the data, because its sizes depend on them.

    Logged once per epoch: ``train/loss``, ``val/log_loss`` (unweighted), ``val/roc_auc``, ``val/average_precision``.

    Example::

        data = ChurnDataModule("customers.csv", target="churn")
        module = ChurnModule("tabnet")
        lightning.Trainer(max_epochs=30).fit(module, data)

    Args:
        network: ``mlp``, ``tabnet``, or a mapping with ``_target_`` (a class) and its arguments.
        pos_weight: Weight of a churner's loss: a number, ``"balanced"`` (as much weight for churners as for stayers),
            or None for 1. With more than two classes only ``"balanced"``. Probabilities stay those of the unweighted
            data: the weight's effect is taken off the logits.
        optimizer: From parameter groups to an optimizer; AdamW with a rate of 1e-3 when None. Not kept in checkpoints.
        scheduler: From the optimizer and the number of steps to Lightning's ``lr_scheduler`` dictionary. Not kept.
    """

    def __init__(
        self,
        network: str | Mapping[str, Any] = "mlp",
        *,
        pos_weight: float | str | None = None,
        optimizer: OptimizerFactory | None = None,
        scheduler: SchedulerFactory | None = None,
    ) -> None:
        super().__init__()
        class_weights(pos_weight, np.ones(2))  # a wrong weight is refused now, not when the data are read
        self.spec = network_spec(network)
        self.save_hyperparameters({"network": self.spec, "pos_weight": pos_weight})
        self.pos_weight = pos_weight
        self._optimizer = optimizer
        self._scheduler = scheduler
        self.network: ChurnNetwork | None = None
        self.built_from: dict[str, Any] = {}

    # --- building ---------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Build the network from the data's sizes, unless a checkpoint already did."""
        if self.network is None:
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            weights = class_weights(self.pos_weight, data.class_counts())
            self.build(data.input_spec(), class_weights=weights)
            assert self.network is not None
            if hasattr(data, "sample"):
                self.network.initialize(*data.sample(INITIAL_ROWS))

    def build(self, input_spec: Mapping[str, Any], *, class_weights: list[float]) -> None:
        """Build the network with fresh weights.

        Args:
            input_spec: Arguments of the input layer.
            class_weights: Weight of each class in the loss, one per class.
        """
        self.built_from = {"input_spec": dict(input_spec), "class_weights": class_weights}
        shift = np.log(class_weights)
        offset = (shift[1:] - shift[:1]) if len(class_weights) == 2 else shift
        self.network = build_network(
            self.spec, input_spec, n_classes=len(class_weights), offset=[float(value) for value in offset]
        )
        self.register_buffer("class_weights", torch.tensor(class_weights, dtype=torch.float32), persistent=False)
        self._build_metrics(len(class_weights))

    def _build_metrics(self, n_classes: int) -> None:
        """Accumulators on the device; checks of their values are off, because they wait for the device."""
        options: dict[str, Any] = {"validate_args": False}
        if n_classes > 2:
            options |= {"num_classes": n_classes, "average": "macro"}
        binary = n_classes == 2
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.val_log_loss = MeanMetric(nan_strategy="disable")
        self.val_roc_auc = BinaryAUROC(**options) if binary else MulticlassAUROC(**options)
        self.val_average_precision = (
            BinaryAveragePrecision(**options) if binary else MulticlassAveragePrecision(**options)
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the network was built from, and where the random numbers (dropout) stand."""
        checkpoint["churnlib"] = {**self.built_from, "rng_state": torch.get_rng_state()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network that the weights belong to, and go on with the same random numbers."""
        state = checkpoint["churnlib"]
        if self.network is None:
            self.build(state["input_spec"], class_weights=state["class_weights"])
        self._rng_state = state["rng_state"]

    def on_train_start(self) -> None:
        """Continue the interrupted run's random numbers."""
        if self.trainer.ckpt_path is not None and hasattr(self, "_rng_state"):
            torch.set_rng_state(self._rng_state.cpu())

    # --- steps ------------------------------------------------------------------------------------------------------

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return logits, ``(batch,)`` for two classes, ``(batch, n_classes)`` for more, float32."""
        assert self.network is not None
        return self.network(numeric, codes)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean weighted loss of a batch, in float32 whatever the trainer's precision."""
        assert self.network is not None
        numeric, codes, label = batch
        logits, penalty = self.network.forward_with_penalty(numeric, codes)
        if len(logits) > len(label):  # the members of a network, each with a loss of its own
            label = label.repeat_interleave(len(logits) // len(label))
        loss = classification_loss(logits, label, self.class_weights)  # type: ignore[arg-type]
        self.train_loss.update(loss.detach(), len(label))
        return loss + penalty

    def on_train_epoch_start(self) -> None:
        """Choose the epoch's order of rows."""
        set_epoch = getattr(self.trainer.train_dataloader, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.current_epoch)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss."""
        self.log("train/loss", self.train_loss.compute(), prog_bar=True)
        self.train_loss.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> None:
        """Collect logits; everything is computed once, at the end of the epoch."""
        numeric, codes, label = batch
        logits = self(numeric, codes)
        self.val_log_loss.update(classification_loss(logits, label), len(label))
        probability = logits.sigmoid() if logits.ndim == 1 else logits.softmax(1)
        self.val_roc_auc.update(probability, label)
        self.val_average_precision.update(probability, label)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        for name in ("log_loss", "roc_auc", "average_precision"):
            metric = getattr(self, f"val_{name}")
            self.log(f"val/{name}", metric.compute(), prog_bar=name != "average_precision")
            metric.reset()

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Return logits."""
        return self(batch[0], batch[1])

    def configure_optimizers(self) -> Any:  # noqa: D102
        assert self.network is not None
        make = self._optimizer or (lambda groups: torch.optim.AdamW(groups, lr=1e-3))
        optimizer = fused(scaled(make(parameter_groups(self.network))))
        if self._scheduler is None:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": self._scheduler(optimizer, steps)}


def classification_loss(logits: Tensor, label: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy.

    Args:
        logits: ``(batch,)`` for two classes, ``(batch, n_classes)`` for more, float32.
        label: ``(batch,)`` int64.
        weights: ``(n_classes,)`` weight of each class; for two classes ``(1, pos_weight)``.
    """
    if logits.ndim == 2:
        return F.cross_entropy(logits, label, weight=weights)
    pos_weight = None if weights is None else weights[1]
    return F.binary_cross_entropy_with_logits(logits, label.to(logits.dtype), pos_weight=pos_weight)
