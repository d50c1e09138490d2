"""What the training rows looked like: the reference for later rows, and made-up rows drawn from it.

A profile holds counts and quantiles, never a row. Rows drawn from it take each column on its own, so that no drawn row
is a customer; they carry no id.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.coercion import read_columns
from churnlib.data.scaling import FLOAT32_MAX
from churnlib.schema import Column, Kind, Schema

N_QUANTILES = 21
"""0 %, 5 %, ..., 100 %."""

RARE = "(a rare value)"
"""Drawn for a column that has no value common enough to be named."""

EPOCH = dt.datetime(1970, 1, 1)

FEWEST = 5
"""Training rows that a category needs to be named in a profile; rarer ones could point at a person."""


def build_profile(typed: pl.DataFrame, schema: Schema) -> dict[str, Any]:
    """Describe training rows.

    Args:
        typed: Training rows, as :func:`churnlib.data.coercion.coerce` returns them; columns that no model reads are not
            described.
        schema: Their schema.

    Returns:
        JSON-ready: ``n``, and by column ``missing`` (count) with either ``quantiles`` (numbers; dates as ISO text),
        ``mean``, ``std`` and ``whole`` (only whole numbers), or ``counts`` by value, most frequent first, with
        ``other`` for all rarer ones together. A sequence has what numbers have, of all its steps together, and
        ``steps`` and ``missing_steps`` (counts) and ``lengths`` (quantiles of the number of steps of a row).
    """
    wanted = [column.name for column in read_columns(schema)]
    columns = {name: _profile_column(typed[name].alias("value"), schema[name]) for name in wanted}
    return {"n": len(typed), "columns": columns}


def _profile_column(values: pl.Series, column: Column) -> dict[str, Any]:
    missing = int(values.null_count())
    filled = values.drop_nulls() if missing else values  # a table may have ten thousand columns, and each query counts
    if column.kind is Kind.datetime:
        return {"missing": missing, "quantiles": [_iso(q) for q in _quantiles(filled.dt.epoch("s").to_numpy())]}
    if column.kind is Kind.numeric:
        return {"missing": missing, **_describe_numbers(filled)}
    if column.kind is Kind.sequence:
        lengths = filled.list.len()
        steps = filled.filter(lengths > 0).explode()
        return {
            "missing": missing,
            **_describe_numbers(steps.drop_nulls()),
            "steps": len(steps),
            "missing_steps": int(steps.null_count()),
            "lengths": _quantiles(lengths.to_numpy()),
        }
    counts = filled.value_counts(name="n").sort(["n", "value"], descending=[True, False])
    named = counts.filter(pl.col("n") >= FEWEST)
    return {
        "missing": missing,
        "counts": dict(named.select("value", "n").iter_rows()),
        "other": int(counts["n"].sum()) - int(named["n"].sum()),
    }


def _describe_numbers(filled: pl.Series) -> dict[str, Any]:
    # The range of float32, as networks read it: sums and differences stay finite.
    numbers = np.clip(filled.to_numpy(), -FLOAT32_MAX, FLOAT32_MAX)
    return {
        "quantiles": _quantiles(numbers),
        "mean": float(numbers.mean()) if len(numbers) else None,
        "std": float(numbers.std()) if len(numbers) else None,
        "whole": bool((numbers == np.floor(numbers)).all()),
    }


def _quantiles(numbers: np.ndarray) -> list[float]:
    return np.quantile(numbers, np.linspace(0, 1, N_QUANTILES)).tolist() if len(numbers) else []


def _iso(seconds: float) -> str:
    return (EPOCH + dt.timedelta(seconds=round(seconds))).isoformat()


def trained_ranges(profile: Mapping[str, Any], schema: Schema) -> dict[str, tuple[float, float]]:
    """Return the lowest and the highest number that training rows had, by numeric column that a model reads.

    Args:
        profile: What :func:`build_profile` returned; of an empty one nothing is known.
        schema: The schema of its rows.
    """
    described = profile.get("columns", {})
    quantiles = {
        column.name: described[column.name]["quantiles"]
        for column in read_columns(schema)
        if column.kind is Kind.numeric and column.name in described
    }
    return {name: (of[0], of[-1]) for name, of in quantiles.items() if of}


def draw_rows(profile: dict[str, Any], schema: Schema, n: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Draw made-up customers, each column on its own, with values as a source system would send them.

    Args:
        profile: What :func:`build_profile` returned.
        schema: The schema of its rows.
        n: Number of rows.
        seed: Of the draw.

    Returns:
        ``n`` rows of JSON values; a column that may be missing is missing as often as in training.
    """
    rng = np.random.default_rng(seed)
    columns = {name: _draw(p, schema[name], profile["n"], n, rng) for name, p in profile["columns"].items()}
    return [{name: values[i] for name, values in columns.items()} for i in range(n)]


def _draw(profile: dict[str, Any], column: Column, n_profile: int, n: int, rng: np.random.Generator) -> list[Any]:
    position = rng.random(n)
    absent = rng.random(n) < profile["missing"] / max(n_profile, 1)
    if column.kind in (Kind.numeric, Kind.datetime):
        drawn = _draw_between(profile, column.kind, position)
    elif column.kind is Kind.sequence:
        drawn = _draw_sequences(profile, position, rng)
    else:
        drawn = _draw_value(profile["counts"], column, position)
    return [None if gone and column.nullable else value for value, gone in zip(drawn, absent, strict=True)]


def _draw_value(counts: dict[str, int], column: Column, position: np.ndarray) -> list[Any]:
    if not counts:
        # Each value is rare: the declared order names no customer; else a word that training did not see.
        counts = dict.fromkeys(column.order or (RARE,), 1)
    values = [_json_value(value, column.kind) for value in counts]
    shares = np.cumsum(list(counts.values())) / sum(counts.values())
    places = np.searchsorted(shares, position, side="right").clip(max=len(values) - 1)
    return [values[place] for place in places.tolist()]


def _draw_between(profile: dict[str, Any], kind: Kind, position: np.ndarray) -> list[Any]:
    if not profile["quantiles"]:
        return [None] * len(position)
    at = np.linspace(0, 1, N_QUANTILES)
    if kind is Kind.datetime:
        seconds = [(dt.datetime.fromisoformat(q) - EPOCH).total_seconds() for q in profile["quantiles"]]
        days = np.interp(position, at, seconds) // 86_400
        return [(EPOCH + dt.timedelta(days=day)).date().isoformat() for day in days.tolist()]
    numbers = np.interp(position, at, profile["quantiles"])
    if profile["whole"]:
        return [int(number) if abs(number) < 2**53 else number for number in np.rint(numbers).tolist()]
    return [float(f"{number:.6g}") for number in numbers.tolist()]


def _draw_sequences(profile: dict[str, Any], position: np.ndarray, rng: np.random.Generator) -> list[Any]:
    """Draw a number of steps, and each step on its own: no drawn history is a customer's."""
    if not profile["lengths"]:
        return [[] for _ in position]
    lengths = np.rint(np.interp(position, np.linspace(0, 1, N_QUANTILES), profile["lengths"])).astype(np.int64)
    n_steps = int(lengths.sum())
    steps = _draw_between(profile, Kind.numeric, rng.random(n_steps))
    gone = rng.random(n_steps) < profile["missing_steps"] / max(profile["steps"], 1)
    kept = [None if missing else step for step, missing in zip(steps, gone, strict=True)]
    ends = np.cumsum(lengths).tolist()
    return [kept[end - length : end] for length, end in zip(lengths.tolist(), ends, strict=True)]


def _json_value(text: str, kind: Kind) -> str | bool:
    """A truth value travels as JSON's own."""
    return text == "true" if kind is Kind.boolean and text in ("true", "false") else text
