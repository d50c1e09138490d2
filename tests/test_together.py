"""Runs of a sweep that share one pass: each must be what it would be by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from churnlib.commands import train as command
from churnlib.compose import compose
from churnlib.training.together import fit_together, shareable
from churnlib.training.train import fit_one, read_customers

BASE = [
    "model=mlp_plain", "logger=none", "trainer.progress=false", "model.hidden_sizes=[16,8]", "trainer.max_epochs=6",
    "trainer.batch_size=64", "trainer.threads=1", "data.n_customers=400", "callbacks.early_stopping.patience=3",
    "trainer.precision=32-true",
]  # fmt: skip
OWN: dict[str, list[list[str]]] = {
    "adamw": [
        ["optimizer.lr=0.02"],
        ["optimizer.lr=0.002", "optimizer.weight_decay=0.3"],
        ["optimizer.lr=0.02", "model.dropout=0.0"],
        ["optimizer.lr=0.02", "model.dropout=0.6", "seed=4"],
        ["optimizer.lr=0.05", "trainer.gradient_clip_val=0.05"],
        ["optimizer.lr=0.02", "trainer.gradient_clip_val=null", "optimizer.betas=[0.5,0.9]"],
        ["optimizer.lr=0.02", "loss=focal", "loss.gamma=1"],
        ["optimizer.lr=0.05", "loss.pos_weight=balanced", "callbacks.early_stopping.patience=1"],
        ["optimizer.lr=1e38"],
    ],
    "sgd": [["optimizer.lr=0.1"], ["optimizer.lr=0.01", "optimizer.weight_decay=0.1"], ["optimizer.momentum=0.5"]],
}  # fmt: skip


def weights(fit: Any) -> dict[str, torch.Tensor]:
    return {k: v for k, v in fit.model.network.state_dict().items() if "num_batches_tracked" not in k}


@pytest.mark.parametrize("optimizer", OWN)
def test_each_configuration_ends_where_it_would_end_by_itself(tmp_path: Path, optimizer: str):
    configs = {n: compose([*BASE, f"optimizer={optimizer}", *own]) for n, own in enumerate(OWN[optimizer])}
    assert shareable(configs) == [tuple(configs)]
    ready = fit_together(configs, tmp_path)
    assert set(ready) == set(configs)
    epochs = set()
    for number, config in configs.items():
        alone, mine = fit_one(config, read_customers(config), tmp_path / str(number)), ready[number].fit
        assert mine.epochs == alone.epochs, number
        epochs.add(alone.epochs)
        for name, value in weights(alone).items():
            torch.testing.assert_close(
                weights(mine)[name], value, atol=1e-5, rtol=1e-4, equal_nan=True, msg=f"{number} {name}"
            )
        for one, other in zip(mine.curve, alone.curve, strict=True):
            shown = {name: pytest.approx(other[name], rel=1e-4, nan_ok=True) for name in one}
            assert one == shown, number
    # Otherwise nobody would leave early, and that the others go on rightly would not be tested.
    assert len(epochs) > 1 or optimizer == "sgd"


def test_runs_share_a_pass_only_if_they_learn_alike():
    words = [
        [], ["seed=3"], ["trainer.max_epochs=7"], ["model=mlp"], ["ensemble=2"], ["sweep.together=false"],
        ["optimizer=sgd"], ["trainer.max_epochs=7", "threshold=youden"], ["model.hidden_sizes=[16,9]"],
        ["model=logistic"], ["data.n_customers=300"],
    ]  # fmt: skip
    plain = [word for word in BASE if not word.startswith("model.")]
    configs = {n: compose([*(plain if "model=" in " ".join(own) else BASE), *own]) for n, own in enumerate(words)}
    assert shareable(configs) == [(0, 1), (2, 7)]


def test_runs_whose_tables_or_callbacks_do_not_allow_it_are_left_to_themselves(tmp_path: Path):
    odd = compose([*BASE, "loss=cost_sensitive", "loss.value=monthly_charges"])
    wrong = compose([*BASE, "loss=cost_sensitive", "loss.value=nothing"])
    configs = {0: compose(BASE), 1: odd, 2: wrong, 3: compose([*BASE, "seed=1"])}
    assert set(fit_together(configs, tmp_path)) == {0, 3}
    averaged = {n: compose([*BASE, "callbacks=averaging", f"seed={n}"]) for n in range(2)}
    assert fit_together(averaged, tmp_path) == {}


@pytest.mark.slow
def test_a_sweep_in_one_pass_leaves_what_runs_by_themselves_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = ["-m", *BASE, "logger=csv", "trainer.max_epochs=2", "optimizer.lr=0.01,0.02", "loss.pos_weight=2,-1"]
    for together in ("auto", "false"):
        assert command.main([*words, f"sweep.together={together}", f"output_dir=runs_{together}"]) == 1
    kept = {name: json.loads(Path(f"runs_{name}", "sweep.json").read_text())["runs"] for name in ("auto", "false")}
    assert [run["state"] for run in kept["auto"]] == [run["state"] for run in kept["false"]]
    assert [run["state"] == "finished" for run in kept["auto"]] == [True, False, True, False]
    assert [run["metrics"].get("together") for run in kept["auto"]] == [2, None, 2, None]
    for number in ("0", "2"):
        folders = [Path(f"runs_{name}", number) for name in ("auto", "false")]
        one, other = (pl.read_parquet(folder / "predictions.parquet") for folder in folders)
        assert one["customer_id"].equals(other["customer_id"])
        np.testing.assert_allclose(one["churn_probability"], other["churn_probability"], atol=1e-5)
        files = [{path.name for path in folder.iterdir()} for folder in folders]
        assert files[1] - files[0] == {"checkpoints"} and files[0] < files[1]
        assert len(pl.read_csv(Path("runs_auto", number, "logs", "version_0", "metrics.csv"))) == 2
