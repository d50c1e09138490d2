"""Which runs belong together, which is best, and by how much: the content of a sweep's comparison."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from churnlib.evaluation.comparison import compare, entries, summaries
from churnlib.evaluation.paired import ScoredRows, paired_difference


def run(number: int, model: str = "mlp", *words: str, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A finished run; ``validation``, ``test``, ``ms`` and ``seconds`` set its figures."""
    figures = {"validation": 0.42, "test": 0.41, "ms": 5.0, "seconds": 3.0, "backend": "onnx", **changes}
    metrics = {
        "model": model,
        "validation": {"log_loss": figures["validation"]},
        "test": {"log_loss": figures["test"], "roc_auc": 0.85, "f1": 0.64, "intervals": {"f1": [0.6, 0.7]}},
        "fit_seconds": figures["seconds"],
        "rows_per_second": 1000.0,
        "inference": {"p50_ms": figures["ms"], "p95_ms": 9.0, "rows_per_second": 5e4, "bundle_bytes": 10**5},
    }
    metrics["inference"]["backend"] = figures["backend"]
    told = [f"model={model}", f"seed={seed}", *words]
    return {
        "number": number, "overrides": told, "model": model, "seed": seed, "state": "finished", "seconds": 1.0,
        "metrics": metrics,
    }  # fmt: skip


def scored(seed: int, customers: int = 0) -> ScoredRows:
    """Fifty test rows, scored at random; ``customers`` says which."""
    rng = np.random.default_rng(seed)
    label = np.random.default_rng(customers).integers(0, 2, 50)
    names = [f"{customers}-{i}" for i in range(50)]
    return ScoredRows.from_predictions(
        pl.DataFrame({"customer_id": names, "label": label, "churn_probability": rng.uniform(0.1, 0.9, 50)})
    )


def numbers(configurations: list) -> list[list[int]]:
    return [[one["number"] for one in configuration.runs] for configuration in configurations]


def test_the_best_is_chosen_by_validation_rows_whatever_the_test_rows_say():
    found = compare([run(0, validation=0.45, test=0.30), run(1, "logistic", validation=0.40, test=0.50)], {})
    assert numbers(found) == [[1], [0]]
    assert [one.best for one in found] == [True, False] and [one.rank for one in found] == [1, 2]


def test_runs_that_differ_in_their_seed_alone_are_one_configuration_of_mean_and_deviation():
    runs = [
        run(n, model, word, seed=seed, validation=0.4 + seed / 100 + shift)
        for n, (model, word, seed, shift) in enumerate(
            (model, word, seed, shift)
            for shift, (model, word) in enumerate([("mlp", "optimizer.lr=1"), ("mlp", "optimizer.lr=2")])
            for seed in (0, 1, 2)
        )
    ]
    found = compare(runs, {})
    assert numbers(found) == [[0, 1, 2], [3, 4, 5]]
    assert found[0].mean("validation_log_loss") == pytest.approx(0.41)
    assert found[0].deviation("validation_log_loss") == pytest.approx(0.01)
    assert compare(runs[:1], {})[0].deviation("validation_log_loss") is None


def test_a_run_that_failed_is_not_compared():
    failed = {**run(1), "state": "failed: no memory", "metrics": None}
    assert numbers(compare([run(0), failed], {})) == [[0]]
    assert compare([failed], {}) == []


def test_the_pareto_mark_goes_to_all_that_no_other_beats_in_all_three_figures():
    rng = np.random.default_rng(0)
    runs = [run(n, "mlp", f"n={n}", validation=rng.random(), ms=rng.random(), seconds=rng.random()) for n in range(30)]
    figures = {
        one["number"]: np.array(
            [
                one["metrics"]["validation"]["log_loss"],
                one["metrics"]["inference"]["p50_ms"],
                one["metrics"]["fit_seconds"],
            ]
        )
        for one in runs
    }
    beaten = {a for a in figures for b in figures if (figures[b] < figures[a]).all()}
    marked = {one.runs[0]["number"] for one in compare(runs, {}) if one.pareto}
    assert marked == set(figures) - beaten
    assert 0 < len(marked) < 30


def test_a_run_without_a_figure_is_neither_beaten_nor_beats():
    bare = {**run(1), "overrides": ["model=own"], "metrics": {"test": None}}
    worse = run(2, "logistic", validation=9.0, ms=9.0, seconds=9.0)
    found = {one.runs[0]["number"]: one for one in compare([run(0), bare, worse], {})}
    assert found[0].pareto and found[1].pareto and not found[2].pareto
    assert found[1].rank == 3 and found[1].mean("log_loss") is None
    assert found[1].family.shows == "none"  # its model is what it was configured as


def test_folds_that_answer_together_have_no_coefficients_any_more():
    folds, stack = run(0, "logistic", "cv=5", validation=0.3), run(1, "stack", validation=0.4)
    for several in (folds, stack):
        several["metrics"]["members"] = [{"fold": 0}, {"fold": 1}]
    found = [one.family for one in compare([folds, stack, run(2, "logistic", validation=0.5)], {})]
    assert [family.shows for family in found] == ["none", "none", "coefficients"]
    assert [family.grows_with for family in found] == ["rows × inputs × models", "rows × models", "rows × inputs"]


def test_differences_are_paired_with_the_best_run_on_the_same_customers():
    runs = [
        run(n, model, seed=seed, validation=validation)
        for n, (model, seed, validation) in enumerate(
            [("mlp", 0, 0.40), ("mlp", 1, 0.41), ("logistic", 0, 0.44), ("logistic", 1, 0.45), ("tabnet", 2, 0.50)]
        )
    ]
    rows = {0: scored(10, 0), 1: scored(11, 1), 2: scored(12, 0), 3: scored(13, 1), 4: scored(14, 2)}
    best, logistic, tabnet = compare(runs, rows)
    assert best.differences == (None, None)
    assert [difference.to_run for difference in logistic.differences if difference] == [0, 1]
    value, interval = paired_difference(rows[3].loss, rows[1].loss, seed=0)
    assert logistic.differences[1] is not None
    assert (logistic.differences[1].value, logistic.differences[1].interval) == (value, interval)
    assert tabnet.differences == (None,)  # no run of the best met these customers


def test_what_is_written_has_the_five_criteria_of_each_run():
    runs = [run(0, "logistic"), run(1, "mlp", validation=0.5), {**run(2), "state": "stopped", "metrics": None}]
    found = compare(runs, {0: scored(1), 1: scored(2)})
    written = json.loads(json.dumps(entries(found)))
    assert set(written) == {"0", "1"}
    assert written["1"] == {
        "rank": 2,
        "best": False,
        "pareto": True,
        "quality": {
            "validation_log_loss": 0.5, "log_loss": 0.41, "roc_auc": 0.85, "f1": 0.64, "intervals": {"f1": [0.6, 0.7]},
            "log_loss_minus_best": written["1"]["quality"]["log_loss_minus_best"],
        },
        "interpretability": {"shows": "none", "because": found[1].family.because},
        "training": {"fit_seconds": 3.0, "rows_per_second": 1000.0},
        "inference": {"p50_ms": 5.0, "p95_ms": 9.0, "rows_per_second": 5e4, "backend": "onnx"},
        "scale": {"bundle_bytes": 10**5, "training_grows_with": "rows × inputs"},
    }  # fmt: skip
    assert set(written["1"]["quality"]["log_loss_minus_best"]) == {"to_run", "value", "interval"}
    assert written["0"]["quality"]["log_loss_minus_best"] is None
    assert written["0"]["interpretability"]["shows"] == "coefficients"
    assert [one["runs"] for one in summaries(found)] == [[0], [1]]
    assert summaries(found)[0]["mean"]["log_loss"] == 0.41 and summaries(found)[0]["sd"]["log_loss"] is None
