"""From the hazards that a model gives to when a customer leaves: survival, any horizon, remaining lifetime, value.

A hazard model has one logit for each interval of time, ``(breaks[j - 1], breaks[j]]`` with 0 before the first break:
the log-odds of leaving in it for who is still there when it begins. A customer's chance of still being there at the end
of interval j is ``prod_{i <= j} (1 - h_i)``; within an interval the rate of leaving is constant, so that the logarithm
of survival falls in a straight line from break to break. Beyond the last break it goes on at the last interval's rate.

Everything is numpy in float64: torch, ONNX, a scored file and the server share it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

UNITS_PER_MONTH = {"days": 365.25 / 12, "weeks": 365.25 / 84, "months": 1.0, "quarters": 1 / 3, "years": 1 / 12}
"""Units of time, and how many of them a month has."""

METHOD = "hazard"

LEAST_HAZARD = 1e-300
"""Hazard below which customers are as good as sure to stay; its logarithm is a number."""


@dataclass(frozen=True, slots=True)
class HazardCurve:
    """What the logits of a hazard model mean; stands where other models have their calibration.

    Attributes:
        breaks: ``(K,)`` ends of the intervals, ascending, in units of time; the first begins at 0.
        horizon: Time ahead of which ``churn_probability`` speaks where nobody says otherwise.
        unit: A key of ``UNITS_PER_MONTH``.
        elapsed: Column with the time that a customer has been there already, where time is counted from the start of
            the relationship; None where it is counted from the moment at which a row is taken.
        margin: What a customer brings in a month, of those without a number of their own; None if nobody said so.
        margin_column: Column with what each brings in a month.
        discount_rate: By which money a year later is worth less, such as 0.1.
    """

    breaks: tuple[float, ...]
    horizon: float
    unit: str = "months"
    elapsed: str | None = None
    margin: float | None = None
    margin_column: str | None = None
    discount_rate: float = 0.0

    def __post_init__(self) -> None:
        ends = np.asarray(self.breaks, dtype=np.float64)
        if not len(ends) or not np.isfinite(ends).all() or (np.diff(ends, prepend=0.0) <= 0).any():
            raise ValueError(f"breaks must be rising numbers above 0, got {list(self.breaks)[:8]}")
        if self.unit not in UNITS_PER_MONTH:
            raise ValueError(f"unit must be one of {', '.join(UNITS_PER_MONTH)}, got {self.unit!r}")
        self.check_horizon(self.horizon)

    @property
    def method(self) -> str:
        """``hazard``."""
        return METHOD

    @property
    def end(self) -> float:
        """The last break: nobody was followed for longer."""
        return self.breaks[-1]

    def check_horizon(self, horizon: float) -> float:
        """Return a horizon that these intervals can speak of.

        Raises:
            ValueError: If it is not above 0, or longer than anybody was followed.
        """
        if not 0 < horizon <= self.end:
            raise ValueError(
                f"horizon={horizon:g} must be above 0 and at most {self.end:g} {self.unit}, for which customers were "
                "followed in training"
            )
        return float(horizon)

    # --- curves -----------------------------------------------------------------------------------------------------

    def cumulative_hazard(self, logits: ArrayLike, times: ArrayLike) -> Floats:
        """Return minus the logarithm of survival.

        Args:
            logits: ``(n, K)``, or ``(n,)`` for a single interval.
            times: ``(m,)``, the same for all, or ``(n, m)``; at least 0.

        Returns:
            ``(n, m)``; NaN where a logit is.
        """
        at = np.asarray(times, dtype=np.float64)
        knots = np.concatenate([[0.0], self.breaks])
        values = np.asarray(logits, dtype=np.float64).reshape(-1, len(self.breaks))
        steps = np.maximum(values, 0.0) + np.log1p(np.exp(-np.abs(values)))  # -log(1 - h)
        total = np.concatenate([np.zeros((len(values), 1)), np.cumsum(steps, axis=1)], axis=1)
        place = np.clip(np.searchsorted(knots, at, side="left") - 1, 0, len(self.breaks) - 1)
        share = (at - knots[place]) / np.diff(knots)[place]  # above 1 behind the last break
        if at.ndim == 1:
            return total[:, place] + share * steps[:, place]
        return np.take_along_axis(total, place, axis=1) + share * np.take_along_axis(steps, place, axis=1)

    def survival(self, logits: ArrayLike, times: ArrayLike, elapsed: ArrayLike | None = None) -> Floats:
        """Return the probability of still being there, ``(n, m)``.

        >>> curve = HazardCurve((1.0, 2.0), horizon=1.0)
        >>> curve.survival([[0.0, 0.0]], [0.5, 1.0, 2.0]).round(4).tolist()  # half leave in each interval
        [[0.7071, 0.5, 0.25]]

        Args:
            logits: See :meth:`cumulative_hazard`.
            times: ``(m,)`` from now on.
            elapsed: ``(n,)`` time that each customer has been there already, which is then taken as given.
        """
        return np.exp(-self._ahead(logits, np.asarray(times, dtype=np.float64), elapsed))

    def _ahead(self, logits: ArrayLike, times: Floats, elapsed: ArrayLike | None) -> Floats:
        """Return the hazard that customers face from now until each of these times."""
        if elapsed is None:
            return self.cumulative_hazard(logits, times)
        now = np.asarray(elapsed, dtype=np.float64).reshape(-1, 1)
        return self.cumulative_hazard(logits, now + times) - self.cumulative_hazard(logits, now)

    def probabilities(
        self, logits: ArrayLike, elapsed: ArrayLike | None = None, *, horizon: float | None = None
    ) -> Floats:
        """Return the probability of leaving within a horizon, ``(n,)``, of those who are still there.

        Args:
            logits: See :meth:`cumulative_hazard`.
            elapsed: ``(n,)`` time that each customer has been there already; 0 when None.
            horizon: Time ahead; the usual one when None.

        Raises:
            ValueError: If the horizon is longer than anybody was followed.
        """
        ahead = self.horizon if horizon is None else self.check_horizon(horizon)
        return -np.expm1(-self._ahead(logits, np.array([ahead]), elapsed)[:, 0])

    def log_odds(self, logits: ArrayLike, elapsed: ArrayLike | None = None, *, horizon: float | None = None) -> Floats:
        """Return the log-odds of leaving within a horizon, ``(n,)``: finite also where the probability rounds to 1.

        >>> HazardCurve((1.0, 2.0), horizon=2.0).log_odds([[0.0, 0.0]]).round(4).tolist()  # three quarters leave
        [1.0986]

        Args:
            logits: See :meth:`cumulative_hazard`.
            elapsed: ``(n,)`` time that each customer has been there already; 0 when None.
            horizon: Time ahead; the usual one when None.

        Raises:
            ValueError: If the horizon is longer than anybody was followed.
        """
        ahead = self.horizon if horizon is None else self.check_horizon(horizon)
        hazard = np.maximum(self._ahead(logits, np.array([ahead]), elapsed)[:, 0], LEAST_HAZARD)
        return hazard + np.log(-np.expm1(-hazard))

    def expected_lifetime(self, logits: ArrayLike, elapsed: ArrayLike | None = None, *, limit: float) -> Floats:
        """Return how long customers are expected to stay within a limit from now on, ``(n,)``: the area under survival.

        Exact for a rate that is constant within intervals.

        Args:
            logits: See :meth:`cumulative_hazard`.
            elapsed: ``(n,)`` time that each customer has been there already; 0 when None.
            limit: Time ahead, above 0.
        """
        n = len(np.asarray(logits))
        now = np.zeros((n, 1)) if elapsed is None else np.asarray(elapsed, dtype=np.float64).reshape(-1, 1)
        inner = np.clip(np.asarray(self.breaks) - now, 0.0, limit)  # the breaks as seen from each customer's now
        edges = np.concatenate([np.zeros((n, 1)), inner, np.full((n, 1), limit)], axis=1)
        hazard = self.cumulative_hazard(logits, now + edges) - self.cumulative_hazard(logits, now)
        return (np.exp(-hazard[:, :-1]) * _mean_decay(np.diff(hazard, axis=1)) * np.diff(edges, axis=1)).sum(axis=1)

    def value(self, logits: ArrayLike, margin: ArrayLike, elapsed: ArrayLike | None = None, *, limit: float) -> Floats:
        """Return what customers bring while they stay, in today's money, ``(n,)``.

        ``sum_k margin (1 + r)^(-k) S(k)`` over the ends k of the months until the limit, r by month.

        Args:
            logits: See :meth:`cumulative_hazard`.
            margin: ``(n,)`` or a number: money a month.
            elapsed: ``(n,)`` time that each customer has been there already; 0 when None.
            limit: Time ahead, in the units of the breaks.
        """
        per_month = UNITS_PER_MONTH[self.unit]
        months = np.arange(1, math.floor(limit / per_month + 1e-9) + 1)
        worth = (1.0 + self.discount_rate) ** (-months / 12.0)
        return np.asarray(margin, dtype=np.float64) * (self.survival(logits, months * per_month, elapsed) @ worth)

    # --- writing down -----------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        names = ("horizon", "unit", "elapsed", "margin", "margin_column", "discount_rate")
        return {"method": METHOD, "breaks": list(self.breaks), **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HazardCurve:
        """Read what :meth:`to_dict` returned."""
        given = {key: value for key, value in values.items() if key != "method"}
        return cls(**{**given, "breaks": tuple(map(float, values["breaks"]))})


def _mean_decay(hazard: Floats) -> Floats:
    """Return the mean of ``exp(-u)`` for u from 0 to the hazard; 1 where there is none."""
    safe = np.where(hazard < 1e-8, 1.0, hazard)
    return np.where(hazard < 1e-8, 1.0 - hazard / 2, -np.expm1(-safe) / safe)
