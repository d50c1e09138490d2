"""Training one network with Lightning, and bringing back its best weights."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from churnlib.build import build_callbacks, build_logger, build_optimizer, build_scheduler, close_logger
from churnlib.config import TrainConfig, loss_options
from churnlib.data.preparation import Encoded
from churnlib.models.network_model import NetworkModel
from churnlib.noise import quiet
from churnlib.training.checkpoints import AtomicCheckpointIO, StayStopped
from churnlib.training.compiling import CompileWhenLong
from churnlib.training.fitted import Fit
from churnlib.training.precision import resolve_precision

if TYPE_CHECKING:
    import lightning as L

    from churnlib.data.datamodule import ChurnDataModule
    from churnlib.models.module import ChurnModule


def fit(config: TrainConfig, data: ChurnDataModule, folder: Path, *, unlabelled: Encoded | None = None) -> Fit:
    """Train the configured network.

    Args:
        config: The run's options.
        data: The customers.
        folder: The run's folder; checkpoints and logs are written there.
        unlabelled: Rows to pretrain on; a run that goes on from a checkpoint has done so.
    """
    import lightning as L

    from churnlib.models.module import ChurnModule

    if config.trainer.threads is not None:
        torch.set_num_threads(config.trainer.threads)
    # The application's seed: initial weights and dropout. The split and the batches have their own generators.
    L.seed_everything(config.seed, verbose=False)
    module = ChurnModule(
        config.model,
        loss=loss_options(config.loss),
        augment=asdict(config.augment),
        optimizer=build_optimizer(config.optimizer),
        scheduler=build_scheduler(config.scheduler),
    )
    started_at = _epochs_done(config.ckpt_path)
    if unlabelled is not None and config.ckpt_path is None:
        _pretrain(module, config, data, unlabelled)
    trainer, seconds = run_trainer(config, module, data, folder)
    restore_best(module, trainer)
    epochs = trainer.current_epoch
    rows = len(data.learning_rows) * (epochs - started_at)
    network = module.cpu().network
    assert network is not None
    model = NetworkModel(network, module.spec, module.built_from["input_spec"])
    compiler = next(one for one in trainer.callbacks if isinstance(one, CompileWhenLong))  # type: ignore[attr-defined]
    return Fit(model, epochs, seconds, rows / max(seconds, 1e-9), module.curve, compiler.decision)


@quiet()
def run_trainer(
    config: TrainConfig, module: L.LightningModule, data: L.LightningDataModule, folder: Path
) -> tuple[L.Trainer, float]:
    """Train to the end; return the trainer and the seconds of its loop.

    Raises:
        KeyboardInterrupt: If somebody stopped it.
    """
    logger = build_logger(config.logger, folder)
    finished = False
    try:
        trainer = _trainer(config, logger, folder)
        start = time.perf_counter()
        trainer.fit(module, data, ckpt_path=config.ckpt_path, weights_only=True)
        seconds = time.perf_counter() - start
        finished = not trainer.interrupted
    finally:
        close_logger(logger, failed=not finished)
    if not finished:
        raise KeyboardInterrupt  # Lightning ends the loop quietly; the run must not go on to evaluate half a model
    return trainer, seconds


def _pretrain(module: ChurnModule, config: TrainConfig, data: ChurnDataModule, unlabelled: Encoded) -> None:
    from churnlib.training.pretraining import pretrain

    counts, ratios = data.class_counts(), data.class_ratios()
    module.build(data.input_spec(), class_counts=counts, ratios=ratios, hazards=data.hazards())
    assert module.network is not None
    pretrain(module.network, unlabelled, config)


def _trainer(config: TrainConfig, logger: Any, folder: Path) -> L.Trainer:
    import lightning as L
    from lightning.pytorch.callbacks import Checkpoint

    options = config.trainer
    callbacks = [
        *build_callbacks(config.callbacks, folder, progress=options.progress),
        StayStopped(),
        CompileWhenLong(str(options.compile)),
    ]
    return L.Trainer(
        max_epochs=options.max_epochs,
        accelerator=options.accelerator,
        devices=1,
        precision=resolve_precision(options.precision, options.accelerator, config.model),  # type: ignore[arg-type]
        gradient_clip_val=options.gradient_clip_val,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        # Lightning would write checkpoints of its own where none are wanted.
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        logger=logger,
        default_root_dir=folder,
        log_every_n_steps=10**9,  # metrics are logged once per epoch; a step never waits for the device
        enable_model_summary=False,
        enable_progress_bar=options.progress,
        num_sanity_val_steps=0,
    )


def restore_best(module: ChurnModule, trainer: Any) -> None:
    """Load the weights of the best epoch, if a checkpoint callback kept them."""
    callback = trainer.checkpoint_callback
    best = callback.best_model_path if callback is not None else ""
    if best:
        state = torch.load(best, map_location="cpu", weights_only=True)
        module.load_state_dict(state["state_dict"])


def _epochs_done(ckpt_path: str | None) -> int:
    if ckpt_path is None:
        return 0
    return int(torch.load(ckpt_path, map_location="cpu", weights_only=True)["epoch"]) + 1
