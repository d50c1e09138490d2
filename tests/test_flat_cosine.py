"""Weight decay and dropout that end half-way through the second half of a training."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from made import made_prepared

from churnlib import ChurnDataModule, ChurnModule
from churnlib.models.dropout import Dropout
from churnlib.models.schedules import flat_cosine_factor
from churnlib.training.flat_cosine import FlatCosine

SMALL = {"_target_": "churnlib.models.realmlp.RealMLP", "hidden_sizes": [8], "dropout": 0.4}


class Record(L.Callback):
    """Notes what each step was made with."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        (layer,) = (module for module in pl_module.modules() if isinstance(module, Dropout))
        self.seen.append((trainer.optimizers[0].param_groups[0]["weight_decay"], layer.p))


def fitted(*callbacks, max_epochs: int = 4, ckpt_path=None, steps: int | None = None):
    def adamw(groups):
        return torch.optim.AdamW(groups, lr=0.01, weight_decay=0.2)

    torch.manual_seed(0)
    module = ChurnModule(SMALL, optimizer=adamw)
    trainer = L.Trainer(
        max_epochs=max_epochs, max_steps=steps or -1, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[*callbacks],
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
    )  # fmt: skip
    trainer.fit(module, ChurnDataModule(made_prepared(200), batch_size=35), ckpt_path=ckpt_path)
    return module


def test_both_stay_for_half_of_the_steps_and_end_at_nothing():
    record = Record()
    module = fitted(FlatCosine(), record)
    n = len(record.seen)
    assert n == 16
    for step, (decay, dropout) in enumerate(record.seen):
        assert decay == pytest.approx(0.2 * flat_cosine_factor(step / n))
        assert dropout == pytest.approx(0.4 * flat_cosine_factor(step / n))
    assert record.seen[8] == (0.2, 0.4) and record.seen[-1][0] < 0.02
    (layer,) = (one for one in module.modules() if isinstance(one, Dropout))
    assert layer.p == 0.4  # for the next training


def test_each_can_be_left_as_it_is():
    record = Record()
    fitted(FlatCosine(weight_decay=False), record, max_epochs=2)
    assert {decay for decay, _ in record.seen} == {0.2} and record.seen[-1][1] < 0.4
    record = Record()
    fitted(FlatCosine(dropout=False), record, max_epochs=2)
    assert {dropout for _, dropout in record.seen} == {0.4} and record.seen[-1][0] < 0.2


def test_a_resumed_run_goes_on_where_it_stood(tmp_path):
    whole, resumed = Record(), Record()
    fitted(FlatCosine(), whole)

    class Stop(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            trainer.should_stop = trainer.current_epoch == 2

    fitted(FlatCosine(), Stop(), ModelCheckpoint(dirpath=tmp_path, save_last=True))
    fitted(FlatCosine(), resumed, ModelCheckpoint(dirpath=tmp_path), ckpt_path=tmp_path / "last.ckpt")
    torch.testing.assert_close(torch.tensor(resumed.seen), torch.tensor(whole.seen[12:]))
