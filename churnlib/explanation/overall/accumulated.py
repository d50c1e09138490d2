"""How the log-odds change along a column: accumulated local effects (Apley and Zhu 2020, JRSS B 82, 1059-1086).

Customers are moved only to the border of their own cell, so that no customer is asked about who could not exist, as
partial dependence does where columns go together. Values of a category are put in an order in which neighbours have
customers alike, and each customer is moved to the next value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from churnlib.evaluation.inputs import Floats, Ints
from churnlib.explanation.overall.sample import Sample
from churnlib.schema import Column, Kind

CELLS, MOST_VALUES = 20, 12
"""Cells of numbers, about equally full, and most frequent values of a category that are looked at."""

REPLICATES = 200

DRAWN = (Kind.numeric, Kind.datetime, Kind.categorical, Kind.ordinal, Kind.boolean)
"""Kinds that have a curve; of a history there is no one number to move."""


def accumulated_effects(
    sample: Sample, name: str, *, cells: int = CELLS, replicates: int = REPLICATES
) -> list[dict[str, Any]] | None:
    """Return a column's curve.

    Args:
        sample: The customers.
        name: A column that the model reads.
        cells: Of numbers and dates at most.
        replicates: Resampled sets of customers behind the intervals.

    Returns:
        A point for each border of a cell, or each value: ``value`` (a number, a date as text, or a text), ``effect`` on
        the log-odds beside the average customer, ``low``, ``high``, and ``n``, the customers of the cell that ends
        there, or of the value. None where fewer than two values are there, or the column has no curve.
    """
    column = sample.explainer.predictor.schema[name]
    if column.kind not in DRAWN:
        return None
    moves = _numbers(sample, column, cells) if column.kind in DRAWN[:2] else _values(sample, column)
    if moves is None:
        return None
    shown, step, change, n, middle = moves
    weights = sample.draws(replicates)
    weights = np.concatenate([np.ones((1, len(sample))), weights])
    curves = np.stack([_curve(one, step, change, len(shown) - 1, middle) for one in weights])
    low, high = np.quantile(curves[1:], [0.025, 0.975], axis=0)
    return [
        {"value": value, "effect": effect, "low": below, "high": above, "n": count}
        for value, effect, below, above, count in zip(
            shown, curves[0].tolist(), low.tolist(), high.tolist(), n, strict=True
        )
    ]


def _curve(weights: Floats, step: Ints, change: Floats, n_steps: int, share: Floats) -> Floats:
    """Accumulate the mean change of each step, and centre it on the customers.

    Args:
        weights: ``(n,)`` how often each row counts.
        step: ``(m, 2)`` row and step of each change.
        change: ``(m,)`` of the log-odds.
        n_steps: Steps between ``n_steps + 1`` points.
        share: ``(n_steps + 1,)`` weight of each point in the average.
    """
    counted = weights[step[:, 0]]
    total = np.bincount(step[:, 1], weights=counted, minlength=n_steps)
    summed = np.bincount(step[:, 1], weights=counted * change, minlength=n_steps)
    mean = np.divide(summed, total, out=np.zeros(n_steps), where=total > 0)
    curve = np.append(0.0, np.cumsum(mean))
    return curve - curve @ share


_Moves = tuple[list[Any], Ints, Floats, list[int], Floats]


def _numbers(sample: Sample, column: Column, cells: int) -> _Moves | None:
    """Move each customer to both borders of its cell."""
    series = sample.typed[column.name]
    dates = column.kind is Kind.datetime
    numbers = series.dt.epoch("us").cast(pl.Float64) if dates else series
    there = np.flatnonzero(numbers.is_not_null().to_numpy())
    known = numbers.to_numpy()[there].astype(np.float64)
    if len(known) < 2 or known.min() == known.max():
        return None
    quantiles = np.quantile(known, np.linspace(0, 1, cells + 1), method="inverted_cdf")
    edges = np.unique(quantiles)
    cell = np.clip(np.searchsorted(edges, known, side="left") - 1, 0, len(edges) - 2)
    rows = sample.typed[there]

    def moved(to: Floats) -> Floats:
        values = pl.Series(column.name, to, dtype=pl.Float64)
        values = values.cast(pl.Int64).cast(pl.Datetime("us")) if dates else values
        return sample.ask_table(rows.with_columns(values))

    change = moved(edges[cell + 1]) - moved(edges[cell])
    n = np.bincount(cell, minlength=len(edges) - 1)
    # A customer stands between the borders of its cell; the average is that of both.
    share = (np.append(n, 0) + np.append(0, n)) / (2.0 * len(known))
    points = edges.tolist()
    if dates:
        points = [str(np.datetime64(int(edge), "us").astype("datetime64[D]")) for edge in edges]
    return points, np.stack([there, cell], axis=1), change, [0, *n.tolist()], share


def _values(sample: Sample, column: Column) -> _Moves | None:
    """Move each customer to the value before and the value behind its own."""
    texts = sample.typed[column.name].cast(pl.String)
    counts = texts.drop_nulls().alias("value").value_counts(name="n").sort(["n", "value"], descending=[True, False])
    named: list[str] = counts["value"].head(MOST_VALUES).to_list()
    if len(named) < 2:
        return None
    order = _ordered(sample, column, named)
    own = texts.replace_strict({value: place for place, value in enumerate(order)}, default=-1, return_dtype=pl.Int64)
    place = own.fill_null(-1).to_numpy()
    steps, changes = [], []
    for step in range(len(order) - 1):
        rows = np.flatnonzero((place == step) | (place == step + 1))
        some = sample.typed[rows]
        before, after = (
            sample.ask_table(some.with_columns(pl.lit(order[to]).alias(column.name))) for to in (step, step + 1)
        )
        steps.append(np.stack([rows, np.full(len(rows), step)], axis=1))
        changes.append(after - before)
    n = np.bincount(place[place >= 0], minlength=len(order))
    return order, np.concatenate(steps), np.concatenate(changes), n.tolist(), n / n.sum()


def _ordered(sample: Sample, column: Column, named: list[str]) -> list[str]:
    """Return values so that neighbours have customers alike in the other columns: along the widest spread of these."""
    if column.kind is Kind.ordinal:
        rank = {value: place for place, value in enumerate(column.order)}
        return sorted(named, key=lambda value: rank.get(value, len(rank)))
    if len(named) == 2:
        return sorted(named)
    own = sample.typed[column.name].cast(pl.String)
    masks = [(own == value).fill_null(False).to_numpy() for value in named]
    apart = np.zeros((len(named), len(named)))
    for name in sample.explainer.mixer.names:
        if name != column.name:
            apart += _distances(sample.typed[name], masks)
    centred = np.eye(len(named)) - 1.0 / len(named)
    # Classical scaling to one dimension, its direction fixed so that the order depends on nothing else.
    line = np.linalg.eigh(-centred @ apart**2 @ centred / 2.0)[1][:, -1]
    line = line if line[np.argmax(np.abs(line))] > 0 else -line
    return [named[place] for place in np.argsort(line, kind="stable")]


def _distances(values: pl.Series, masks: Sequence[np.ndarray]) -> Floats:
    """Return how differently a column is distributed between each two sets of customers, in [0, 1]."""
    if values.dtype.is_numeric() or values.dtype.is_temporal():
        codes = values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
        ordered = True
    elif values.dtype == pl.String:
        codes, ordered = values.rank("dense").cast(pl.Int64).fill_null(0).to_numpy(), False
    else:
        return np.zeros((len(masks), len(masks)))
    shares = np.stack([np.bincount(codes[mask], minlength=codes.max() + 1) / mask.sum() for mask in masks])
    if ordered:  # Kolmogorov-Smirnov
        shares = np.cumsum(shares, axis=1)
        return np.abs(shares[:, None] - shares[None]).max(axis=2)
    return np.abs(shares[:, None] - shares[None]).sum(axis=2) / 2.0


__all__ = ["CELLS", "accumulated_effects"]
