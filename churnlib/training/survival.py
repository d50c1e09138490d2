"""``task=hazard`` in a run: what goes with it, what held-out rows decide, and how good the curves are.

Rows are judged on the time after they came under observation: from the start of the relationship, or from
``task.entry`` on, where it is taken as given that they had stayed until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from churnlib.config import MoneyConfig, TrainConfig
from churnlib.data.customers import Customers, customer_value
from churnlib.data.lifetimes import Lifetimes
from churnlib.errors import ConfigError
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.evaluation.survival import (
    KaplanMeier,
    brier_rows,
    calibration_at,
    integrated,
    last_time,
    mean_with_interval,
)
from churnlib.evaluation.survival_ranking import concordance, concordance_ipcw, concordance_over_time
from churnlib.evaluation.thresholds import choose_threshold
from churnlib.models.baselines.recipes import recipe_of
from churnlib.survival import HazardCurve
from churnlib.training.stacking import is_stack


def check_task(config: TrainConfig, customers: Customers) -> None:
    """Refuse what does not go with learning when customers leave.

    Raises:
        ConfigError: With the option and the remedy.
    """
    if customers.lifetimes is None:
        return
    if is_stack(config.model) or recipe_of(config.model) is not None:
        raise ConfigError(
            "task=hazard is for networks: mlp, mlp_plain, realmlp, tabnet, ft_transformer, ...; choose one"
        )
    if config.loss.name != "bce" or getattr(config.loss, "pos_weight", None) is not None:
        raise ConfigError("task=hazard has a loss of its own, without class weights; leave loss out")
    if config.resample.name != "none":
        raise ConfigError(f"resample={config.resample.name} would change how fast customers leave; leave it out")
    if config.threshold.rule == "value":
        raise ConfigError("threshold=value goes with task=classify; choose another, such as threshold=profit")
    if config.calibration not in ("temperature", "none"):
        raise ConfigError(
            f"calibration={config.calibration} is for probabilities of classes, and hazards are used as they are; "
            "leave it out"
        )
    if config.money.margin_column is not None:
        customer_value(customers, config.money.margin_column, option="money.margin_column")


def curve_of(lifetimes: Lifetimes, money: MoneyConfig) -> HazardCurve:
    """Return what the hazards of a model of these lifetimes mean."""
    spec = lifetimes.spec
    return HazardCurve(
        tuple(lifetimes.breaks.tolist()),
        spec.horizon,
        spec.unit,
        spec.elapsed,
        money.margin,
        money.margin_column,
        money.discount_rate,
    )


def within_horizon(
    customers: Customers, rows: np.ndarray, logits: np.ndarray, curve: HazardCurve
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of which rows it is known whether they left within the horizon, which did, and what the model said of it.

    Args:
        customers: The table.
        rows: ``(n,)`` row numbers.
        logits: ``(n, K)`` of these rows.
        curve: What they mean.

    Returns:
        ``(n,)`` bool, and of the ``m`` rows that are known ``(m,)`` int64 and ``(m,)`` float64: all from the moment at
        which each came under observation.
    """
    lifetimes = _of(customers)
    known, left = lifetimes.known(rows, curve.horizon)
    return known, left[known], curve.probabilities(logits, _entry(lifetimes, rows))[known]


def horizon_threshold(
    customers: Customers,
    rows: np.ndarray,
    logits: np.ndarray,
    curve: HazardCurve,
    config: TrainConfig,
    campaign: Campaign,
) -> float:
    """Return the threshold of the probability of leaving within the horizon that held-out rows suggest.

    Of rows that were lost from sight before, nobody knows whether they left; the others decide.

    Raises:
        ConfigError: If nobody, or everybody, of them left within the horizon.
    """
    _, label, gone = within_horizon(customers, rows, logits, curve)
    if config.threshold.rule not in ("fixed", "value") and len(np.unique(label)) < 2:
        raise ConfigError(
            f"task.horizon={curve.horizon:g}: {int(label.sum()):,} of the {len(label):,} validation customers of whom "
            "it is known left within it, and a threshold needs some who left and some who stayed; choose another "
            "horizon, or threshold=fixed"
        )
    return choose_threshold(label, gone, campaign=campaign, **asdict(config.threshold))


def survival_metrics(customers: Customers, rows: np.ndarray, logits: np.ndarray, curve: HazardCurve) -> dict[str, Any]:
    """Measure the curves of some rows, beside Kaplan and Meier's curve of the training rows.

    Args:
        customers: The table.
        rows: Row numbers.
        logits: ``(n, K)`` of these rows.
        curve: What they mean.
    """
    lifetimes, train = _of(customers), customers.rows("train")
    entry = _entry(lifetimes, rows)
    duration, event = lifetimes.duration[rows] - lifetimes.entry[rows], lifetimes.event[rows]
    of_training = lifetimes.duration[train] - lifetimes.entry[train], lifetimes.event[train]
    censoring, alike = KaplanMeier.of_censoring(*of_training), KaplanMeier.fit(*of_training)
    until = last_time(*of_training, censoring)
    breaks = np.asarray(curve.breaks)
    times = np.unique(np.concatenate([[0.0], breaks[breaks < until], [until]]))
    survival = curve.survival(logits, times, entry)
    own = brier_rows(survival, duration, event, times, censoring)
    base = brier_rows(np.tile(alike.at(times), (len(rows), 1)), duration, event, times, censoring)
    parts, base_parts = integrated(own, times), integrated(base, times)
    (score, interval), (by_all, _) = mean_with_interval(parts), mean_with_interval(base_parts)
    gain, gain_interval = mean_with_interval(base_parts - parts)
    risk = -curve.expected_lifetime(logits, entry, limit=until)
    ranked = concordance(duration, event, risk)
    horizons = sorted({curve.horizon, *(float(one) for one in (until / 2,) if one > curve.horizon)})
    ahead = np.asarray(horizons)
    left_by = 1.0 - curve.survival(logits, ahead, entry)
    at_breaks = 1.0 - curve.survival(logits, breaks, entry)
    known, _ = lifetimes.known(rows, curve.horizon)
    return {
        "unit": curve.unit,
        "horizon": curve.horizon,
        "n": len(rows),
        "events": int(event.sum()),
        "until": until,
        "nll": _nll(lifetimes, rows, logits),
        "concordance": ranked.value,
        "concordance_interval": list(ranked.interval),
        "concordance_ipcw": concordance_ipcw(duration, event, risk, censoring, until=until),
        "concordance_over_time": concordance_over_time(duration, event, at_breaks, breaks),
        "ibs": score,
        "ibs_interval": interval,
        "ibs_kaplan_meier": by_all,
        "ibs_gain": gain,
        "ibs_gain_interval": gain_interval,
        "brier": {
            "times": times.tolist(),
            "scores": own.mean(axis=0).tolist(),
            "kaplan_meier": base.mean(axis=0).tolist(),
        },
        "calibration": [
            calibration_at(left_by[:, place], duration, event, horizon=horizon)
            for place, horizon in enumerate(horizons)
        ],
        "mean_within_horizon": float(curve.probabilities(logits, entry).mean()),
        "unknown_at_horizon": int((~known).sum()),
    }


def _nll(lifetimes: Lifetimes, rows: np.ndarray, logits: np.ndarray) -> float:
    """Return the mean negative log-likelihood, as training minimises it."""
    import torch

    from churnlib.models.hazards import hazard_loss

    target = torch.from_numpy(lifetimes.targets(rows)).double()
    return float(hazard_loss(torch.from_numpy(np.asarray(logits, dtype=np.float64)), target).mean())


def kaplan_meier_metrics(metrics: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the figures of the curve of all training rows alike, from those of a side."""
    if metrics is None:
        return None
    survival = metrics["survival"]
    return {"concordance": 0.5, "ibs": survival["ibs_kaplan_meier"], "until": survival["until"]}


def _of(customers: Customers) -> Lifetimes:
    assert customers.lifetimes is not None
    return customers.lifetimes


def _entry(lifetimes: Lifetimes, rows: np.ndarray) -> np.ndarray | None:
    return lifetimes.entry[rows] if lifetimes.spec.entry is not None else None
