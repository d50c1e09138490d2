"""Checks of single columns: how much one says alone, whether its gaps do, and whether only churners have it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import polars as pl

from churnlib.data.inputs import NUMBER_KINDS, as_numbers
from churnlib.data.leaks.association import NOTHING, Area, area_of_codes, area_of_ranks, areas_of_codes, wilson_low
from churnlib.data.leaks.report import CERTAIN, SUSPECTED, Check, Finding
from churnlib.schema import Column, Kind

MOST_AUC, CERTAIN_AUC = 0.95, 0.99
"""Areas that no honest column reaches alone, and that only the answer itself does."""
MOST_MISSING_AUC = 0.65
"""Gaps that differ by 30 points between churners and others."""
BINS = 50
GIVEAWAY, GIVEAWAY_ROWS = 0.98, 0.01
"""Share of churners among the rows with a value, and the share of all rows that must have it."""
GIVEAWAY_LOW, GIVEAWAY_ODDS = 0.9, 20.0
"""The lower end of that share's interval, and by how much its odds exceed those of all rows, at least."""
CERTAIN_LOW = 0.999
"""Lower end from which a value is sure to come with churners alone. That no row of a sample is an exception is not
enough: of 600 rows of a value with which 99.8 % leave, three samples in ten have none."""
AT_ONCE, MOST_CELLS = 1_000, 100_000
"""Columns of numbers that are ranked in one query, and cells of those that are judged in one go."""

GAPS = ("no value", "any value")


@dataclass(frozen=True, slots=True)
class Cells:
    """One column of the training rows, as the checks read it.

    Attributes:
        column: Its entry in the schema.
        missing: ``(n,)`` bool.
        codes: ``(n,)`` int64: 0 missing, others a value or a range of values.
        ranks: Ranks of the values that are not missing, for what has an order.
        common: Values that come often, with the rows that have them.
    """

    column: Column
    missing: np.ndarray
    codes: np.ndarray
    ranks: np.ndarray | None
    common: tuple[tuple[str, np.ndarray], ...]


def read_cells(typed: pl.DataFrame, columns: Sequence[Column]) -> Iterator[Cells]:
    """Yield the columns one by one."""
    dtypes = dict(typed.schema)
    for start in range(0, len(columns), AT_ONCE):
        some = columns[start : start + AT_ONCE]
        wanted = [(column.name, column.order) for column in some if column.kind in NUMBER_KINDS]
        numbers = typed.select(as_numbers(wanted, dtypes, time=None))
        ranks = numbers.select(pl.all().rank("average"))
        for column in some:
            if column.kind in NUMBER_KINDS:
                yield _numbers(column, numbers.get_column(column.name), ranks.get_column(column.name))
            elif column.kind is Kind.sequence:
                lengths = typed.get_column(column.name).list.len().cast(pl.Float64)
                yield _numbers(column, lengths, lengths.rank("average"))
            else:
                yield _categories(column, typed.get_column(column.name))


def _numbers(column: Column, values: pl.Series, ranks: pl.Series) -> Cells:
    # A table may have ten thousand columns, and each query counts: no more is asked of polars of most columns.
    rank = ranks.to_numpy()
    missing = np.isnan(rank)
    ranked = rank[~missing]
    # Equal values have one rank, so they share a bin; ranks up to n in bins of equal size.
    bins = np.where(missing, 0.0, np.ceil(rank * (BINS / max(len(ranked), 1)))).astype(np.int64)
    often = np.unique(ranked, return_counts=True)[1].max(initial=0) >= _fewest(len(values))
    common = _common(values, missing, shown=lambda value: f"{value:g}") if often else _gaps(missing)
    return Cells(column, missing, bins, ranked, common)


def _categories(column: Column, values: pl.Series) -> Cells:
    missing = values.is_null().to_numpy()
    codes = values.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    return Cells(column, missing, codes, None, _common(values, missing, shown=str))


def _common(values: pl.Series, missing: np.ndarray, *, shown: object) -> tuple[tuple[str, np.ndarray], ...]:
    """Return the values that come often enough to be judged, and the gaps, where there are some."""
    counts = values.alias("value").drop_nulls().value_counts(name="rows")
    often = counts.filter(pl.col("rows") >= _fewest(len(values)))["value"].to_list()
    groups = [(f"the value {shown(value)}", (values == value).fill_null(False).to_numpy()) for value in often]  # type: ignore[operator]
    return (*groups, *_gaps(missing))


def _gaps(missing: np.ndarray) -> tuple[tuple[str, np.ndarray], ...]:
    return tuple(zip(GAPS, (missing, ~missing), strict=True)) if missing.any() else ()


def _fewest(n_rows: int) -> float:
    """Return how many rows of a value it takes to say something about it."""
    return max(30, GIVEAWAY_ROWS * n_rows)


# --- the checks -----------------------------------------------------------------------------------------------------


def check_single_columns(cells: Sequence[Cells], churned: np.ndarray) -> Check:
    """Look for columns that alone say nearly all."""
    areas = single_areas(cells, churned)
    findings = tuple(
        Finding(
            f"alone it tells churners from others with a ROC AUC of {found}, where {MOST_AUC} is beyond belief",
            name,
            CERTAIN if found.auc > CERTAIN_AUC else SUSPECTED,
            figures=found.figures(),
        )
        for name, found in areas.items()
        if found.auc > MOST_AUC
    )
    name, found = max(areas.items(), key=lambda item: item[1].auc, default=("", NOTHING))
    return Check("a single column", f"the strongest is {name!r} with a ROC AUC of {found}, limit {MOST_AUC}", findings)


def single_areas(cells: Sequence[Cells], churned: np.ndarray) -> dict[str, Area]:
    """Return how well each column alone tells churners from others, by its name."""
    areas: dict[str, Area] = {}
    for _, alike in groupby(enumerate(cells), key=lambda one: _block(*one, len(churned))):
        some = [one for _, one in alike]
        by_value = areas_of_codes(np.stack([one.codes for one in some]), churned)
        areas |= {one.column.name: _best(one, found, churned) for one, found in zip(some, by_value, strict=True)}
    return areas


def _block(place: int, cells: Cells, n_rows: int) -> tuple[bool, int]:
    """Return what neighbours have in common that are looked at together: numbers, which have few codes."""
    at_once = max(1, MOST_CELLS // max(n_rows, 1))
    return (True, place // at_once) if cells.ranks is not None else (False, place)


def _best(cells: Cells, by_value: Area, churned: np.ndarray) -> Area:
    """Return the better of the two ways to use a column: in its order, and value by value."""
    if cells.ranks is None or cells.missing.mean() > 0.5:  # an order of few rows says nothing about the others
        return by_value
    in_order = area_of_ranks(cells.ranks, churned[~cells.missing])
    return max(by_value, in_order, key=lambda found: found.auc)


def check_missing(cells: Sequence[Cells], churned: np.ndarray) -> Check:
    """Look for gaps that say who left: in one column, and in all together."""
    name = "the missing values alone"
    gappy = [one for one in cells if one.missing.any() and not one.missing.all()]
    if not gappy:
        return Check(name, "no column of the training rows has gaps", applies=False)
    findings = []
    for one in gappy:
        found = area_of_codes(one.missing.astype(np.int64), churned)
        if found.auc > MOST_MISSING_AUC:
            shares = one.missing[churned].mean(), one.missing[~churned].mean()
            findings.append(
                Finding(
                    f"missing in {shares[0]:.1%} of those who left and {shares[1]:.1%} of the others, a ROC AUC of "
                    f"{found} without looking at a value",
                    one.column.name,
                    figures=found.figures(),
                )
            )
    together = area_of_codes(_patterns(gappy), churned)
    return Check(name, f"all gaps together have a ROC AUC of {together}, limit {MOST_MISSING_AUC}", tuple(findings))


def _patterns(cells: Sequence[Cells]) -> np.ndarray:
    """Return a number for each combination of gaps, ``(n,)`` int64."""
    packed = np.packbits(np.stack([one.missing for one in cells], axis=1), axis=1)
    return np.unique(packed, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def check_giveaways(cells: Sequence[Cells], churned: np.ndarray) -> Check:
    """Look for columns that are filled, empty, or have a certain value for churners alone."""
    base = churned.mean()
    odds = base / max(1 - base, 1e-9)
    findings, best = [], (0.0, "none")
    for one in cells:
        for what, rows in one.common:
            n = int(rows.sum())
            if n < _fewest(len(rows)):
                continue
            share = float(churned[rows].mean())
            low = wilson_low(share, n)
            best = max(best, (share, f"{one.column.name!r} with {what}"))
            if share >= GIVEAWAY and low >= GIVEAWAY_LOW and low / (1 - low) >= GIVEAWAY_ODDS * odds:
                said = f"of {n:,} training rows with {what} {share:.1%} left ({low:.1%} at least), of all {base:.1%}"
                certain = share == 1.0 if what in GAPS else low >= CERTAIN_LOW
                if not certain and what not in GAPS:
                    said += "; leaving after such a value and having such a value after leaving look the same here"
                figures = {"value": what, "rows": n, "share": share, "low": low, "base": float(base)}
                findings.append(Finding(said, one.column.name, CERTAIN if certain else SUSPECTED, figures=figures))
    evidence = f"most who left are among those of {best[1]} ({best[0]:.1%}), limit {GIVEAWAY:.0%}"
    return Check("filled for churners only", evidence, tuple(findings))
