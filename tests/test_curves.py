"""Learning curves and their alarm."""

import polars as pl
import pytest
from made import made_customers

from churnlib.compose import compose
from churnlib.training.curves import overfitting, write_curves
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train


def curve(train, validation):
    pairs = zip(train, validation, strict=True)
    return [{"epoch": i, "train/log_loss": t, "val/log_loss": v} for i, (t, v) in enumerate(pairs, 1)]


def test_a_run_that_generalises_rings_no_alarm():
    judged = overfitting(curve([0.6, 0.5, 0.45, 0.43], [0.58, 0.5, 0.46, 0.47]))
    assert judged.alarm is None
    assert (judged.best_epoch, judged.val_log_loss) == (3, 0.46)
    assert judged.final_val_log_loss == pytest.approx((0.5 + 0.46 + 0.47) / 3)


def test_a_training_loss_far_below_the_validation_loss_rings():
    alarm = overfitting(curve([0.6, 0.2], [0.6, 0.5])).alarm
    assert "best epoch (2) is 0.200, 60 % below" in alarm
    assert "model.dropout" in alarm


def test_a_validation_loss_that_rises_long_before_the_end_rings():
    alarm = overfitting(curve([0.5, 0.45, 0.3, 0.2, 0.1], [0.5, 0.48, 0.6, 0.65, 0.7])).alarm
    assert "after epoch 2 of 5" in alarm and "from 0.480 to 0.650" in alarm and "epoch 2 were kept" in alarm


def test_without_validation_rows_nothing_is_judged():
    assert overfitting([{"epoch": 1, "train/log_loss": 0.3}]) is None
    assert overfitting([]) is None


def test_curves_are_written_as_a_table(tmp_path):
    write_curves(curve([0.5, 0.4], [0.6, 0.5]), tmp_path / "curves.csv")
    table = pl.read_csv(tmp_path / "curves.csv")
    assert table.columns == ["epoch", "train/log_loss", "val/log_loss"]
    assert table.rows() == [(1, 0.5, 0.6), (2, 0.4, 0.5)]
    assert [path.name for path in tmp_path.iterdir()] == ["curves.csv"]


def test_a_large_network_on_few_rows_is_found_out_and_said(tmp_path, capsys):
    """Labels that nothing explains can only be learned by heart."""
    from rich.console import Console

    frame = made_customers(120).with_columns(churn=pl.col("churn").shuffle(seed=0))
    frame.write_csv(tmp_path / "t.csv")
    words = [
        f"data.path='{tmp_path}/t.csv'", "data=table", "data.target=churn", "model.dropout=0", "optimizer.lr=0.01",
        "trainer.max_epochs=25", "trainer.progress=false", "trainer.accelerator=cpu", "logger=none", "scheduler=none",
        "callbacks.early_stopping=null",
    ]  # fmt: skip
    path = tmp_path / "run"
    metrics = train(compose(words), folder=RunFolder(path, latest=None), console=Console(width=200)).metrics
    assert metrics["overfitting"]["alarm"].startswith("Overfitting: ")
    assert "Overfitting: " in capsys.readouterr().out
    table = pl.read_csv(path / "learning_curves.csv")
    assert len(table) == metrics["epochs"]
    assert table["train/log_loss"][-1] < table["train/log_loss"][0]
    assert table["val/log_loss"].min() == pytest.approx(metrics["overfitting"]["val_log_loss"])
