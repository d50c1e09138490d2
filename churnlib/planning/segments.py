"""What there is to say of each group of customers: how many, how likely to leave, what is at stake, and why."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnlib.evaluation.intervals import wilson_interval
from churnlib.planning.groups import Groups
from churnlib.planning.uncertainty import SHIFT, SLOPE, Uncertainty, interval

Floats = NDArray[np.float64]

SCHEMA = {
    "segment": pl.String(),
    "customers": pl.Int64(),
    "share": pl.Float64(),
    "share_low": pl.Float64(),
    "share_high": pl.Float64(),
    "labelled": pl.Int64(),
    "churn_rate": pl.Float64(),
    "churn_rate_low": pl.Float64(),
    "churn_rate_high": pl.Float64(),
    "churn_probability": pl.Float64(),
    "churn_probability_low": pl.Float64(),
    "churn_probability_high": pl.Float64(),
    "value_at_risk": pl.Float64(),
    "value_at_risk_low": pl.Float64(),
    "value_at_risk_high": pl.Float64(),
    "main_reason": pl.String(),
    "offers": pl.Int64(),
    "expected_gain": pl.Float64(),
}
"""Columns of the segments; the churn rate is null where the table has no labels."""


def segment_table(
    groups: Groups,
    *,
    risk: Floats,
    value: Floats,
    label: NDArray[np.int64],
    gain: Floats,
    reasons: list[str | None],
    uncertainty: Uncertainty,
) -> pl.DataFrame:
    """Describe each group, the most value at risk first.

    Args:
        groups: Who belongs together.
        risk: ``(n,)`` probability of leaving.
        value: ``(n,)`` money.
        label: ``(n,)`` 1 for who is known to have left, 0 for who is known to have stayed, -1 where it is not known.
        gain: ``(n,)`` money that the chosen offer is expected to gain; NaN for who is left alone.
        reasons: Main reason of each group.
        uncertainty: How far probabilities may be off; where nothing is known of that, ends of intervals are null.
    """
    n = int((groups.number >= 0).sum())
    known = bool(uncertainty.covariance[:2, :2].any())
    rows = []
    for place, name in enumerate(groups.names):
        mine = np.flatnonzero(groups.number == place)
        p, labels = risk[mine], label[mine]
        given = labels >= 0
        left, of = int((labels == 1).sum()), int(given.sum())
        low, high = wilson_interval(len(mine), n)
        rate_low, rate_high = wilson_interval(left, of)
        at_risk = p * value[mine]
        mean, total = (_ends(p, weight, uncertainty) for weight in (np.full(len(p), 1 / max(len(p), 1)), value[mine]))
        chosen = np.isfinite(gain[mine])
        rows.append(
            {
                "segment": name,
                "customers": len(mine),
                "share": len(mine) / max(n, 1),
                "share_low": float(low),
                "share_high": float(high),
                "labelled": of,
                "churn_rate": left / of if of else None,
                "churn_rate_low": float(rate_low) if of else None,
                "churn_rate_high": float(rate_high) if of else None,
                "churn_probability": float(p.mean()) if len(p) else None,
                "churn_probability_low": max(mean[0], 0.0) if known else None,
                "churn_probability_high": min(mean[1], 1.0) if known else None,
                "value_at_risk": float(at_risk.sum()),
                "value_at_risk_low": total[0] if known else None,
                "value_at_risk_high": total[1] if known else None,
                "main_reason": reasons[place],
                "offers": int(chosen.sum()),
                "expected_gain": float(gain[mine][chosen].sum()),
            }
        )
    return pl.DataFrame(rows, schema=SCHEMA).sort("value_at_risk", descending=True, maintain_order=True)


def _ends(risk: Floats, weight: Floats, uncertainty: Uncertainty) -> tuple[float, float]:
    """Return the interval of a weighted sum of probabilities."""
    p = np.clip(risk, 1e-12, 1.0 - 1e-12)
    moves = weight * p * (1.0 - p)
    gradient = np.zeros(len(uncertainty.covariance))
    gradient[SHIFT], gradient[SLOPE] = moves.sum(), (moves * np.log(p / (1.0 - p))).sum()
    low, high = interval(float((risk * weight).sum()), uncertainty.deviation(gradient))
    return float(low), float(high)


__all__ = ["SCHEMA", "segment_table"]
