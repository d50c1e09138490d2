"""How well the model did on the test rows: its figures with their intervals, its decisions, its curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from churnlib.evaluation.curves import BAND_REPLICATES, share_curves
from churnlib.evaluation.profit.campaign import expected_gains
from churnlib.evaluation.ranking import first, threshold_counts
from churnlib.evaluation.reliability import reliability_curve
from churnlib.evaluation.report.judged import Judged
from churnlib.evaluation.tables import ROWS

MOST_WEIGHTS = 10**7
"""Rows times resampled sets behind the bands of the curves: a second or two."""

MOST_POINTS = 200
"""Of a curve that has a point for each probability."""

BELOW = {
    "ranking": {"top_decile_lift": "lift of the first tenth", "top_decile_capture": "churners in the first tenth",
                "ks": "KS", "gini": "Gini"},
    "calibration": {"ece": "calibration error", "calibration_slope": "calibration slope",
                    "brier_skill": "Brier skill"},
}  # fmt: skip

MEANING = {
    "roc_auc": "share of pairs in which the one who left has the higher probability",
    "average_precision": "precision, averaged over how many churners are reached",
    "log_loss": "how surprised the probabilities are by what happened; lower is better",
    "brier": "mean squared error of the probabilities; lower is better",
    "f1": "balance of precision and recall at the threshold",
    "precision": "of those selected, the share who left",
    "recall": "of those who left, the share selected",
    "accuracy": "share of right decisions",
    "mcc": "correlation of decisions and outcomes",
    "balanced_accuracy": "mean share of right decisions among those who left and those who stayed",
    "top_decile_lift": "how many times as many churners as in a tenth drawn by lot",
    "top_decile_capture": "of all who left, the share in the tenth with the highest probabilities",
    "ks": "largest distance between the distributions of those who left and those who stayed",
    "gini": "2 ROC AUC − 1",
    "ece": "mean distance between what was said and what happened",
    "calibration_slope": "1 where probabilities are neither too bold nor too timid",
    "brier_skill": "share of the Brier score of always saying the churn rate that is saved",
}


def figures(judged: Judged) -> list[dict[str, Any]]:
    """Return each figure with its interval, what it means, what to compare it with, and that of the baseline."""
    test = judged.metrics["test"]
    baseline = (judged.metrics.get("baseline") or {}).get("logistic_regression") or {}
    intervals = test.get("intervals") or {}
    told = [
        _figure(key, label, test.get(key), intervals, baseline=baseline.get(key)) for key, label in ROWS.items()
    ]  # fmt: skip
    for layer, names in BELOW.items():
        told += [_figure(key, label, test[layer].get(key), intervals) for key, label in names.items() if layer in test]
    compared = _compared(test)
    return [{**one, "compare": compared.get(one["key"])} for one in told if one["value"] is not None]


def _figure(
    key: str, label: str, value: float | None, intervals: Mapping[str, Any], *, baseline: float | None = None
) -> dict[str, Any]:
    low, high = intervals.get(key) or (None, None)
    return {
        "key": key, "label": label, "value": value, "low": low, "high": high, "baseline": baseline,
        "means": MEANING.get(key, ""),
    }  # fmt: skip


def _compared(test: Mapping[str, Any]) -> dict[str, str]:
    """Return what a figure is to be compared with, where that is a number."""
    told = {"roc_auc": "0.5 by chance"}
    if not isinstance(test["positives"], int):
        return told
    rate = test["positives"] / test["n"]
    told |= {
        "average_precision": f"{rate:.3f} by chance",
        "accuracy": f"{max(rate, 1 - rate):.3f} for one answer to all",
    }
    if "ranking" in test and test["ranking"]["top_decile_lift_ceiling"] is not None:
        told["top_decile_lift"] = f"1 by chance, {test['ranking']['top_decile_lift_ceiling']:.2f} at most"
        told["top_decile_capture"] = "0.1 by chance"
    if "calibration" in test:
        floor = test["calibration"]["ece_noise_floor"]
        told |= {"ece": f"luck alone: {floor['mean']:.3f}, up to {floor['high']:.3f}", "calibration_slope": "1"}
    return told


def confusion(judged: Judged) -> dict[str, Any]:
    """Return the decisions, counted; for two classes also as shares and in money."""
    test = judged.metrics["test"]
    if not judged.binary:
        return {"classes": list(judged.schema.classes), "matrix": test["confusion"]["matrix"]}
    counts, told = test["confusion"], {}
    paid = test["profit"]["confusion"] if "profit" in test else {}
    for name, n in counts.items():
        of = counts["tp"] + counts["fn"] if name in ("tp", "fn") else counts["tn"] + counts["fp"]
        told[name] = {"n": n, "share": n / of if of else None, "money": paid.get(name)}
    missed = test["profit"]["missed"] if "profit" in test else None
    return {"cells": told, "threshold": test["threshold"], "missed": missed}


def curves(judged: Judged) -> dict[str, Any]:
    """Return gains, lift and profit over the share of customers contacted, ROC and precision-recall.

    The profit is that of contacting first whoever is expected to bring most, where customers differ in value.
    """
    n = len(judged)
    drawn = {"replicates": int(np.clip(MOST_WEIGHTS / n, 40, BAND_REPLICATES)), "customers": judged.ids,
             "stratified": judged.stratified}  # fmt: skip
    # Whole customers, as the figures count them: "the first tenth" is the same number wherever it is told.
    shares = np.linspace(0.0, 1.0, 101)
    drawn["shares"] = np.append(0.0, [first(n, share) / n for share in shares[1:]])
    found = share_curves(judged.label, judged.probability, **drawn)
    order = gain_order(judged)
    earned = share_curves(judged.label, order, campaign=judged.campaign, value=judged.value, **drawn)
    found |= {"share": shares.tolist(), "profit": earned["profit"]}
    found["value_ordered"] = judged.value is not None
    score, tp, fp = threshold_counts(judged.label, judged.probability)
    kept = np.unique(np.linspace(0, len(score) - 1, MOST_POINTS).astype(np.int64))
    recall, fallout = tp / tp[-1], fp / fp[-1]
    found["roc"] = {"fallout": [0.0, *fallout[kept].tolist()], "recall": [0.0, *recall[kept].tolist()]}
    found["precision_recall"] = {"recall": recall[kept].tolist(), "precision": (tp / (tp + fp))[kept].tolist()}
    return found


def gain_order(judged: Judged) -> np.ndarray:
    """Return a score in [0, 1], ``(n,)``, that puts first whoever is expected to bring most."""
    if judged.value is None:
        return judged.probability
    gains = expected_gains(judged.probability, judged.value, judged.campaign)
    spread = gains.max() - gains.min()
    return (gains - gains.min()) / spread if spread > 0 else np.zeros_like(gains)


def calibration(judged: Judged) -> dict[str, Any]:
    """Return what was said and what happened, the band of mere luck, and how probabilities are spread."""
    curve = reliability_curve(judged.label, judged.probability)
    points = np.linspace(float(curve.low[0]), float(curve.high[-1]), 101)
    counts, edges = np.histogram(judged.probability, bins=40, range=(0.0, 1.0))
    blocks = zip(*(part.tolist() for part in (curve.low, curve.high, curve.rate, curve.rows)), strict=True)
    told = dict(judged.metrics["test"].get("calibration") or {})
    return {
        "points": points.tolist(),
        "rate": curve.at(points).tolist(),
        "grid": curve.grid.tolist(),
        "band_low": curve.band_low.tolist(),
        "band_high": curve.band_high.tolist(),
        "outside": curve.outside,
        "blocks": [list(block) for block in blocks][:400],
        "counts": counts.tolist(),
        "edges": edges.tolist(),
        "ece": told.get("ece"),
        "noise_floor": told.get("ece_noise_floor"),
        "slope": told.get("calibration_slope"),
        "mean": float(judged.probability.mean()),
    }


__all__ = ["calibration", "confusion", "curves", "figures", "gain_order"]
