"""Pretraining a network without labels, before it is fitted to them."""

from __future__ import annotations

import lightning as L
import torch
from torch import Tensor

from churnlib.config import PretrainConfig, TrainConfig
from churnlib.data.batches import IndexBatches
from churnlib.data.preparation import Encoded
from churnlib.models.network import ChurnNetwork
from churnlib.models.schedules import cosine
from churnlib.models.tabnet_pretraining import TabNetPretraining, draw_hidden
from churnlib.noise import quiet


class PretrainingModule(L.LightningModule):
    """Trains input layer and body of a network to guess hidden columns; see `churnlib.models.tabnet_pretraining`.

    Args:
        network: With a :class:`~churnlib.models.tabnet.TabNet` as its body; changed in place.
        options: Share of hidden columns, rate.
        seed: Of the hidden columns and of the decoder's initial weights.
    """

    def __init__(self, network: ChurnNetwork, options: PretrainConfig, *, seed: int) -> None:
        super().__init__()
        # On the host, so that every device sees the same columns hidden.
        self._generator = torch.Generator().manual_seed(seed)
        self.inputs = network.inputs
        self.pretraining = TabNetPretraining(network.body, generator=self._generator)  # type: ignore[arg-type]
        self.options = options
        self.losses: list[float] = []
        """Mean loss of each epoch; 1 is what guessing each column's mean gets."""
        self._running: list[Tensor] = []

    def on_train_epoch_start(self) -> None:
        """Choose the epoch's order of rows."""
        self.trainer.train_dataloader.set_epoch(self.current_epoch)  # type: ignore[union-attr]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch ``(numeric, codes)``."""
        x = self.inputs(*batch)
        columns = self.pretraining.encoder.n_groups
        hidden = draw_hidden(columns, len(x), self.options.mask_share, self._generator)
        loss = self.pretraining(x, hidden.to(x.device))
        self._running.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        """Keep the epoch's mean loss; the device is waited for once."""
        self.losses.append(float(torch.stack(self._running).mean()))
        self._running.clear()

    def configure_optimizers(self) -> dict:  # noqa: D102
        optimizer = torch.optim.Adam((p for p in self.parameters() if p.requires_grad), lr=self.options.lr)
        return {"optimizer": optimizer, "lr_scheduler": cosine(optimizer, int(self.trainer.estimated_stepping_batches))}


@quiet()
def pretrain(network: ChurnNetwork, rows: Encoded, config: TrainConfig) -> list[float]:
    """Pretrain a network in place.

    Args:
        network: With a TabNet as its body.
        rows: Training rows and unlabelled ones.
        config: The run's options, ``config.pretrain`` among them.

    Returns:
        The mean loss of each epoch.
    """
    options = config.pretrain
    tensors = [torch.from_numpy(rows.numeric), torch.from_numpy(rows.codes)]
    batches = IndexBatches(tensors, batch_size=options.batch_size, shuffle=True, seed=config.seed)
    module = PretrainingModule(network, options, seed=config.seed)
    trainer = L.Trainer(
        max_epochs=options.passes,
        accelerator=config.trainer.accelerator,
        devices=1,
        gradient_clip_val=config.trainer.gradient_clip_val,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, batches)
    if trainer.interrupted:
        raise KeyboardInterrupt  # Lightning ends the loop quietly; the run must not go on with half of it
    return module.losses
