"""How long each customer of a table is expected to stay, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from churnlib.data.values import numbers_in
from churnlib.errors import ConfigError, DataError
from churnlib.reading import Reading
from churnlib.survival import HazardCurve


@dataclass(frozen=True, slots=True)
class Survival:
    """When customers are expected to leave; see :meth:`churnlib.predictor.Predictor.survival`.

    Rows that cannot be scored are NaN.

    Attributes:
        customers: ``(n,)`` their names.
        times: ``(m,)`` from now on, in ``unit``.
        survival: ``(n, m)`` float64, the probability of still being there.
        elapsed: ``(n,)`` time that each has been there already, 0 where time begins now.
        lifetime: ``(n,)`` expected time that each stays within ``limit`` from now.
        limit: Time ahead that ``lifetime`` and ``value`` cover.
        value: ``(n,)`` what each brings within it, in today's money; None where nobody said what they bring in a month.
        unit: months, days, ...
    """

    customers: pl.Series
    times: np.ndarray
    survival: np.ndarray
    elapsed: np.ndarray
    lifetime: np.ndarray
    limit: float
    value: np.ndarray | None
    unit: str

    def frame(self) -> pl.DataFrame:
        """Return a table: one row per customer, with a column ``survival_<time>`` for each time."""
        columns = {"elapsed": self.elapsed, "expected_lifetime": self.lifetime}
        columns |= {} if self.value is None else {"customer_value": self.value}
        columns |= {f"survival_{time:g}": curve for time, curve in zip(self.times, self.survival.T, strict=True)}
        table = pl.DataFrame({name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()})
        return pl.concat([pl.DataFrame([self.customers]), table.fill_nan(None)], how="horizontal")


def check_times(curve: HazardCurve, times: Sequence[float] | None, limit: float | None) -> tuple[np.ndarray, float]:
    """Return the times to speak of and the limit, as asked for or those of the model.

    Raises:
        ConfigError: If they are impossible.
    """
    at = np.asarray(curve.breaks if times is None else times, dtype=np.float64)
    until = curve.end if limit is None else float(limit)
    if at.ndim != 1 or not np.isfinite(at).all() or (at < 0).any() or not 0 < until < np.inf:
        raise ConfigError(f"times must be numbers of at least 0 and limit one above 0, got {times!r} and {limit!r}")
    return at, until


def survival_of(
    curve: HazardCurve, reading: Reading, logits: np.ndarray, customers: pl.Series, *, times: np.ndarray, limit: float
) -> Survival:
    """Return when customers are expected to leave.

    Args:
        curve: What the logits mean.
        reading: The customers.
        logits: ``(n, K)``.
        customers: Their names.
        times: ``(m,)`` from now on.
        limit: Time ahead that lifetime and value cover.

    Raises:
        DataError: If nobody knows what customers bring, and the table lacks the column that should say so.
    """
    elapsed, money = elapsed_of(reading.typed, curve), _margins(reading, curve)
    survival = curve.survival(logits, times, elapsed)
    lifetime = curve.expected_lifetime(logits, elapsed, limit=limit)
    value = None if money is None else curve.value(logits, money, elapsed, limit=limit)
    now = np.zeros(len(reading)) if elapsed is None else elapsed
    for figures in (survival, lifetime, now, *(() if value is None else (value,))):
        figures[reading.bad] = np.nan
    return Survival(customers, times, survival, now, lifetime, limit, value, curve.unit)


def elapsed_of(typed: pl.DataFrame, curve: HazardCurve) -> np.ndarray | None:
    """Return how long the customers of a typed table have been there, ``(n,)``; negative and missing times count as 0.

    None where time begins when a row is taken.
    """
    return None if curve.elapsed is None else since(typed[curve.elapsed])


def since(times: pl.Series) -> np.ndarray:
    """Return a typed column of times as the model takes them: negative and missing ones are 0."""
    return np.maximum(times.cast(pl.Float64).fill_null(0.0).to_numpy(), 0.0)


def _margins(reading: Reading, curve: HazardCurve) -> np.ndarray | None:
    """Return what each customer brings in a month, NaN where nobody knows; None where that goes for all."""
    n, name = len(reading), curve.margin_column
    alike = np.full(n, np.nan if curve.margin is None else curve.margin)
    if name is None or name not in reading.frame.columns:
        if name is not None and curve.margin is None:
            raise DataError(f"the table lacks the column {name!r}, which says what a customer brings in a month")
        return None if curve.margin is None else alike
    numbers = numbers_in(reading.frame, name)
    return np.where(np.isnan(numbers), alike, numbers)


__all__ = ["Survival", "check_times", "elapsed_of", "since", "survival_of"]
