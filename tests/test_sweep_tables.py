"""The end of a sweep as text, at the widths of real terminals."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType
from test_comparison import run, scored

from churnlib.evaluation.comparison import compare
from churnlib.evaluation.sweep_tables import ComparisonTable, runs_table

WIDTHS = [80, 100, 200]


def text(table: RenderableType, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def comparison(runs: list[dict[str, Any]], width: int = 80, **rows: Any) -> str:
    return text(ComparisonTable(compare(runs, rows.get("rows", {})), runs), width)


def row(rendered: str, start: str) -> list[str]:
    """The words after the first line that starts with ``start``."""
    line = next(line for line in rendered.splitlines() if line.strip().startswith(start))
    return line.strip().removeprefix(start).split()


# --- runs one by one ------------------------------------------------------------------------------------------------


def test_runs_are_listed_with_their_seed_and_test_figures():
    rendered = text(runs_table([run(0, seed=3), run(1, seed=4, test=0.5)], title="Runs"))
    assert rendered.startswith("Runs")
    assert row(rendered, "0") == ["mlp", "3", "0.8500", "0.4100", "0.6400", "1.0"]
    assert row(rendered, "1") == ["mlp", "4", "0.8500", "0.5000", "0.6400", "1.0"]


@pytest.mark.parametrize("width", WIDTHS)
def test_settings_that_differ_are_shown_in_full(width: int):
    told = ["optimizer.lr=0.00033333333", "model.hidden_sizes=[256,256,128]", "trainer.max_epochs=5"]
    rendered = text(runs_table([run(0, "mlp", *told), run(1, "mlp", "optimizer.lr=1e-3", told[2])]), width)
    assert "lr = 0.0003333" in rendered and "lr = 0.001" in rendered
    assert "256," in rendered and "128]" in rendered
    assert "max_epochs" not in rendered  # told to all of them
    assert max(map(len, rendered.splitlines())) <= width


def test_settings_with_the_same_last_word_keep_their_full_names():
    runs = [run(0, "mlp", "optimizer.name=sgd", "scheduler.name=cosine"), run(1)]
    rendered = text(runs_table(runs), 120)
    assert "optimizer.name = sgd" in rendered and "scheduler.name = cosine" in rendered


def test_a_stopped_run_and_one_without_test_rows_or_seed_are_shown_as_such():
    stopped = {**run(0), "metrics": None, "state": "stopped", "seed": None}
    rendered = text(runs_table([stopped, {**run(1), "metrics": {"test": None}}]))
    assert row(rendered, "0") == ["mlp", "–", "stopped", "–", "–", "1.0"]
    assert row(rendered, "1") == ["mlp", "0", "–", "–", "–", "1.0"]


# --- the comparison ---------------------------------------------------------------------------------------------------

LONG = [
    run(0, "hist_gradient_boosting", validation=0.45, ms=12.345, seconds=123_456.0),
    run(1, "random_forest", validation=0.44, ms=7.0),
    run(2, "mlp", "model.hidden_sizes=[256,256,128]", "optimizer.weight_decay=0.00033333333", validation=0.43),
    {**run(3, "catboost"), "metrics": None, "state": "failed: this model needs the package catboost [boosting]"},
]
ROWS = {0: scored(1), 1: scored(2), 2: scored(3)}


@pytest.mark.parametrize("width", WIDTHS)
def test_every_criterion_of_every_run_is_there_and_no_line_is_too_long(width: int):
    rendered = comparison(LONG, width, rows=ROWS)
    assert max(map(len, rendered.splitlines())) <= width
    for word in ("validation", "ROC", "F1", "training", "one answer", "batch", "bundle", "explained", "grows"):
        assert word in rendered
    assert rendered.count("123,456 s") == 1 and rendered.count("12.3 ms") == 1 and rendered.count("0.10 MB") == 3
    assert rendered.count("(0.600–0.700)") == 3
    tables = rendered.split("★◆ 2")
    assert len(tables) - 1 == {80: 3, 100: 2, 200: 1}[width]
    assert "256," in tables[1] and "0.0003333" in tables[1]


def test_the_best_by_validation_rows_stands_on_top_and_the_note_says_why_not_by_test_rows():
    rendered = comparison([run(0, validation=0.5, test=0.1), run(1, "logistic", validation=0.4, test=0.9)])
    assert row(rendered, "★◆ 1") == ["logistic", "0.4000", "0.9000", "0.8500", "0.6400"]
    assert rendered.index("logistic") < rendered.index("mlp")
    assert "choosing by" in rendered


def test_a_beaten_run_has_no_mark():
    rendered = comparison([run(0, validation=0.5, ms=9.0, seconds=9.0), run(1, "logistic")])
    assert row(rendered, "0")[0] == "mlp"


def test_the_difference_to_the_best_comes_with_its_interval():
    rendered = comparison(LONG, 200, rows=ROWS)
    expected = compare(LONG, ROWS)[1].differences[0]
    assert expected is not None
    assert f"{expected.value:+.4f}" in rendered
    assert f"({expected.interval[0]:+.3f} … {expected.interval[1]:+.3f})" in rendered
    assert "paired customer by customer" in rendered


def test_seeds_share_a_row_of_means_and_deviations():
    runs = [run(seed, seed=seed, validation=0.4 + seed / 100, test=0.5 + seed / 100) for seed in (0, 1, 2)]
    rendered = comparison([*runs, run(3, "logistic", validation=0.5)])
    assert row(rendered, "★◆ 0, 1, 2") == ["mlp", "0.4100", "0.5100", "0.8500", "0.6400"]
    assert rendered.count("± 0.0100") == 2
    assert "deviation over" in rendered


def test_a_failed_run_has_its_row_and_its_reason():
    rendered = comparison(LONG)
    assert row(rendered, "3") == ["catboost", "failed", *"––––"]
    assert "run 3 failed: this model needs the package catboost [boosting]" in rendered


def test_runs_that_failed_alike_share_a_reason():
    rendered = comparison([run(0), *({**run(n), "state": "failed: no memory", "metrics": None} for n in (1, 2))])
    assert "runs 1, 2 failed: no memory" in rendered


def test_a_sweep_of_failures_alone_is_a_table_of_them():
    rendered = comparison(LONG[3:])
    assert row(rendered, "3") == ["catboost", "failed"]
    assert "best" not in rendered and "run 3 failed" in rendered


def test_each_model_says_how_it_can_be_read():
    rendered = " ".join(comparison([run(0, "logistic"), run(1, "tabnet")], 200).split())
    assert "logistic: coefficients; one number per input" in rendered
    assert "tabnet: masks; they show where it looked for each customer, and not why" in rendered


def test_the_comparison_says_what_answered_when_answers_were_timed():
    every, some = (comparison([run(0), run(1, "mlp", "a=1", backend=other)], 200) for other in ("onnx", "torch"))
    assert "by ONNX Runtime on one thread." in every
    assert "by ONNX Runtime on one thread, but for run 1: by the model as trained." in some
