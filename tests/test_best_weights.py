"""The best epoch's weights, with and without files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from made import made_prepared

from churnlib.compose import compose
from churnlib.data.datamodule import ChurnDataModule
from churnlib.training.best_weights import BestWeights
from churnlib.training.fitting import fit

WORDS = [
    "logger=none", "trainer.progress=false", "trainer.max_epochs=12", "model.hidden_sizes=[16]", "optimizer.lr=0.1",
]  # fmt: skip


def fitted(folder: Path, *words: str) -> dict[str, torch.Tensor]:
    config = compose([*WORDS, *words])
    model: Any = fit(config, ChurnDataModule(made_prepared(200), batch_size=64), folder).model
    return model.network.state_dict()


def test_memory_keeps_what_the_best_checkpoint_holds_and_writes_nothing(tmp_path: Path):
    with_files, without, last = (tmp_path / name for name in ("files", "memory", "none"))
    kept = fitted(with_files, "callbacks=default")
    same = fitted(without, "callbacks=memory")
    assert kept.keys() == same.keys() and all(torch.equal(kept[name], same[name]) for name in kept)
    assert (with_files / "checkpoints" / "best.ckpt").exists() and not without.exists()
    # The rate is so high that the last epoch is not the best one.
    others = fitted(last, "callbacks=none")
    assert any(not torch.equal(kept[name], others[name]) for name in kept)
    assert not last.exists()


def test_nan_is_never_the_best():
    callback, module = BestWeights("val/log_loss"), torch.nn.Linear(1, 1)
    trainer: Any = SimpleNamespace(callback_metrics={}, sanity_checking=False)
    for value in (0.7, 0.5, np.nan, 0.6):
        torch.nn.init.constant_(module.weight, value)
        trainer.callback_metrics["val/log_loss"] = torch.tensor(value)
        callback.on_validation_end(trainer, module)  # type: ignore[arg-type]
    callback.on_train_end(trainer, module)  # type: ignore[arg-type]
    assert module.weight.item() == 0.5
