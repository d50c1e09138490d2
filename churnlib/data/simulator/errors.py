"""The errors of real source systems, put into a clean simulated table: missing cells, wrong numbers, repeated rows.

Every kind has one share that can be set to 0. The random numbers are drawn whatever the shares are, so that two tables
that differ in one share differ in those cells only.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from churnlib.data.simulator.model import Customers

MISSING_WEIGHTS = {
    "age": 1.5,
    "payment_method": 1.0,
    "monthly_data_usage_gb": 1.0,
    "call_duration_avg_minutes": 2.0,
    "total_charges": 0.5,
    "last_interaction_date": 0.5,
}
"""Columns with missing cells, and what multiplies ``missing_share`` there: with 0.02, 1 % to 4 % are missing."""

USAGE_ERROR = 20.0
"""Factor on the data usage of a customer whose meter failed."""
CALL_ERROR = 60.0
"""Factor on a call duration that was recorded in seconds."""
AGE_ERROR = 125
"""The age of a customer whose unknown birthday was recorded as 1 January 1900."""


def _tendencies(customers: Customers) -> dict[str, np.ndarray]:
    """Return how much more often the cells of some customers are missing than others', each ``(n,)``, any scale.

    The causes all stand in the table themselves: old customers withhold their age, nothing is metered for those who
    have not been seen for long, newcomers are not billed yet. The other columns lose cells evenly.
    """
    return {
        "age": 1.0 + 1.0 * (customers.age >= 60),
        "monthly_data_usage_gb": 1.0 + customers.days_since_interaction / 90.0,
        "total_charges": 1.0 + 4.0 * np.exp(-customers.tenure_months / 3.0),
    }


def with_missing(table: pl.DataFrame, customers: Customers, rng: np.random.Generator, share: float) -> pl.DataFrame:
    """Return the table with cells of the columns of ``MISSING_WEIGHTS`` emptied (null).

    Args:
        table: One row per customer, in the order of ``customers``.
        customers: The same customers without errors; they say who loses cells more often.
        rng: Generator of the draws.
        share: Fraction in [0, 0.2]; a column's expected share of missing cells is ``share`` times its weight.
    """
    tendencies = _tendencies(customers)
    emptied = []
    for column, weight in MISSING_WEIGHTS.items():
        tendency = tendencies.get(column, np.ones(table.height))
        missing = rng.random(table.height) < share * weight * tendency / tendency.mean()
        emptied.append(pl.when(~pl.Series(missing)).then(pl.col(column)).alias(column))
    return table.with_columns(emptied)


def with_outliers(table: pl.DataFrame, rng: np.random.Generator, share: float) -> pl.DataFrame:
    """Return the table with impossible values in the usage, call duration and age of some customers.

    Args:
        table: Any number of rows.
        rng: Generator of the draws.
        share: Fraction in [0, 1] of the rows of each of the three columns; a usage or duration of 0 stays 0.
    """
    usage, calls, age = (pl.Series(rng.random(table.height) < share) for _ in range(3))
    factors = {"monthly_data_usage_gb": (usage, USAGE_ERROR), "call_duration_avg_minutes": (calls, CALL_ERROR)}
    return table.with_columns(
        *(
            pl.when(wrong).then((pl.col(name) * factor).round(2)).otherwise(pl.col(name)).alias(name)
            for name, (wrong, factor) in factors.items()
        ),
        age=pl.when(age).then(pl.lit(AGE_ERROR, dtype=pl.Int64)).otherwise(pl.col("age")),
    )


def with_duplicates(table: pl.DataFrame, rng: np.random.Generator, share: float, *, keep: int) -> pl.DataFrame:
    """Return the first ``keep`` rows, some of them repeated exactly at a random later place.

    The draws are made for the whole table, so that which rows are repeated does not depend on ``keep``; where the
    copies stand does.

    Args:
        table: Any number of rows.
        rng: Generator of the draws.
        share: Fraction in [0, 1] of the rows that are repeated.
        keep: Number of distinct rows to return, at most the table's height.
    """
    repeated = np.flatnonzero((rng.random(table.height) < share)[:keep])
    later = rng.random(table.height)[repeated]
    # A copy of row i is put after row floor(i + U (keep - i)); a stable sort leaves an original before its copy.
    after = repeated + np.floor(later * (keep - repeated)).astype(np.int64)
    rows = np.concatenate([np.arange(keep), repeated])
    order = np.argsort(np.concatenate([np.arange(keep), after]), kind="stable")
    return table[rows[order]]
