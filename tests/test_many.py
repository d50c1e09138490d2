"""Several networks in one pass: each must be what it would be by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made import made_prepared

from churnlib.compose import compose
from churnlib.data.datamodule import ChurnDataModule
from churnlib.data.folds import deal_folds
from churnlib.training.fitting import fit
from churnlib.training.many import fit_many

WORDS = [
    "model=mlp_plain", "logger=none", "trainer.progress=false", "model.hidden_sizes=[16,8]", "model.dropout=0.0",
    "trainer.max_epochs=12", "trainer.batch_size=64", "optimizer.lr=0.02", "callbacks.early_stopping.patience=3",
    "trainer.threads=1",
]  # fmt: skip


def weights(one: Any) -> dict[str, torch.Tensor]:
    return {k: v for k, v in one.model.network.state_dict().items() if "num_batches_tracked" not in k}


def one_by_one(config, parts, seeds, folder: Path) -> list[Any]:
    runs = []
    for number, (part, seed) in enumerate(zip(parts, seeds, strict=True)):
        words = [*WORDS, *config, f"seed={seed}"]
        data = ChurnDataModule(part, batch_size=64, seed=seed)
        runs.append(fit(compose(words), data, folder / str(number)))
    return runs


LOSSES = {"bce": [], "balanced": ["loss.pos_weight=balanced"], "focal": ["loss=focal"]}
PAIRS = [("batch", "bce"), ("layer", "balanced"), ("null", "focal")]
"""Each norm and each loss once: neither knows of the other. The other pairs are tried among the slow tests."""


@pytest.mark.parametrize(
    ("norm", "loss"),
    [
        pytest.param(norm, loss, marks=[] if (norm, loss) in PAIRS else [pytest.mark.slow])
        for norm in ("batch", "layer", "null")
        for loss in LOSSES
    ],
)
def test_each_seed_ends_where_it_would_end_by_itself(tmp_path: Path, norm: str, loss: str):
    words, seeds, table = [f"model.norm={norm}", *LOSSES[loss]], [3, 4, 5], made_prepared(400)
    many = fit_many(compose([*WORDS, *words]), [table] * 3, seeds, tmp_path / "many")
    alone = one_by_one(words, [table] * 3, seeds, tmp_path)
    assert not (tmp_path / "many" / "members").exists(), "they were not trained in one pass"
    # Otherwise nobody would leave the stack early, and that they leave rightly would not be tested.
    assert len({one.epochs for one in alone}) > 1 or (norm, loss) != ("batch", "bce")
    for mine, its in zip(many, alone, strict=True):
        assert mine.epochs == its.epochs
        for name, value in weights(its).items():
            torch.testing.assert_close(weights(mine)[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_folds_of_equal_size_end_where_they_would_end_by_themselves(tmp_path: Path):
    folds = deal_folds(made_prepared(400), 4, seed=1)
    parts = [part for part in folds.parts if len(part.rows("train")) == min(len(p.rows("train")) for p in folds.parts)]
    many = fit_many(compose(WORDS), parts, range(len(parts)), tmp_path / "many")
    for mine, its in zip(many, one_by_one([], parts, range(len(parts)), tmp_path), strict=True):
        numeric, codes = parts[0].encoded["test"].numeric, parts[0].encoded["test"].codes
        np.testing.assert_allclose(mine.model.logits(numeric, codes), its.model.logits(numeric, codes), atol=1e-5)
