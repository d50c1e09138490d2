"""Customers put into groups that a person can name: by a shallow tree, by value at risk and main reason, by columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnlib.errors import ConfigError
from churnlib.schema import Kind, Schema, parsing, unknown_column

Floats = NDArray[np.float64]

SAMPLE = 100_000
"""Customers that a tree is grown from; all are put into its leaves."""

MOST_VALUES = 12
"""Different values of a column that are looked at one by one; the rest are not split off."""

EVERYBODY, OTHERS = "all customers", "others"


@dataclass(frozen=True, slots=True)
class Groups:
    """Who belongs together.

    Attributes:
        number: ``(n,)`` int64 group of each customer; -1 for those who cannot be scored.
        names: Of the groups, by number.
    """

    number: NDArray[np.int64]
    names: tuple[str, ...]


def by_tree(typed: pl.DataFrame, schema: Schema, risk: Floats, *, leaves: int, fewest: int, seed: int = 0) -> Groups:
    """Grow a tree that parts customers by their risk, and name its leaves by what leads to them.

    Args:
        typed: The customers; sensitive columns are left out.
        schema: What the columns are.
        risk: ``(n,)`` probability of leaving; NaN for those who cannot be scored.
        leaves: Groups at most.
        fewest: Customers that a group needs.
        seed: Of the sample that the tree is grown from.
    """
    from sklearn.tree import DecisionTreeRegressor

    known = np.flatnonzero(np.isfinite(risk))
    matrix, questions = _questions(typed, schema)
    number = np.full(len(risk), -1, dtype=np.int64)
    if len(known) < 2 * fewest or not questions:
        number[known] = 0
        return Groups(number, (EVERYBODY,))
    rng = np.random.default_rng(seed)
    some = known if len(known) <= SAMPLE else np.sort(rng.choice(known, SAMPLE, replace=False))
    least = max(1, round(fewest * len(some) / len(known)))
    tree = DecisionTreeRegressor(max_leaf_nodes=leaves, min_samples_leaf=least, random_state=0)
    tree.fit(matrix[some], risk[some])
    leaf = tree.apply(matrix[known])
    paths = _paths(tree.tree_, questions)
    order = sorted(np.unique(leaf).tolist(), key=lambda one: -float(risk[known][leaf == one].mean()))
    place = {one: place for place, one in enumerate(order)}
    number[known] = [place[one] for one in leaf.tolist()]
    return Groups(number, tuple(paths[one] for one in order))


def _questions(typed: pl.DataFrame, schema: Schema) -> tuple[NDArray[np.float32], list[tuple[str, str | None]]]:
    """Return what a tree may ask, ``(n, q)`` float32, and for each the column and the value asked for, if any."""
    cells: list[pl.Expr] = []
    questions: list[tuple[str, str | None]] = []
    for column in schema.features:
        if column.sensitive or column.name not in typed.columns:
            continue
        cell = parsing.cell_of(column.name)
        if column.kind is Kind.numeric:
            cells.append(cell.fill_null(np.nan))
            questions.append((column.name, None))
        elif column.kind in (Kind.categorical, Kind.boolean, Kind.ordinal):
            counts = typed[column.name].drop_nulls().value_counts(name="n").sort(["n", column.name], descending=True)
            values = counts[column.name].head(MOST_VALUES).to_list()
            for value in values[:1] if len(values) == 2 else values:
                cells.append(cell.eq_missing(pl.lit(value)).cast(pl.Float64))
                questions.append((column.name, value))
    if not cells:
        return np.zeros((len(typed), 0), dtype=np.float32), []
    table = typed.select(cell.cast(pl.Float32).alias(f"{place}") for place, cell in enumerate(cells))
    return table.to_numpy(), questions


def _paths(tree: Any, questions: Sequence[tuple[str, str | None]]) -> dict[int, str]:
    """Return what leads to each leaf, by its node."""
    found: dict[int, str] = {}
    waiting: list[tuple[int, list[tuple[int, bool, float]]]] = [(0, [])]
    while waiting:
        node, path = waiting.pop()
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left == right:
            found[node] = _said(path, questions)
            continue
        asked = (int(tree.feature[node]), float(tree.threshold[node]))
        waiting += [(left, [*path, (asked[0], True, asked[1])]), (right, [*path, (asked[0], False, asked[1])])]
    return found


def _said(path: Sequence[tuple[int, bool, float]], questions: Sequence[tuple[str, str | None]]) -> str:
    """Return a path in words: of several bounds of a number the narrowest, of several values the one that it is."""
    words: dict[tuple[str, str], str] = {}
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for place, below, threshold in path:
        column, value = questions[place]
        if value is None:
            (high if below else low)[column] = threshold
            words[column, "number"] = ""
        elif below:
            words[column, value] = f"{column} is not {value}"
        else:
            words = {key: said for key, said in words.items() if key[0] != column or key[1] == "number"}
            words[column, value] = f"{column} is {value}"
    for column, what in list(words):
        if what == "number":
            above, to = low.get(column), high.get(column)
            ends = f"above {above:,.4g} and up to {to:,.4g}" if above is not None and to is not None else ""
            words[column, what] = f"{column} " + (
                ends or (f"above {above:,.4g}" if above is not None else f"up to {to:,.4g}")
            )
    return ", ".join(words.values()) or EVERYBODY


def by_reason(at_risk: Floats, reasons: Sequence[str], *, fewest: int) -> Groups:
    """Put customers together by a third of value at risk and their main reason.

    Args:
        at_risk: ``(n,)`` money; NaN for those who cannot be scored.
        reasons: ``(n,)`` main reasons.
        fewest: Customers that a group needs; smaller ones of a third are put together.
    """
    known = np.isfinite(at_risk)
    cuts = np.quantile(at_risk[known], [1 / 3, 2 / 3]) if known.any() else np.zeros(2)
    third = np.array(["low", "middle", "high"])[np.searchsorted(cuts, np.nan_to_num(at_risk), side="left")]
    labels = pl.DataFrame({"third": third, "reason": pl.Series(reasons, dtype=pl.String)})
    return _labelled(labels.with_columns(third="value at risk: " + pl.col("third")), known, ["third", "reason"], fewest)


def by_columns(typed: pl.DataFrame, known: NDArray[np.bool_], columns: Sequence[str], *, fewest: int) -> Groups:
    """Put customers together by their values of some columns; numbers are cut into quarters.

    Raises:
        ConfigError: If there is no such column.
    """
    cells = []
    for name in columns:
        if name not in typed.columns:
            raise ConfigError(unknown_column(name, typed.columns, option="segments.columns"))
        values = typed[name]
        if values.dtype.is_numeric():
            cuts = np.unique(np.quantile(values.drop_nulls().to_numpy(), [0.25, 0.5, 0.75])) if values.count() else []
            ends = [f"{cut:,.4g}" for cut in cuts]
            named = [f"up to {end}" for end in ends[:1]]
            named += [f"{low} to {high}" for low, high in pairwise(ends)]
            named += [f"above {ends[-1]}" if ends else "known"]
            place = np.searchsorted(cuts, values.fill_null(0.0).to_numpy(), side="left")
            text = pl.Series(name, np.array(named, dtype=object)[place], dtype=pl.String)
            text = text.to_frame().select(pl.when(pl.lit(values.is_not_null())).then(pl.first())).to_series()
        else:
            text = values.cast(pl.String)
        cells.append((f"{name}: " + text.fill_null("unknown")).alias(name))
    return _labelled(pl.DataFrame(cells), known, list(columns), fewest)


def _labelled(labels: pl.DataFrame, known: NDArray[np.bool_], columns: list[str], fewest: int) -> Groups:
    """Return groups of rows with the same labels, the small ones together."""
    table = labels.select(pl.concat_str([parsing.cell_of(name) for name in columns], separator=", ").alias("name"))
    counts = table.filter(pl.Series(known)).to_series().value_counts(name="n").sort(["n", "name"], descending=True)
    names = counts.filter(pl.col("n") >= fewest)["name"].to_list()
    some_left = len(names) < len(counts)
    place = {name: number for number, name in enumerate(names)}
    number = table.to_series().replace_strict(place, default=len(names), return_dtype=pl.Int64).to_numpy()
    return Groups(np.where(known, number, -1), (*names, *([OTHERS] if some_left else [])))


__all__ = ["Groups", "by_columns", "by_reason", "by_tree"]
