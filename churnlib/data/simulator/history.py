"""Monthly histories of the simulated customers, whose order says what nothing else in the table does.

Two list columns, oldest month first, the month of the snapshot last. A customer has as many months as he is old
(``tenure_months`` + 1), ``history_months`` at most; ``z`` are independent standard normals.

    data_usage_history_gb     last: ``monthly_data_usage_gb``; before: that x exp(0.15 z0) x exp(0.4 z) each month
    call_history_minutes      the same of ``call_duration_avg_minutes``
    streak                    longest run of months, the last one left out, each below the one before it, in the data
                              usage, or in the calls of a customer who uses no data
    churn                     ``3.0 (s(3 (streak - 2.5)) - 0.27)`` on top of ``model.churn_terms``: three
                              falls in a row, at any time of the year, are a customer who weans himself off

The months before the last are drawn alike and independently around the customer's own level, so that each order of
them is as likely as any other, whatever the values are. Hence nothing that forgets the order (mean, spread, smallest,
largest), nor the last value, says anything about the streak; only the number of months does, which the tenure says too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from churnlib.data.simulator.errors import USAGE_ERROR
from churnlib.data.simulator.model import Customers, sigmoid

MAX_MONTHS = 120

LEVEL_SPREAD = 0.15
"""Standard deviation of the logarithm of the earlier months' level over the last month."""
MONTH_SPREAD = 0.4
"""Standard deviation of the logarithm of an earlier month over its level."""
EMPTY_WEIGHT = 0.5
"""What multiplies ``missing_share`` for histories that are missing as a whole; of single months it is the share."""


@dataclass(frozen=True)
class Histories:
    """True histories, without missing months or errors.

    Attributes:
        months: ``(n,)`` int64 number of months of each customer, at least 1.
        values: By column ``(n, history_months)`` float64, right-aligned; NaN before a customer's first month.
        streak: ``(n,)`` int64 longest run of falls.
    """

    months: np.ndarray
    values: dict[str, np.ndarray]
    streak: np.ndarray

    def churn_term(self) -> np.ndarray:
        """Return what the streak adds to the logit of churn, ``(n,)`` float64; close to 0 on average over a year."""
        return 3.0 * (sigmoid(3.0 * (self.streak - 2.5)) - 0.27)


def draw_histories(rng: np.random.Generator, customers: Customers, history_months: int) -> Histories:
    """Draw the histories of customers.

    Args:
        rng: Generator of the draws.
        customers: Whose histories they are.
        history_months: Most months of a history, at least 1.
    """
    months = np.minimum(customers.tenure_months + 1, history_months)
    before = np.arange(history_months) < (history_months - months)[:, None]
    values = {
        "data_usage_history_gb": _months(rng, customers.monthly_data_usage_gb, before),
        "call_history_minutes": _months(rng, customers.call_duration_avg_minutes, before),
    }
    usage, calls = values.values()
    read = np.where(customers.monthly_data_usage_gb[:, None] > 0, usage, calls)
    return Histories(months, values, longest_fall(read[:, :-1]))


def _months(rng: np.random.Generator, last: np.ndarray, before: np.ndarray) -> np.ndarray:
    n, history_months = before.shape
    level = last * np.exp(LEVEL_SPREAD * rng.standard_normal(n))
    noise = np.exp(MONTH_SPREAD * rng.standard_normal((n, history_months)))
    values = np.round(level[:, None] * noise, 3)
    values[:, -1] = last
    return np.where(before, np.nan, values)


def longest_fall(values: np.ndarray) -> np.ndarray:
    """Return the longest run of values below the one before, ``(n,)`` int64, of ``(n, months)``; NaN ends a run.

    >>> longest_fall(np.array([[5.0, 4.0, 3.0, 9.0, 8.0], [np.nan, 1.0, 1.0, 2.0, 3.0]])).tolist()
    [2, 0]
    """
    run = longest = np.zeros(len(values), dtype=np.int64)
    for month in range(1, values.shape[1]):
        run = (run + 1) * (values[:, month] < values[:, month - 1])
        longest = np.maximum(longest, run)
    return longest


def history_columns(
    histories: Histories, rng: np.random.Generator, *, missing_share: float, outlier_share: float
) -> dict[str, pl.Series]:
    """Return the histories as list columns, with the errors of real source systems.

    The random numbers are drawn whatever the shares are.

    Args:
        histories: The true ones.
        rng: Generator of the draws.
        missing_share: Fraction of months without a value (null), and, times ``EMPTY_WEIGHT``, of missing histories.
        outlier_share: Fraction of months in which the meter failed (``USAGE_ERROR``).
    """
    return {
        name: _lists(values, histories.months, rng, missing_share, outlier_share)
        for name, values in histories.values.items()
    }


def _lists(
    values: np.ndarray, months: np.ndarray, rng: np.random.Generator, missing_share: float, outlier_share: float
) -> pl.Series:
    values = np.where(rng.random(values.shape) < outlier_share, np.round(values * USAGE_ERROR, 3), values)
    values = np.where(rng.random(values.shape) < missing_share, np.nan, values)
    gone = rng.random(len(values)) < missing_share * EMPTY_WEIGHT
    table = pl.DataFrame({"steps": pl.Series(values), "months": months, "gone": gone})
    lists = pl.col("steps").arr.to_list().list.tail(pl.col("months")).list.eval(pl.element().fill_nan(None))
    return table.select(pl.when(~pl.col("gone")).then(lists)).to_series()
