"""The one LightningModule that trains any network; it owns the loss, the metrics and the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAUROC,
    MulticlassAveragePrecision,
)

from churnlib.models.augmentation import Augmentation
from churnlib.models.hazards import HazardLoss
from churnlib.models.losses import TrainingLoss, loss_spec, training_loss
from churnlib.models.network import ChurnNetwork, build_network, network_spec
from churnlib.models.parameter_groups import fused, parameter_groups, scaled
from churnlib.models.stepping import CHUNK, can_chunk, share_step_count

OptimizerFactory = Callable[[Any], torch.optim.Optimizer]
SchedulerFactory = Callable[[torch.optim.Optimizer, int], Any]

NEVER = 10**12
"""Epochs between two steps of a schedule that the module moves itself."""
INITIAL_ROWS = 8_192
"""Training rows by which a network places its bins and scales before the first step."""


class ChurnModule(L.LightningModule):
    """Trains a network on a :class:`~churnlib.data.datamodule.ChurnDataModule`, or on data loaders of your own.

    The network is built when the trainer has read the data, because its sizes depend on them.

    Logged once per epoch: ``train/loss``, ``train/log_loss`` and ``val/log_loss`` (both unweighted, of log-odds),
    ``val/roc_auc``, ``val/average_precision``. Where it is learned when customers leave, the log losses are the
    negative log-likelihood of a customer, and the other two are left out.

    Example::

        data = ChurnDataModule("customers.csv", target="churn")
        module = ChurnModule("tabnet")
        lightning.Trainer(max_epochs=30).fit(module, data)

    Data loaders of your own (any ``Dataset`` with a ``DataLoader``) give ``(numeric, codes, label)``, or with a fourth
    tensor how much each row counts: ``(batch, n_numeric)`` float32 with NaN for missing, ``(batch, n_categorical)``
    int64, ``(batch,)`` int64, ``(batch,)`` float32. Say first what the columns are::

        module = ChurnModule("mlp")
        module.build(input_spec, class_counts=[5_000, 1_200])  # arguments of InputLayer; training rows per class
        lightning.Trainer(max_epochs=30).fit(module, train_loader, validation_loader)

    Attributes:
        curve: A mapping for each epoch that was trained: ``epoch`` (from 1), ``learning_rate`` (after it) and what was
            logged.

    Args:
        network: ``mlp``, ``tabnet``, or a mapping with ``_target_`` (a class) and its arguments.
        loss: A name of :data:`~churnlib.models.losses.LOSSES`, or a mapping with ``name`` and its options.
            Probabilities stay those of the data: what a loss does to the classes' balance is taken off the logits.
        augment: Arguments of :class:`~churnlib.models.augmentation.Augmentation`; None for none.
        optimizer: From parameter groups to an optimizer; AdamW with a rate of 1e-3 when None. The fused step is used
            where the optimizer has one and was not told otherwise. Not kept in checkpoints.
        scheduler: From the optimizer and the number of steps to Lightning's ``lr_scheduler`` dictionary. Not kept.
        chunk: Optimizer steps at a call of ``training_step``, see :mod:`churnlib.models.stepping`; 1 for Lightning's
            own loop, which is also used whenever something depends on single batches.
    """

    def __init__(
        self,
        network: str | Mapping[str, Any] = "mlp",
        *,
        loss: str | Mapping[str, Any] = "bce",
        augment: Mapping[str, float] | None = None,
        optimizer: OptimizerFactory | None = None,
        scheduler: SchedulerFactory | None = None,
        chunk: int = CHUNK,
    ) -> None:
        super().__init__()
        self.spec = network_spec(network)
        self.loss_spec = loss_spec(loss)
        self.augment = Augmentation(**(augment or {}))
        self.save_hyperparameters(
            {"network": self.spec, "loss": self.loss_spec, "augment": dict(augment) if augment else None}
        )
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._wanted_chunk = chunk
        self.chunk = 1
        self.curve: list[dict[str, float]] = []
        self._rng_states: dict[str, Tensor] = {}
        self.network: ChurnNetwork | None = None
        self.built_from: dict[str, Any] = {}

    # --- building ---------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Build the network from the data's sizes, unless a checkpoint already did; choose who steps."""
        data = getattr(self.trainer, "datamodule", None)
        if self.network is None:
            if data is None:
                raise RuntimeError(
                    "the network's sizes are not known: with data loaders of your own call "
                    "module.build(input_spec, class_counts=...) before the trainer"
                )
            ratios = data.class_ratios() if hasattr(data, "class_ratios") else None
            hazards = data.hazards() if hasattr(data, "hazards") else None
            self.build(data.input_spec(), class_counts=data.class_counts(), ratios=ratios, hazards=hazards)
            assert self.network is not None
            if hasattr(data, "sample"):
                self.network.initialize(*data.sample(INITIAL_ROWS))
        if stage == "fit":
            # The data module reads `chunk` when it makes the batches.
            own = type(self).training_step is ChurnModule.training_step  # a subclass may expect single batches
            by_itself = self._wanted_chunk > 1 and own and data is not None and can_chunk(self.trainer, self)
            self.chunk = self._wanted_chunk if by_itself else 1
            self.automatic_optimization = self.chunk == 1
            self.curve = []
            callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
            self._step_hooks = [callback.on_step_start for callback in callbacks if hasattr(callback, "on_step_start")]

    def build(
        self,
        input_spec: Mapping[str, Any],
        *,
        class_counts: Sequence[int] | np.ndarray,
        ratios: Sequence[float] | None = None,
        hazards: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        """Build the network with fresh weights.

        Args:
            input_spec: Arguments of the input layer.
            class_counts: Training rows of each class, as they are learned from.
            ratios: For rows that were resampled, how often each class is seen for each time that it comes among
                customers; the logarithm is taken off the logits again.
            hazards: Of a network that learns when customers leave: the share of the training rows that does in each
                interval of time, of those who are there when it begins. Labels are then as
                :func:`churnlib.models.hazards.hazard_loss` takes them, and the loss is the log-likelihood.
        """
        counts = [int(count) for count in class_counts]
        ratios = None if ratios is None else [float(ratio) for ratio in ratios]
        hazards = None if hazards is None else [float(hazard) for hazard in hazards]
        self.built_from = {
            "input_spec": dict(input_spec), "class_counts": counts, "ratios": ratios, "hazards": hazards
        }  # fmt: skip
        self.loss: TrainingLoss | HazardLoss
        self.loss = training_loss(self.loss_spec, counts, ratios) if hazards is None else HazardLoss(hazards)
        self.network = build_network(
            self.spec,
            input_spec,
            n_classes=len(counts),
            n_intervals=None if hazards is None else len(hazards),
            offset=self.loss.offset,
        )
        self._build_metrics(len(counts))

    def _build_metrics(self, n_classes: int) -> None:
        """Accumulators on the device; checks of their values are off, because they wait for the device."""
        options: dict[str, Any] = {"validate_args": False}
        if n_classes > 2:
            options |= {"num_classes": n_classes, "average": "macro"}
        binary = n_classes == 2
        self.val_log_loss = MeanMetric(nan_strategy="disable")
        self.val_roc_auc = BinaryAUROC(**options) if binary else MulticlassAUROC(**options)
        self.val_average_precision = (
            BinaryAveragePrecision(**options) if binary else MulticlassAveragePrecision(**options)
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the network was built from, and where the random numbers (dropout) stand."""
        rng_states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng_states["cuda"] = torch.cuda.get_rng_state(self.device)
        checkpoint["churnlib"] = {**self.built_from, "rng_states": rng_states, "curve": self.curve}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network that the weights belong to, and go on with the same random numbers."""
        state = checkpoint["churnlib"]
        if self.network is None:
            self.build(
                state["input_spec"],
                class_counts=state["class_counts"],
                ratios=state.get("ratios"),
                hazards=state.get("hazards"),
            )
        share_step_count(checkpoint)
        self._rng_states = state["rng_states"]
        self.curve = [dict(epoch) for epoch in state["curve"]]

    def on_train_start(self) -> None:
        """Continue the interrupted run's random numbers."""
        if self.trainer.ckpt_path is not None and self._rng_states:
            torch.set_rng_state(self._rng_states["cpu"].cpu())
            if self.device.type == "cuda" and "cuda" in self._rng_states:
                torch.cuda.set_rng_state(self._rng_states["cuda"].cpu(), self.device)

    # --- steps ------------------------------------------------------------------------------------------------------

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return logits, ``(batch,)`` for two classes, else one per class or interval, float32."""
        assert self.network is not None
        return self.network(numeric, codes)

    def on_train_epoch_start(self) -> None:
        """Choose the epoch's order of rows, and start its sums."""
        set_epoch = getattr(self.trainer.train_dataloader, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.current_epoch)
        # They stay on the device until the epoch is over.
        self._loss_sum = torch.zeros((), device=self.device)
        self._log_loss_sum = torch.zeros((), device=self.device)
        self._rows = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Return the mean loss of a batch in float32 whatever the trainer's precision; step through a chunk."""
        if self.automatic_optimization:
            self._announce_step()
            return self._loss(batch)
        optimizer: Any = self.optimizers()
        scheduler = self._schedule["scheduler"] if self._schedule.get("interval") == "step" else None
        for one in batch:
            self._announce_step()
            loss = self._loss(one)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        return None

    def _announce_step(self) -> None:
        """Call ``on_step_start(trainer, module)`` of the callbacks that have it, whoever steps."""
        for hook in self._step_hooks:
            hook(self.trainer, self)

    def _loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Return what to minimise: the mean loss of the rows and the network's penalty."""
        assert self.network is not None
        numeric, codes, label, *weight = batch
        row_weight = weight[0] if weight else None
        mix = self.augment.draw(len(label), label.device) if self.augment else None
        if mix is None:
            logits, penalty = self.network.forward_with_penalty(numeric, codes)
        else:
            logits, penalty = self.network.forward_with_penalty(*self.augment.swap_columns(numeric, codes), mix)
        loss = self._mean_loss(logits, label, row_weight)
        plain = self.loss.is_plain and row_weight is None and mix is None
        log_loss = loss if plain else _by_member(self.loss.log_loss, logits.detach(), label).mean()
        if mix is not None and mix.share < 1:
            partner_weight = None if row_weight is None else row_weight[mix.partner]
            loss = loss.lerp(self._mean_loss(logits, label[mix.partner], partner_weight), 1 - mix.share)
        # Nothing here waits for the device.
        self._loss_sum.add_(loss.detach(), alpha=len(label))
        self._log_loss_sum.add_(log_loss.detach(), alpha=len(label))
        self._rows += len(label)
        return loss + penalty

    def _mean_loss(self, logits: Tensor, label: Tensor, row_weight: Tensor | None) -> Tensor:
        rows = _by_member(self.loss, logits, label)
        return rows.mean() if row_weight is None else (rows * row_weight).mean()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients of a chunk's step as the trainer was told; Lightning does it for its own steps."""
        if not self.automatic_optimization and self.trainer.gradient_clip_val:
            self.trainer.precision_plugin.clip_gradients(
                optimizer,
                self.trainer.gradient_clip_val,
                self.trainer.gradient_clip_algorithm or GradClipAlgorithmType.NORM,
            )

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means, and move a schedule that goes by epochs: before the checkpoint, so that it knows."""
        if self._rows:
            self.log("train/loss", self._loss_sum / self._rows, prog_bar=True)
            self.log("train/log_loss", self._log_loss_sum / self._rows)
            self._keep_curve()
        if self._schedule.get("interval") == "epoch":
            scheduler = self._schedule["scheduler"]
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(self.trainer.callback_metrics[self._schedule["monitor"]])
            else:
                scheduler.step()

    def _keep_curve(self) -> None:
        """Add the epoch to the learning curve, once its validation is over as well."""
        metrics = self.trainer.callback_metrics
        shown = {name: float(value) for name, value in metrics.items() if name.startswith("val/")}
        train = {"train/loss": self._loss_sum, "train/log_loss": self._log_loss_sum}
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        means = {name: float(total) / self._rows for name, total in train.items()}
        self.curve.append({"epoch": self.current_epoch + 1, "learning_rate": float(rate), **means, **shown})

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Collect logits; everything is computed once, at the end of the epoch."""
        numeric, codes, label = batch[:3]
        logits = self(numeric, codes)
        self.val_log_loss.update(self.loss.held_out(logits, label).mean(), len(label))
        if self._learns_when:
            return
        probability = logits.sigmoid() if logits.ndim == 1 else logits.softmax(1)
        self.val_roc_auc.update(probability, label)
        self.val_average_precision.update(probability, label)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        for name in ("log_loss",) if self._learns_when else ("log_loss", "roc_auc", "average_precision"):
            metric = getattr(self, f"val_{name}")
            self.log(f"val/{name}", metric.compute(), prog_bar=name != "average_precision")
            metric.reset()

    @property
    def _learns_when(self) -> bool:
        """Whether the labels are times: areas under curves of classes are not for them."""
        return isinstance(self.loss, HazardLoss)

    def predict_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Return logits."""
        return self(batch[0], batch[1])

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimizer of the network's parameters, with the rates that schedules start from."""
        assert self.network is not None
        make = self._optimizer or (lambda groups: torch.optim.AdamW(groups, lr=1e-3))
        return scaled(make(parameter_groups(self.network)))

    def configure_optimizers(self) -> Any:  # noqa: D102
        optimizer = fused(self.make_optimizer())
        self._schedule: dict[str, Any] = {}
        if self._scheduler is None:
            return optimizer
        self._schedule = {"interval": "epoch", **self._scheduler(optimizer, self.total_steps())}
        if not self.automatic_optimization:
            return {"optimizer": optimizer, "lr_scheduler": self._schedule["scheduler"]}
        by_epoch = {"frequency": NEVER} if self._schedule["interval"] == "epoch" else {}
        return {"optimizer": optimizer, "lr_scheduler": {**self._schedule, **by_epoch}}

    def total_steps(self) -> int:
        """Return the optimizer steps of the whole training; the trainer itself may count chunks of them."""
        steps = self.trainer.estimated_stepping_batches  # reads the data, if nobody did
        if steps in (-1, float("inf")):
            raise ValueError("a learning rate schedule needs an end: set the trainer's max_epochs or max_steps")
        if self.chunk == 1:
            return int(steps)
        return self.trainer.train_dataloader.n_batches * (self.trainer.max_epochs or 1)  # type: ignore[union-attr]


def _by_member(rows: Callable[[Tensor, Tensor], Tensor], logits: Tensor, label: Tensor) -> Tensor:
    """Return the loss of each row, ``(batch,)``, as the mean over a network's members.

    Args:
        rows: From logits and labels to a loss each.
        logits: ``(batch * k,)`` or ``(batch * k, n_classes)``, the members of row 0 first; mostly k is 1.
        label: ``(batch,)`` int64.
    """
    members = len(logits) // len(label)
    if members == 1:
        return rows(logits, label)
    return rows(logits, label.repeat_interleave(members, dim=0)).view(-1, members).mean(1)
