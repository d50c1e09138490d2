"""Pretraining without labels: what is hidden, what is guessed, and what must not be read."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from made import made_customers

from churnlib.compose import compose
from churnlib.errors import ConfigError
from churnlib.models.tabnet import TabNet
from churnlib.models.tabnet_pretraining import TabNetPretraining, draw_hidden, reconstruction_loss
from churnlib.predictor import load
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import read_customers, train
from churnlib.training.unlabelled import pretraining_rows

SMALL = [
    "model=tabnet", "model.n_d=4", "model.n_a=4", "model.n_steps=2", "model.n_members=2", "trainer.progress=false",
    "logger=none", "trainer.accelerator=cpu", "scheduler=none", "pretrain.passes=2",
]  # fmt: skip


def run(path, words):
    return train(compose(words), folder=RunFolder(path, latest=None)).metrics


def words_for(folder, *, seed=0, change=lambda frame: frame):
    frame = made_customers(300, seed=seed)
    side = np.random.default_rng(0).choice(["train", "validation", "test"], 300, p=[0.6, 0.2, 0.2])
    path = folder / "table.parquet"
    change(frame.with_columns(side=pl.Series(side))).write_parquet(path)
    table = ["data=table", f"data.path='{path}'", "data.target=churn", "data.id=customer"]
    return [*table, "split.by=column", "split.column=side", *SMALL]


def test_the_loss_counts_hidden_entries_in_units_of_their_columns_variance():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 500, generator=generator) * torch.tensor([[1.0], [10.0], [100.0], [0.0]])
    hidden = draw_hidden(4, 500, 0.3, generator)
    assert hidden.mean().item() == pytest.approx(0.3, abs=0.05)
    means = x.mean(1, keepdim=True).expand_as(x)
    seen = hidden[:3].bool()
    by_hand = ((means - x)[:3] / x[:3].std(1, keepdim=True, correction=0)).square()[seen].mean()
    torch.testing.assert_close(reconstruction_loss(means, x, hidden), by_hand)
    assert by_hand.item() == pytest.approx(1.0, abs=0.15)
    wrong = torch.where(hidden.bool(), x, 1e6)  # entries that were seen are not compared
    assert reconstruction_loss(wrong, x, hidden) == 0


def test_the_network_learns_to_guess_a_column_from_its_copy():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 2, generator=generator).repeat(1, 2)
    network = TabNetPretraining(TabNet(4, momentum=0.1, generator=generator), generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(150):
        loss = network(x, draw_hidden(4, 256, 0.25, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < 0.6 < losses[0]
    assert network.encoder.head.grad is None  # the last layer takes no part


def test_pretraining_changes_the_start_of_training_and_repeats_exactly(tmp_path):
    words = [*words_for(tmp_path), "trainer.max_epochs=1"]
    runs = {}
    for name, more in {"a": [], "b": [], "without": ["pretrain.passes=0"]}.items():
        run(tmp_path / name, [*words, *more])
        runs[name] = load(tmp_path / name / "bundle").version
    assert runs["a"] == runs["b"] != runs["without"]


def test_an_interrupted_run_goes_on_without_pretraining_again(tmp_path):
    words = words_for(tmp_path)
    whole = run(tmp_path / "whole", [*words, "trainer.max_epochs=4"])
    run(tmp_path / "parts", [*words, "trainer.max_epochs=2"])
    last = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    config = compose([*words, "trainer.max_epochs=4", f"ckpt_path='{last}'"])
    rest = train(config, folder=RunFolder(ckpt_path=last, latest=None)).metrics
    assert rest["test"] == whole["test"]


def test_test_rows_change_nothing_even_when_the_unlabelled_table_names_them(tmp_path):
    columns = ["tenure", "charges", "plan"]
    versions = set()
    for name, shuffle in (("as it is", False), ("shuffled", True)):
        folder = tmp_path / name
        folder.mkdir()

        def change(frame, shuffle=shuffle):
            held = pl.col("side") == "test"
            cells = [pl.when(held).then(pl.col(c).shuffle(seed=1)).otherwise(c).alias(c) for c in columns]
            return frame.with_columns(cells) if shuffle else frame

        words = words_for(folder, change=change)
        table = pl.read_parquet(folder / "table.parquet")
        more = made_customers(50, seed=3).with_columns(customer=pl.format("N{}", pl.int_range(50)))
        pl.concat([table.drop("side"), more]).drop("churn").write_parquet(folder / "more.parquet")
        words += [f"pretrain.path='{folder}/more.parquet'", "trainer.max_epochs=1"]
        config = compose(words)
        rows = pretraining_rows(config, read_customers(config))
        n_train = (table["side"] == "train").sum()
        assert rows is not None and len(rows) == 2 * n_train + 50
        run(folder / "run", words)
        versions.add(load(folder / "run" / "bundle").version)
    assert len(versions) == 1


def test_what_cannot_be_pretrained_is_refused_before_anything_is_written(tmp_path):
    words = [*words_for(tmp_path), "trainer.max_epochs=1"]
    made_customers(20).drop("tenure", "churn").write_csv(tmp_path / "more.csv")
    with pytest.raises(ConfigError, match=r"lacks the column 'tenure', which the model reads"):
        run(tmp_path / "run", [*words, f"pretrain.path='{tmp_path}/more.csv'"])
    with pytest.raises(ConfigError, match=r"pretrain=on is for TabNet"):
        run(tmp_path / "run", ["pretrain=on", "data.n_customers=300"])
    assert not (tmp_path / "run").exists()


def test_the_masks_of_a_trained_model_name_its_columns(tmp_path):
    run(tmp_path / "run", [*words_for(tmp_path), "trainer.max_epochs=1", "pretrain.passes=0"])
    predictor = load(tmp_path / "run" / "bundle")
    masks = predictor.masks(made_customers(10))
    assert masks.columns == predictor.bundle.preparation.feature_names
    assert masks.steps.shape == (2, 10, len(masks.columns))
    np.testing.assert_allclose(masks.importance.sum(1), 1, atol=1e-5)
    alone = predictor.masks(made_customers(10)[3:4])
    np.testing.assert_allclose(alone.steps[:, 0], masks.steps[:, 3], atol=1e-5)
    assert predictor.masks(made_customers(10)[:0]).importance.shape == (0, len(masks.columns))
