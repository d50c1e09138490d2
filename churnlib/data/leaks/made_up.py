"""Were rows made up before the table came here, as SMOTE and its kin do: points on the lines between customers?

What such a program puts between two customers has digits that no customer has: between 20.05 and 24.95 lies
22.381620394. So the first sign are numbers finer than those of the other classes, and the second that these rows lie
exactly on a line between two others of their class. A table whose rows were rounded afterwards is not recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from churnlib.data.leaks.report import AS_IT_WAS, CERTAIN, SUSPECTED, Check, Finding
from churnlib.schema import Column, Kind

NAME = "rows made up"
MOST_DIGITS = 4
"""Decimals up to which a column is one of rounded numbers."""
ON_GRID = 0.99
"""Share of a class that must keep to so many decimals for finer numbers to be told."""
MOST_FINER = 0.05
"""Share of another class that may have finer ones."""
MOST_COLUMNS = 200
"""Columns that are looked at, the first of a wide table: whoever makes up rows makes up all their numbers."""
TRIED = 300
"""Rows for which a line through them is looked for."""
PARTNERS = 300
"""Nearest rows between which it may run; nearest as the numbers are, and as many again in standard deviations."""
ON_LINE = 0.3
"""Share of the tried rows that must lie on a line; points moved at random hardly ever do."""
STRAIGHT = 1e-9
"""Radians by which a line may bend."""


@dataclass(frozen=True, slots=True)
class MadeUp:
    """Rows that look made up.

    Attributes:
        rows: ``(n,)`` bool.
        columns: Columns whose numbers are finer there.
        label: Their class.
        share: Of the class.
        on_line: Share of the tried ones that lie on a line between two others, and of points moved at random; None
            where there are too few columns to tell.
        decimals: That other rows keep to, by column.
    """

    rows: np.ndarray
    columns: tuple[str, ...]
    label: int
    share: float
    on_line: tuple[float, float] | None
    decimals: tuple[int, ...] = ()


def find_made_up(typed: pl.DataFrame, label: np.ndarray, columns: Sequence[Column], *, seed: int = 0) -> MadeUp | None:
    """Look for rows between others of their class.

    Args:
        typed: Rows with the types of the schema.
        label: ``(n,)`` int64.
        columns: The features.
        seed: Of the rows that are tried.

    Returns:
        What was found of the class with the most such rows; None where nothing was.
    """
    dtypes = dict(typed.schema)  # asked for column by column it would be built anew each time
    names = [c.name for c in columns if c.kind is Kind.numeric and dtypes[c.name].is_float()][:MOST_COLUMNS]
    numbers = {name: typed[name].cast(pl.Float64).to_numpy() for name in names}
    digits = {name: decimals(values) for name, values in numbers.items()}
    found = [_of_class(numbers, digits, label, one, seed) for one in np.unique(label)]
    known = [one for one in found if one is not None]
    return max(known, key=lambda one: one.share, default=None)


def check_made_up(
    typed: pl.DataFrame, label: np.ndarray, columns: Sequence[Column], classes: Sequence[str], *, seed: int = 0
) -> Check:
    """Look for rows that a program has put between others; see :func:`find_made_up`."""
    found = find_made_up(typed, label, columns, seed=seed)
    if found is None:
        return Check(NAME, f"no class has finer numbers than the others, limit {MOST_FINER:.0%} of its rows")
    finer = ", ".join(
        f"{name!r} ({places} decimals elsewhere)"
        for name, places in zip(found.columns[:3], found.decimals, strict=False)
    )
    said = f"{found.share:.1%} of {classes[found.label]!r} have finer numbers than any other row: {finer}"
    if found.on_line is not None:
        said += f"; {found.on_line[0]:.0%} of those tried lie exactly on a line between two others of their class"
    said += ": they were made up by interpolation (SMOTE or the like) before the table came here"
    sure = CERTAIN if found.on_line is not None else SUSPECTED
    figures = {"share": found.share, "class": classes[found.label], "on_line": found.on_line, "columns": found.columns}
    return Check(NAME, said, (Finding(said, severity=sure, figures=figures, remedy=AS_IT_WAS),))


def decimals(values: np.ndarray) -> np.ndarray:
    """Return how many decimals each number has, ``(n,)`` int8: one more than :data:`MOST_DIGITS` for all finer ones.

    >>> decimals(np.array([3.0, 2.5, 20.05, 22.381620394, np.nan])).tolist()
    [0, 1, 2, 5, 0]
    """
    found = np.full(len(values), MOST_DIGITS + 1, dtype=np.int8)
    found[~np.isfinite(values)] = 0
    for places in range(MOST_DIGITS, -1, -1):
        scaled = values * 10.0**places
        with np.errstate(invalid="ignore"):
            near = np.abs(scaled - np.rint(scaled)) <= np.maximum(1e-9 * np.abs(scaled), 1e-7)
        found[near] = places
    return found


def _of_class(
    numbers: dict[str, np.ndarray], digits: dict[str, np.ndarray], label: np.ndarray, own: int, seed: int
) -> MadeUp | None:
    of_class = label == own
    if of_class.all():
        return None
    rows, finer = np.zeros(len(label), dtype=bool), {}
    for name, places in digits.items():
        grid = int(np.quantile(places[~of_class], ON_GRID, method="higher"))
        fine = places > max(grid, 0) if grid <= MOST_DIGITS else _alone(numbers[name])
        outside = of_class & fine
        # Of the class itself some must be like the others, too: made-up rows lie between rows that are none.
        if fine[~of_class].mean() > 1.0 - ON_GRID or not MOST_FINER < outside.sum() / of_class.sum() < 1.0:
            continue
        if (places > MOST_DIGITS)[outside].mean() < ON_GRID / 2:
            continue  # a few more decimals are a matter of habit; interpolation fills them all
        rows |= outside
        finer[name] = grid
    if not finer:
        return None
    on_line = _on_line(np.stack([numbers[name] for name in finer], axis=1), rows, of_class, seed)
    if on_line is not None and (on_line[0] < ON_LINE or on_line[0] < 3.0 * on_line[1]):
        return None
    share = float(rows.sum() / of_class.sum())
    if on_line is None and share < 2.0 * MOST_FINER:
        return None
    return MadeUp(rows, tuple(finer), int(own), share, on_line, tuple(finer.values()))


def _alone(values: np.ndarray) -> np.ndarray:
    """Return which numbers come once in a column; numbers that were scaled have many decimals, and recur."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts[place] == 1) & np.isfinite(values)


def _on_line(points: np.ndarray, tried: np.ndarray, of_class: np.ndarray, seed: int) -> tuple[float, float] | None:
    """Return how many of the tried points lie between two others of their class, and how many moved ones do."""
    from scipy.spatial import KDTree

    if points.shape[1] < 2:
        return None
    rng = np.random.default_rng(seed)
    whole = np.isfinite(points).all(axis=1)
    # Made-up rows are no ends of lines.
    ends = points[of_class & whole & ~tried]
    chosen = points[rng.permutation(np.flatnonzero(tried & whole))[:TRIED]]
    if len(ends) < 3 or len(chosen) < 10:
        return None
    spread = ends.std(axis=0)
    scales = (1.0, np.where(spread > 0, spread, 1.0))  # the program may have looked for neighbours in either
    k = min(PARTNERS, len(ends))
    near = np.concatenate([KDTree(ends / scale).query(chosen / scale, k=k)[1] for scale in scales], axis=1)
    moved = chosen + 1e-4 * scales[1] * rng.standard_normal(chosen.shape)
    hits, chance = (
        [_between(point / scales[1], ends[own] / scales[1]) for point, own in zip(some, near, strict=True)]
        for some in (chosen, moved)
    )
    return float(np.mean(hits)), float(np.mean(chance))


def _between(point: np.ndarray, ends: np.ndarray) -> bool:
    """Whether a point lies on a line between two of the ends, other than along one column: there any point does."""
    away = ends - point
    away = away[(np.abs(away) > 1e-12).sum(axis=1) >= 2]
    away /= np.sqrt((away**2).sum(axis=1, keepdims=True))
    one, other = np.nonzero(away @ away.T < -1.0 + 1e-10)
    return bool((np.abs(away[one] + away[other]).max(axis=1, initial=0.0) <= STRAIGHT).any()) if len(one) else False


__all__ = ["MadeUp", "check_made_up", "decimals", "find_made_up"]
