"""Simulated telecom customers, the embedded default data: any number, from a model whose best result is known.

``simulator_model`` says who the customers are and how likely each is to leave; ``simulator_history`` gives them monthly
histories and ``simulator_events`` tables of events, if wanted; ``simulator_errors`` adds what real source systems get
wrong; this module deals all of it out as tables, in memory or straight into a Parquet file.

Customers are drawn in blocks of ``BLOCK_SIZE``, each with generators of its own from (seed, number of the block).
Hence a customer is the same in a table of any size: the distinct customers of ``simulate(1_000, seed=s)`` are the
first 1,000 of ``simulate(1_000_000, seed=s)``, errors included, and a file holds the very rows of the table in memory.
(Only the places of the repeated rows within the last, unfinished block depend on the size.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from churnlib.data import simulator_events as events
from churnlib.data import simulator_model as model
from churnlib.data.simulator_errors import with_duplicates, with_missing, with_outliers
from churnlib.data.simulator_history import MAX_MONTHS, draw_histories, history_columns
from churnlib.errors import ConfigError, DataError

BLOCK_SIZE = 10_000
"""Customers that are drawn at once; changing it changes every table."""
MAX_CUSTOMERS = 1_000_000_000
"""Identifiers have nine digits."""
ROW_GROUP_ROWS = 100_000
TRUTH = "true_churn_probability"
"""Column of the true probabilities in a Parquet file; never a feature."""

SNAPSHOT_DATE = date(2025, 6, 30)
MISSING_SHARE = 0.02
OUTLIER_SHARE = 0.003
DUPLICATE_SHARE = 0.005


@dataclass(frozen=True)
class SimulatedCustomers:
    """A simulated table and what no real table has: the truth behind its labels.

    Attributes:
        table: One row per customer and repeated row, in no telling order.
        churn_probability: ``(rows,)`` float64, the true probability of ``churn == "yes"`` of each row of ``table``.
    """

    table: pl.DataFrame
    churn_probability: np.ndarray


@dataclass(frozen=True)
class Options:
    """What a draw depends on besides its size, checked once."""

    seed: int
    n_snapshots: int
    snapshot_date: date
    missing_share: float
    outlier_share: float
    duplicate_share: float
    history_months: int
    event_days: int = 0

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, low=0, high=2**63 - 1)
        check_whole("n_snapshots", self.n_snapshots, low=1, high=120)
        check_whole("history_months", self.history_months, low=0, high=MAX_MONTHS)
        check_whole("event_days", self.event_days, low=0, high=events.MAX_DAYS)
        _check_share("missing_share", self.missing_share, high=0.2)
        _check_share("outlier_share", self.outlier_share, high=0.2)
        _check_share("duplicate_share", self.duplicate_share, high=0.2)
        if not isinstance(self.snapshot_date, date) or not 1990 <= self.snapshot_date.year <= 2200:
            raise ConfigError(f"snapshot_date must be a date from 1990 to 2200, got {self.snapshot_date!r}")


def check_whole(name: str, value: object, *, low: int, high: int) -> None:
    """Refuse what is no whole number in this range.

    Raises:
        ConfigError: With the range.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} must be a whole number from {low:,} to {high:,}, got {value!r}")


def _check_share(name: str, value: object, *, high: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= high:
        raise ConfigError(f"{name} must be a fraction from 0 to {high:g}, got {value!r}")


def snapshot_dates(last: date, count: int) -> list[date]:
    """Return ``count`` snapshot dates from old to new: ``last`` and the ends of the months before it.

    >>> [day.isoformat() for day in snapshot_dates(date(2024, 3, 31), 3)]
    ['2024-01-31', '2024-02-29', '2024-03-31']
    """
    dates = [last]
    while len(dates) < count:
        dates.append(dates[-1].replace(day=1) - timedelta(days=1))
    return dates[::-1]


def _text(codes: np.ndarray, labels: Sequence[str]) -> pl.Series:
    """Return the label of each code (integer or bool) as text."""
    return pl.Series(labels, dtype=pl.String).gather(pl.Series(codes.astype(np.uint32)))


def _yes_no(flags: np.ndarray) -> pl.Series:
    return _text(flags, ("no", "yes"))


def customer_names(first_number: int, n: int) -> pl.Series:
    """Return the identifiers of ``n`` customers in a row."""
    return "C" + pl.Series(np.arange(first_number, first_number + n)).cast(pl.String).str.zfill(9)


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


def _block(number: int, options: Options, keep: int) -> pl.DataFrame:
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
    table = table.with_columns(**_outcome(model.churn_probability(customers, *terms), snapshot, fate))
    table = with_outliers(table, errors, options.outlier_share)
    table = with_missing(table, customers, errors, options.missing_share)
    return with_duplicates(table, errors, options.duplicate_share, keep=keep)


def generator_of(number: int, stream: int, options: Options) -> np.random.Generator:
    """Return the generator of one kind of draws of block ``number``: 0 to 4 here, the event tables have those above."""
    return np.random.default_rng(np.random.SeedSequence(int(options.seed), spawn_key=(number, stream)))


def draw_snapshots(fate: np.random.Generator, options: Options) -> np.ndarray:
    """Draw the snapshot of each customer of a block; the first that fate is asked for."""
    dates = np.array(snapshot_dates(options.snapshot_date, options.n_snapshots), dtype="datetime64[D]")
    return dates[(fate.random(BLOCK_SIZE) * len(dates)).astype(np.int64)]


def _blocks(n_customers: int, options: Options) -> Iterator[pl.DataFrame]:
    """Yield the blocks of ``n_customers`` one after another, the last one cut off."""
    for number in range(-(-n_customers // BLOCK_SIZE)):
        yield _block(number, options, min(BLOCK_SIZE, n_customers - number * BLOCK_SIZE))


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
) -> SimulatedCustomers:
    """Simulate a telecom company's customers, with the labels and the true probabilities behind them.

    Args:
        n_customers: Distinct customers, at least 1; repeated rows come on top.
        seed: Whole number from 0; the same seed gives the same customers in tables of every size.
        n_snapshots: Month-end dates over which the customers are spread evenly; each customer has one row all the same,
            and nothing drifts.
        snapshot_date: The last (or only) date at which customers are looked at.
        missing_share: Fraction in [0, 0.2] of missing cells in a typical column with missing cells; see
            ``simulator_errors.MISSING_WEIGHTS``.
        outlier_share: Fraction in [0, 0.2] of impossible values in each of three columns; see ``simulator_errors``.
        duplicate_share: Fraction in [0, 0.2] of the rows that are repeated exactly, under the same ``customer_id``.
        history_months: Most months of the two usage histories, list columns that bear on churn by their order, up to
            120; 0 for a table without them. See ``simulator_history``.
        event_days: Days of the events that :func:`simulate_events` gives these customers, and whose trend then bears on
            churn; 0 for customers without events. See ``simulator_events``.

    Raises:
        ConfigError: An argument is outside its range.
    """
    check_whole("n_customers", n_customers, low=1, high=MAX_CUSTOMERS)
    options = Options(
        seed, n_snapshots, snapshot_date, missing_share, outlier_share, duplicate_share, history_months, event_days
    )
    table = pl.concat(_blocks(n_customers, options), rechunk=True)
    return SimulatedCustomers(table.drop(TRUTH), table[TRUTH].to_numpy())


def as_lazy(
    draw: Callable[[], Iterator[pl.DataFrame]], example: pl.DataFrame, progress: Callable[[int], None] | None
) -> pl.LazyFrame:
    """Return all blocks as a lazy frame that draws one at a time, as fast as they are written."""

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        rows = 0
        for block in draw():
            yield block if columns is None else block.select(columns)
            rows += block.height
            if progress is not None:
                progress(rows)

    return register_io_source(source, schema=example.schema)


def write_table(table: pl.LazyFrame, target: Path) -> int:
    """Write a table under a temporary name, rename it, and return its number of rows.

    Raises:
        DataError: The file cannot be written.
    """
    if not target.parent.is_dir():
        raise DataError(f"{target} cannot be written: there is no folder {target.parent}; create it first")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        table.sink_parquet(unfinished, row_group_size=ROW_GROUP_ROWS)
        unfinished.replace(target)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{target} cannot be written ({error}); choose another place for output") from error
    finally:
        try:
            unfinished.unlink(missing_ok=True)
        except KeyboardInterrupt:  # polars reports one Ctrl-C twice, and the second one arrives here
            unfinished.unlink(missing_ok=True)
    return pl.scan_parquet(target).select(pl.len()).collect().item()


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

    Returns:
        Number of rows written.

    Raises:
        ConfigError: An argument is outside its range.
        DataError: The file cannot be written.
    """
    check_whole("n_customers", n_customers, low=1, high=MAX_CUSTOMERS)
    options = Options(
        seed, n_snapshots, snapshot_date, missing_share, outlier_share, duplicate_share, history_months, event_days
    )
    table = as_lazy(lambda: _blocks(n_customers, options), _block(0, options, keep=1), progress)
    return write_table(table if truth else table.drop(TRUTH), Path(path))
