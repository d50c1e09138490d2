"""Tables of results as text, at the widths of real terminals."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from churnlib.evaluation.binary import LAYERS
from churnlib.evaluation.metrics import evaluate
from churnlib.evaluation.tables import confusion_table, metrics_table, worth_table

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


@pytest.mark.parametrize("width", WIDTHS)
def test_money_is_shown_only_with_a_currency_and_every_figure_with_what_it_is_compared_with(width: int):
    label, probability = [0, 1, 0, 1, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9]
    found = evaluate(label, probability, threshold=0.5, layers=LAYERS, value=[200.0] * 8, replicates=20)
    plain = worth_table(found)
    assert plain is not None
    shown = text(plain, width)
    assert "lift of the first tenth" in shown and "2.00 at most" in shown and "profit" not in shown
    found["profit"]["currency"] = "EUR"
    with_money = worth_table(found)
    assert with_money is not None
    shown = text(with_money, width)
    assert "23.876" in shown and "23.875" in shown and "EUR" in shown and "88% contacted" in shown
    assert all(len(line) <= width for line in shown.splitlines())


def test_without_the_layers_there_is_nothing_to_say_of_worth():
    assert worth_table(metrics()) is None
