"""Tables of results as text, at the widths of real terminals."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from churnlib.evaluation.tables import confusion_table, metrics_table, runs_table

WIDTHS = [80, 120]


def text(table: Table, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def row(rendered: str, start: str) -> list[str]:
    """The words after the first line that starts with ``start``."""
    line = next(line for line in rendered.splitlines() if line.strip().startswith(start))
    return line.strip().removeprefix(start).split()


def metrics(offset: float = 0.0, **changes: Any) -> dict[str, Any]:
    names = ["roc_auc", "average_precision", "log_loss", "brier", "f1", "precision", "recall", "accuracy", "mcc"]
    figures = {name: 0.8123 - 0.05 * place + offset for place, name in enumerate(names)}
    confusion = {"tn": 1_034_800, "fp": 100_000, "fn": 52_000, "tp": 220_000}
    return {**figures, "threshold": 0.3127, "n": 1_406_800, "positives": 272_000, "confusion": confusion, **changes}


INTERVALS = {"roc_auc": [0.80123, 0.82345], "f1": [0.59912, 0.62512]}


@pytest.mark.parametrize("width", WIDTHS)
def test_five_columns_with_intervals_show_every_figure_in_full(width: int):
    names = ["validation", "test", "logistic regression (test)", "gradient boosting (test)", "limit (test)"]
    columns = {name: metrics(place / 1000) for place, name in enumerate(names)}
    for name in names[1:4]:
        columns[name]["intervals"] = INTERVALS
    rendered = text(metrics_table(columns, title="Results"), width)
    assert max(map(len, rendered.splitlines())) <= width
    assert row(rendered, "ROC AUC") == ["0.8123", "0.8133", "0.8143", "0.8153", "0.8163"]
    assert row(rendered, "MCC") == ["0.4123", "0.4133", "0.4143", "0.4153", "0.4163"]
    assert rendered.count("(0.801–0.823)") == 3
    assert rendered.count("(0.599–0.625)") == 3
    assert rendered.count("1,406,800") == 5
    assert "95% interval" in rendered
    for word in " ".join(names).split():
        assert word in rendered


def test_few_columns_keep_an_interval_beside_its_figure():
    rendered = text(metrics_table({"validation": metrics(), "test": metrics(intervals=INTERVALS)}))
    assert row(rendered, "ROC AUC") == ["0.8123", "0.8123", "(0.801–0.823)"]
    labels = ["ROC AUC", "average precision", "log loss", "Brier", "F1", "precision", "recall", "accuracy", "MCC"]
    starts = [line.strip() for line in rendered.splitlines()]
    positions = [next(i for i, line in enumerate(starts) if line.startswith(label)) for label in labels]
    assert positions == sorted(positions)


def test_what_does_not_exist_is_a_dash_and_no_interval_means_no_note():
    rendered = text(metrics_table({"test": metrics(roc_auc=None, threshold=None)}))
    assert row(rendered, "ROC AUC") == ["–"]
    assert row(rendered, "threshold") == ["–"]
    assert "interval" not in rendered


@pytest.mark.parametrize("width", WIDTHS)
def test_confusion_counts_come_with_the_share_of_their_row_in_plain_words(width: int):
    rendered = text(confusion_table(metrics()), width)
    assert row(rendered, "actually stayed") == ["1,034,800", "(91.2%)", "100,000", "(8.8%)", "1,134,800"]
    assert row(rendered, "actually churned") == ["52,000", "(19.1%)", "220,000", "(80.9%)", "272,000"]
    assert rendered.count("predicted") == 2


@pytest.mark.parametrize("width", WIDTHS)
def test_confusion_of_several_classes_names_them_as_they_are(width: int):
    names = ["stays", "goes to a [competitor]", "stops paying"]
    confusion = {"classes": names, "matrix": [[381, 127, 143], [126, 419, 141], [0, 0, 0]]}
    rendered = text(confusion_table({"confusion": confusion}), width)
    assert row(rendered, "actually stays") == ["381", "(58.5%)", "127", "(19.5%)", "143", "(22.0%)", "651"]
    assert rendered.count("[competitor]") == 2  # heading and row
    assert max(map(len, rendered.splitlines())) <= width


def run(model: str, seed: int, *overrides: str, offset: float = 0.0, **changes: Any) -> dict[str, Any]:
    told = [f"model={model}", f"seed={seed}", *overrides]
    finished = {"metrics": {"test": metrics(offset)}, "seconds": 12.34, "state": "finished"}
    return {"overrides": told, "model": model, "seed": seed, **finished, **changes}


@pytest.mark.parametrize("width", WIDTHS)
def test_a_sweep_closes_with_mean_and_deviation_of_each_model(width: int):
    runs = [run(model, seed, offset=seed / 100) for model in ("mlp", "tabnet") for seed in (0, 1, 2)]
    rendered = text(runs_table(runs, title="Sweep"), width)
    assert row(rendered, "4") == ["tabnet", "1", "0.8223", "0.7223", "0.6223", "12.3"]
    assert row(rendered, "tabnet") == ["mean", "0.8223", "0.7223", "0.6223", "12.3"]
    assert row(rendered, "sd") == ["0.0100", "0.0100", "0.0100", "0.0"]  # of 0, 1 and 2 hundredths


def test_one_run_per_model_has_no_mean():
    rendered = text(runs_table([run("mlp", 0), run("tabnet", 0)]))
    assert "mean" not in rendered


def test_a_failed_run_stays_in_the_table_with_its_reason_below_and_out_of_the_mean():
    failed = run("mlp", 2, metrics=None, seconds=None, state="failed: no memory [4096 rows]")
    rendered = text(runs_table([run("mlp", 0), run("mlp", 1), failed]))
    assert row(rendered, "2") == ["mlp", "2", "failed", "–", "–", "–"]
    assert "run 2 failed: no memory [4096 rows]" in rendered
    assert row(rendered, "mlp") == ["mean", "0.8123", "0.7123", "0.6123", "12.3"]


@pytest.mark.parametrize("width", WIDTHS)
def test_settings_that_differ_are_shown_in_full_and_averaged_apart(width: int):
    told = [("optimizer.lr=0.00033333333", "model.hidden_sizes=[256,256,128]"), ("optimizer.lr=1e-3",)]
    runs = [run("mlp", seed, *words, "trainer.max_epochs=5") for words in told for seed in (0, 1)]
    rendered = text(runs_table(runs), width)
    assert "lr = 0.0003333" in rendered and "lr = 0.001" in rendered
    assert "256," in rendered and "128]" in rendered
    assert "max_epochs" not in rendered  # told to all of them
    assert rendered.count("mean") == 2
    assert max(map(len, rendered.splitlines())) <= width


def test_settings_with_the_same_last_word_keep_their_full_names():
    runs = [run("mlp", 0, "optimizer.name=sgd", "scheduler.name=cosine"), run("mlp", 0)]
    rendered = text(runs_table(runs), 120)
    assert "optimizer.name = sgd" in rendered and "scheduler.name = cosine" in rendered


def test_a_stopped_run_and_one_without_test_rows_or_seed_are_shown_as_such():
    stopped = {**run("mlp", 0, metrics=None, state="stopped"), "seed": None}
    rendered = text(runs_table([stopped, run("mlp", 1, metrics={"test": None, "validation": metrics()})]))
    assert row(rendered, "0") == ["mlp", "–", "stopped", "–", "–", "12.3"]
    assert row(rendered, "1") == ["mlp", "1", "–", "–", "–", "12.3"]
    assert "run 0 stopped" in rendered


def test_metrics_may_be_those_of_the_test_rows_alone():
    rendered = text(runs_table([run("mlp", 0, metrics=metrics(0.01))]))
    assert row(rendered, "0") == ["mlp", "0", "0.8223", "0.7223", "0.6223", "12.3"]
