"""How strongly two columns hang together, whatever their kinds, from 0 (not at all) to 1.

Numbers with numbers: the size of Pearson's or Spearman's correlation. Categories with categories: Cramér's V.
Categories with numbers: the correlation ratio. The latter two are corrected for the number of values, without which
columns of many values would hang together with anything by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from churnlib.data.steps.coding import coded
from churnlib.data.steps.step import CATEGORIES, Training
from churnlib.data.steps.weight_of_evidence import count_classes, information_value
from churnlib.schema import Kind

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MOST_VALUES = 254
"""Values of a category that are told apart, the frequent ones; the rest count as one."""

N_BINS = 10
"""Quantile bins of a number whose bearing on the label is asked for."""


def is_category(training: Training, name: str) -> bool:
    """Whether a column has values without an order: an ordinal one counts as its ranks."""
    kinds = {column.name: column.kind for column in training.columns}
    return kinds[name] in CATEGORIES and kinds[name] is not Kind.ordinal


def as_numbers(training: Training, names: Sequence[str]) -> np.ndarray:
    """Return columns of numbers, dates (as days) and ordered categories (as ranks), ``(n, names)`` float64 with NaN."""
    from churnlib.data.inputs import as_number  # which builds on the steps

    orders = {column.name: column.order for column in training.columns}
    dtypes = training.rows.schema
    cells = [as_number(name, dtypes[name], time=training.time, order=orders[name]) for name in names]
    numbers = training.rows.select(cell.alias(f"{place}") for place, cell in enumerate(cells))
    return numbers.fill_null(float("nan")).to_numpy().reshape(len(training.rows), len(names))


def frequent_codes(values: pl.Series, most: int = MOST_VALUES) -> np.ndarray:
    """Return a category as whole numbers from 0, the most frequent value first, ``(n,)`` int64; -1 for missing."""
    code, known = coded(values)
    count = np.bincount(code, minlength=len(known) + 1)[: len(known)]
    place = np.empty(len(known) + 1, dtype=np.int64)
    place[np.argsort(-count, kind="stable")] = np.minimum(np.arange(len(known)), most - 1)
    place[-1] = -1
    return place[code]


def association_matrix(training: Training, names: Sequence[str], method: str = "spearman") -> np.ndarray:
    """Return how strongly each two columns hang together, ``(names, names)`` float64 in [0, 1].

    Args:
        training: The rows; pairs are compared on rows where both have a value.
        names: The columns.
        method: ``pearson`` or ``spearman``, for numbers.
    """
    categories = np.array([is_category(training, name) for name in names])
    places = [np.flatnonzero(mask).tolist() for mask in (categories, ~categories)]
    numbers = as_numbers(training, [names[place] for place in places[1]])
    tables = [one_hot(frequent_codes(training.rows.get_column(names[place]))) for place in places[0]]
    matrix = np.eye(len(names))
    matrix[np.ix_(places[1], places[1])] = np.abs(correlations(_ranks(numbers) if method == "spearman" else numbers))
    for row, table in zip(places[0], tables, strict=True):
        matrix[row, places[0]] = [cramers_v((table @ other.T).toarray()) for other in tables]
        matrix[row, places[1]] = matrix[places[1], row] = correlation_ratios(table, numbers)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def one_hot(codes: np.ndarray) -> csr_array:
    """Return which rows have which code, ``(codes, n)`` of 0 and 1; a code of -1 is none."""
    from scipy.sparse import csr_array

    given = np.flatnonzero(codes >= 0)
    return csr_array((np.ones(len(given)), (codes[given], given)), shape=(max(codes.max(initial=0) + 1, 1), len(codes)))


def _ranks(numbers: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(numbers, axis=0, nan_policy="omit") if numbers.size else numbers


def correlations(numbers: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation of each two columns on the rows where both are given; 0 where one is constant."""
    given = (~np.isnan(numbers)).astype(np.float64)
    # Centred and scaled first, so that sums of squares lose no digits.
    count = np.maximum(given.sum(axis=0), 1)
    centred = numbers - np.nansum(numbers, axis=0) / count
    x = np.nan_to_num(centred / np.maximum(np.nanmax(np.abs(centred), axis=0, initial=0), np.finfo(float).tiny))
    n, total, square = given.T @ given, x.T @ given, (x**2).T @ given
    covariance = n * (x.T @ x) - total * total.T
    spread = np.maximum(n * square - total**2, 0)
    size = np.sqrt(spread * spread.T)
    return np.divide(covariance, size, out=np.zeros_like(size), where=size > 1e-12 * np.maximum(n, 1) ** 2).clip(-1, 1)


def cramers_v(counts: np.ndarray) -> float:
    """Return Cramér's V of a table of counts, without its bias (Bergsma, J. Korean Stat. Soc. 42(3), 2013).

    >>> cramers_v(np.array([[50, 0], [0, 50]]))
    1.0
    >>> cramers_v(np.array([[25, 25], [25, 25]]))
    0.0
    """
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0].astype(np.float64)
    n, (r, k) = counts.sum(), counts.shape
    if min(r, k) < 2 or n < 2:
        return 0.0
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    phi = max(0.0, float(((counts - expected) ** 2 / expected).sum()) / n - (r - 1) * (k - 1) / (n - 1))
    room = min(k - (k - 1) ** 2 / (n - 1), r - (r - 1) ** 2 / (n - 1)) - 1
    return min(1.0, float(np.sqrt(phi / room))) if room > 0 else 0.0


def correlation_ratios(table: csr_array, numbers: np.ndarray) -> np.ndarray:
    """Return the correlation ratio of a category and each column of numbers, ``(columns,)``.

    Its square is the share of a number's variance that lies between the values, adjusted for their number.

    Args:
        table: ``(values, n)``, see :func:`one_hot`.
        numbers: ``(n, columns)`` with NaN for missing.
    """
    some = table.sum(axis=0) > 0
    given = ~np.isnan(numbers) & some[:, None]
    n = given.sum(axis=0)
    x = np.where(given, numbers, 0.0)
    x = np.where(given, x - x.sum(axis=0) / np.maximum(n, 1), 0.0)
    count, total = table @ given.astype(np.float64), table @ x
    between = (total**2 / np.maximum(count, 1)).sum(axis=0)
    whole = (x**2).sum(axis=0)
    groups = (count > 0).sum(axis=0)
    sure = (n > groups) & (groups > 1) & (whole > 0)
    within = np.divide((whole - between) * (n - 1), whole * (n - groups), out=np.ones(len(n)), where=sure)
    return np.sqrt((1 - within).clip(0, 1))


def strength(training: Training, name: str, *, min_share: float = 0.01) -> float:
    """Return how much a column alone says about the label: its information value, or with several classes Cramér's V.

    Numbers, dates and ranks are cut into quantile bins, and rare values of categories count as one; missing values are
    a bin of their own.

    Args:
        training: The rows.
        name: The column.
        min_share: Share of the rows from which a value is no longer rare.
    """
    if is_category(training, name):
        code = frequent_codes(training.rows.get_column(name))
        count = np.bincount(code[code >= 0], minlength=1)
        # The frequent ones come first.
        bins = np.where(code < 0, len(count), np.minimum(code, (count >= min_share * len(code)).sum()))
    else:
        [number] = as_numbers(training, [name]).T
        given = number[~np.isnan(number)]
        edges = np.unique(np.quantile(given, np.linspace(0, 1, N_BINS + 1)[1:-1])) if len(given) else np.zeros(0)
        bins = np.where(np.isnan(number), len(edges) + 1, np.searchsorted(edges, number, side="right"))
    counts = count_classes(bins, training.label, int(bins.max(initial=0)) + 1, training.n_classes)
    return information_value(counts) if training.n_classes == 2 else cramers_v(counts)
