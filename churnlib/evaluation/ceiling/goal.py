"""A goal such as F1 of at least 0.85: met, not met but attainable, or above what the data can give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from churnlib.config.checks import nearest
from churnlib.errors import ConfigError
from churnlib.evaluation.ceiling.attainable import Estimate
from churnlib.evaluation.ceiling.expected import ESTIMATED
from churnlib.evaluation.metrics import FIGURES, OF_LAYER

MET, ATTAINABLE, OUT_OF_REACH, NOT_MET = "met", "attainable", "out of reach", "not met"
"""``attainable`` is not met as yet; ``not met`` is where there is no estimate."""

_CALIBRATION = (
    "it is about how a model says it, not about what these columns tell, and calibration brings it near its best"
)
_SHARE = "a share of customers to contact is a means, and neither more nor less of it is better"
_OTHER = "it follows from the Brier score, of which there is an estimate"
WITHOUT = {
    **dict.fromkeys(("ece", "calibration_intercept", "calibration_slope", "calibration_in_the_large"), _CALIBRATION),
    "reliability": _CALIBRATION,
    **dict.fromkeys(("resolution", "uncertainty", "brier_skill"), _OTHER),
    **dict.fromkeys(("mpc_share", "empc_share", "empb_share"), _SHARE),
    "auepc": "it is relative to what somebody would earn who knew the labels, not the probabilities",
}
"""Figures of which no attainable value is told, and why."""

SAID = {
    MET: "met",
    ATTAINABLE: "not met, but attainable",
    OUT_OF_REACH: "above what these data can give",
    NOT_MET: "not met",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a model shall reach on unseen customers.

    Attributes:
        metric: A figure of ``metrics.json``, of whatever layer.
        at_least: Smallest value that meets it.
        at_most: Largest one, for figures of which less is better.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        known = (*FIGURES, *(name for layer in OF_LAYER.values() for name in layer))
        if self.metric not in known:
            hint = nearest(self.metric, known) or f"; known are {', '.join(known)}"
            raise ConfigError(f"goal.metric={self.metric} is no figure of test rows{hint}")
        if (self.at_least is None) == (self.at_most is None):
            raise ConfigError(f"the goal {self.metric} needs at_least or at_most, one of them")

    @property
    def value(self) -> float:
        """Its limit."""
        limit = self.at_least if self.at_least is not None else self.at_most
        assert limit is not None
        return limit

    def met_by(self, value: float, *, allowance: float = 0.0) -> bool:
        """Whether a value meets it, or nearly does."""
        if self.at_least is not None:
            return value >= self.at_least - allowance
        return value <= self.value + allowance

    def __str__(self) -> str:
        return f"{self.metric} of at {'least' if self.at_least is not None else 'most'} {self.value:g}"


def figure_of(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return a figure of what :func:`~churnlib.evaluation.metrics.evaluate` returned, from whatever layer, or None.

    >>> figure_of({"f1": 0.6, "ranking": {"ks": 0.5}}, "ks")
    0.5
    """
    layers = (metrics, *(metrics[layer] for layer in OF_LAYER if layer in metrics))
    return next((part[name] for part in layers if name in part), None)


def judge(
    goal: Goal,
    estimate: Estimate | None,
    *,
    measured: float | None = None,
    interval: Sequence[float] | None = None,
    leaks: Sequence[str] = (),
    allowance: float = 0.0,
) -> dict[str, Any]:
    """Say how a goal stands.

    Args:
        goal: The goal.
        estimate: What can be attained; None where that is not known.
        measured: What test rows have shown; None without test rows.
        interval: Its 95 % interval.
        leaks: What was found that makes a result too good; then nothing is certified.
        allowance: By how much a better model may exceed the estimate's interval.

    Returns:
        JSON-ready: ``metric``, ``at_least``, ``at_most``, ``verdict`` (met, attainable, out of reach, not met),
        ``certified`` (met, without leaks, and not above what the estimate promises a test set), ``measured``,
        ``interval``, ``estimate`` and ``said``, a sentence.
    """
    beyond = measured is not None and estimate is not None and _too_good(goal, measured, estimate, allowance)
    if measured is not None and goal.met_by(measured):
        verdict = MET
    elif estimate is None:
        verdict = NOT_MET
    else:
        # The end of the interval that is nearer to the goal: what might be.
        nearest = estimate.high if goal.at_least is not None else estimate.low
        verdict = ATTAINABLE if goal.met_by(nearest, allowance=allowance) else OUT_OF_REACH
    found: dict[str, Any] = {
        "metric": goal.metric, "at_least": goal.at_least, "at_most": goal.at_most, "verdict": verdict,
        "certified": verdict == MET and not leaks and not beyond, "too_good": beyond, "leaks": list(leaks),
        "measured": measured, "interval": None if interval is None else list(interval),
        "estimate": None if estimate is None else estimate.to_dict(),
    }  # fmt: skip
    return {**found, "said": _sentence(goal, found, estimate)}


def _too_good(goal: Goal, measured: float, estimate: Estimate, allowance: float) -> bool:
    if goal.at_least is not None:
        return measured > estimate.test_high + allowance
    return measured < estimate.test_low - allowance


def _sentence(goal: Goal, found: Mapping[str, Any], estimate: Estimate | None) -> str:
    parts = [f"goal {goal}: {SAID[found['verdict']]}"]
    if found["measured"] is not None:
        within = found["interval"]
        shown = "" if within is None else f" ({within[0]:.3f}–{within[1]:.3f})"
        parts.append(f"test rows show {found['measured']:.3f}{shown}")
    if estimate is not None:
        parts.append(
            f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f}) can be attained with what was found in "
            f"these columns, and {estimate.test_rows:,} customers would show {estimate.test_low:.3f} to "
            f"{estimate.test_high:.3f}"
        )
    elif goal.metric not in ESTIMATED:
        parts.append(f"there is no estimate of what {goal.metric} can be: {WITHOUT[goal.metric]}")
    said = "; ".join(parts)
    if found["leaks"]:
        said += f". Not certified: {', '.join(found['leaks'])} may say more than is known on the day of the prediction"
    elif found["too_good"]:
        said += ". Too good: look for a leak, or for rows that were resampled before the split"
    return said


__all__ = ["ATTAINABLE", "MET", "NOT_MET", "OUT_OF_REACH", "WITHOUT", "Goal", "figure_of", "judge"]
