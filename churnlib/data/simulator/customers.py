"""The table of simulated customers, with the labels and the true probabilities behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from churnlib.data.simulator import events, model
from churnlib.data.simulator.drawing import in_memory, into_parquet
from churnlib.data.simulator.errors import with_duplicates, with_missing, with_outliers
from churnlib.data.simulator.history import draw_histories, history_columns
from churnlib.data.simulator.options import (
    BLOCK_SIZE,
    DUPLICATE_SHARE,
    MAX_CUSTOMERS,
    MISSING_SHARE,
    OUTLIER_SHARE,
    SNAPSHOT_DATE,
    TREATMENT,
    Options,
    check_whole,
    customer_names,
    draw_snapshots,
    generator_of,
)

TRUTH = "true_churn_probability"
"""Column of the true probabilities in a Parquet file; never a feature."""

TREATED, TRUE_EFFECT = "treated", "true_churn_prevented"
"""Columns of who was treated, and of how much of each one's probability of leaving the treatment takes away."""


@dataclass(frozen=True)
class SimulatedCustomers:
    """A simulated table and what no real table has: the truth behind its labels.

    Attributes:
        table: One row per customer and repeated row, in no telling order.
        churn_probability: ``(rows,)`` float64, the true probability of ``churn == "yes"`` of each row of ``table``,
            treated or not as the row says.
        churn_prevented: ``(rows,)`` float64, how much of it the treatment takes away from each row's customer, whether
            he is treated or not; negative where it drives customers away. None without a treatment.
    """

    table: pl.DataFrame
    churn_probability: np.ndarray
    churn_prevented: np.ndarray | None = None


def _text(codes: np.ndarray, labels: Sequence[str]) -> pl.Series:
    """Return the label of each code (integer or bool) as text."""
    return pl.Series(labels, dtype=pl.String).gather(pl.Series(codes.astype(np.uint32)))


def _yes_no(flags: np.ndarray) -> pl.Series:
    return _text(flags, ("no", "yes"))


def _clean_table(customers: model.Customers, first_number: int, snapshot: np.ndarray) -> pl.DataFrame:
    """Lay the customers out as a company stores them; ``snapshot`` is ``(n,)`` datetime64[D]."""
    return pl.DataFrame(
        {
            "customer_id": customer_names(first_number, len(snapshot)),
            "snapshot_date": pl.Series(snapshot),
            "age": customers.age,
            "gender": _text(customers.gender, model.GENDERS),
            "region": _text(customers.region, model.REGIONS),
            "partner": _yes_no(customers.partner),
            "dependents": _yes_no(customers.dependents),
            "tenure_months": customers.tenure_months,
            "contract": _text(customers.contract, model.CONTRACTS),
            "payment_method": _text(customers.payment_method, model.PAYMENT_METHODS),
            "phone_service": _yes_no(customers.phone_service),
            "multiple_lines": _yes_no(customers.multiple_lines),
            "internet_service": _text(customers.internet_service, model.INTERNET),
            **{name: _yes_no(booked) for name, booked in customers.additions.items()},
            "number_of_services": customers.number_of_services,
            "monthly_data_usage_gb": customers.monthly_data_usage_gb,
            "call_duration_avg_minutes": customers.call_duration_avg_minutes,
            "monthly_charges": customers.monthly_charges,
            "total_charges": customers.total_charges,
            "support_tickets": customers.support_tickets,
            "last_interaction_date": snapshot - customers.days_since_interaction.astype("timedelta64[D]"),
        }
    )


def _outcome(probability: np.ndarray, snapshot: np.ndarray, rng: np.random.Generator) -> dict[str, pl.Series]:
    """Draw who leaves and on which day of the horizon; the date of those who stay is null."""
    churn = rng.random(len(probability)) < probability
    day = snapshot + rng.integers(1, model.HORIZON_DAYS + 1, len(probability)).astype("timedelta64[D]")
    return {
        "churn": _yes_no(churn),
        "churn_date": pl.Series(np.where(churn, day, np.datetime64("NaT"))),
        TRUTH: pl.Series(probability),
    }


def _block(options: Options, number: int, keep: int) -> pl.DataFrame:
    """Draw block ``number`` and return its first ``keep`` customers, repeated rows on top, with the truth.

    The whole block is drawn whatever ``keep`` is: that is what makes small tables the beginnings of large ones. Five
    generators keep who the customers are, what happens to them, the errors, the histories and the trends independent
    of each other's options; each event table has one more.
    """
    people, fate, errors, past, trends = (generator_of(number, stream, options) for stream in range(5))
    customers = model.draw_customers(people, BLOCK_SIZE)
    snapshot = draw_snapshots(fate, options)
    table = _clean_table(customers, number * BLOCK_SIZE + 1, snapshot)
    terms = []
    if options.history_months:
        histories = draw_histories(past, customers, options.history_months)
        shares = {"missing_share": options.missing_share, "outlier_share": options.outlier_share}
        table = table.with_columns(**history_columns(histories, past, **shares))
        terms.append(histories.churn_term())
    if options.event_days:
        terms.append(events.churn_term(events.draw_trends(trends, BLOCK_SIZE)))
    probability = model.churn_probability(customers, *terms)
    if options.treatment_share:
        chance = generator_of(number, TREATMENT, options).random(BLOCK_SIZE)
        treated = chance < options.treatment_share
        with_it = model.churn_probability(customers, *terms, model.treatment_term(customers))
        table = table.with_columns(_yes_no(treated).alias(TREATED), pl.Series(TRUE_EFFECT, probability - with_it))
        probability = np.where(treated, with_it, probability)
    table = table.with_columns(**_outcome(probability, snapshot, fate))
    table = with_outliers(table, errors, options.outlier_share)
    table = with_missing(table, customers, errors, options.missing_share)
    return with_duplicates(table, errors, options.duplicate_share, keep=keep)


def simulate(
    n_customers: int,
    *,
    seed: int = 0,
    n_snapshots: int = 1,
    snapshot_date: date = SNAPSHOT_DATE,
    missing_share: float = MISSING_SHARE,
    outlier_share: float = OUTLIER_SHARE,
    duplicate_share: float = DUPLICATE_SHARE,
    history_months: int = 0,
    event_days: int = 0,
    treatment_share: float = 0.0,
) -> SimulatedCustomers:
    """Simulate a telecom company's customers, with the labels and the true probabilities behind them.

    Args:
        n_customers: Distinct customers, at least 1; repeated rows come on top.
        seed: Whole number from 0; the same seed gives the same customers in tables of every size.
        n_snapshots: Month-end dates over which the customers are spread evenly; each customer has one row all the same,
            and nothing drifts.
        snapshot_date: The last (or only) date at which customers are looked at.
        missing_share: Fraction in [0, 0.2] of missing cells in a typical column with missing cells; see
            ``errors.MISSING_WEIGHTS``.
        outlier_share: Fraction in [0, 0.2] of impossible values in each of three columns; see ``errors``.
        duplicate_share: Fraction in [0, 0.2] of the rows that are repeated exactly, under the same ``customer_id``.
        history_months: Most months of the two usage histories, list columns that bear on churn by their order, up to
            120; 0 for a table without them. See ``history``.
        event_days: Days of the events that :func:`simulate_events` gives these customers, and whose trend then bears on
            churn; 0 for customers without events. See ``events``.
        treatment_share: Fraction in [0, 0.95] of the customers, chosen at random, who are treated: a column
            ``treated``, and another chance of churn (``model.treatment_term``); 0 for a table without it.

    Raises:
        ConfigError: An argument is outside its range.
    """
    check_whole("n_customers", n_customers, low=1, high=MAX_CUSTOMERS)
    options = Options(
        seed, n_snapshots, snapshot_date, missing_share, outlier_share, duplicate_share, history_months, event_days,
        treatment_share,
    )  # fmt: skip
    table = in_memory(partial(_block, options), n_customers)
    prevented = table[TRUE_EFFECT].to_numpy() if treatment_share else None
    shown = table.drop(TRUTH, *([TRUE_EFFECT] if treatment_share else []))
    return SimulatedCustomers(shown, table[TRUTH].to_numpy(), prevented)


def simulate_to_parquet(
    path: str | Path,
    n_customers: int,
    *,
    seed: int = 0,
    truth: bool = True,
    progress: Callable[[int], None] | None = None,
    n_snapshots: int = 1,
    snapshot_date: date = SNAPSHOT_DATE,
    missing_share: float = MISSING_SHARE,
    outlier_share: float = OUTLIER_SHARE,
    duplicate_share: float = DUPLICATE_SHARE,
    history_months: int = 0,
    event_days: int = 0,
    treatment_share: float = 0.0,
) -> int:
    """Write the table of ``simulate`` to a Parquet file, in memory that does not grow with its size.

    The file is written under a temporary name beside ``path`` and renamed at the end: it is there whole or not at all,
    and an older file of that name is replaced only then.

    Args:
        path: File to write; its folder must exist.
        n_customers: Distinct customers, at least 1; repeated rows come on top.
        seed: As in ``simulate``.
        truth: Add the column ``true_churn_probability``, which must never become a feature.
        progress: Called in the writing thread with the number of rows drawn so far, every ``BLOCK_SIZE`` customers.
        n_snapshots: As in ``simulate``, like everything below.
        snapshot_date: The last snapshot.
        missing_share: Fraction in [0, 0.2].
        outlier_share: Fraction in [0, 0.2].
        duplicate_share: Fraction in [0, 0.2].
        history_months: Up to 120, 0 for none.
        event_days: Days of the events that the customers have, 0 for none.
        treatment_share: Fraction in [0, 0.95] of those who are treated, 0 for none.

    Returns:
        Number of rows written.

    Raises:
        ConfigError: An argument is outside its range.
        DataError: The file cannot be written.
    """
    check_whole("n_customers", n_customers, low=1, high=MAX_CUSTOMERS)
    options = Options(
        seed, n_snapshots, snapshot_date, missing_share, outlier_share, duplicate_share, history_months, event_days,
        treatment_share,
    )  # fmt: skip
    left_out = () if truth else (TRUTH, TRUE_EFFECT) if treatment_share else (TRUTH,)
    return into_parquet(partial(_block, options), n_customers, Path(path), left_out=left_out, progress=progress)


__all__ = ["TRUTH", "SimulatedCustomers", "simulate", "simulate_to_parquet"]
