"""The numbers of a report as tables, for programs and spreadsheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

CUSTOMERS = "customers"
"""The only table with names of customers; whoever is forgotten leaves it, and the page is made anew."""


def tables(document: Mapping[str, Any]) -> dict[str, pl.DataFrame]:
    """Return the tables of a document by name; one whose part is absent is absent."""
    makers = {
        "figures": lambda part: pl.DataFrame(part["figures"], infer_schema_length=None),
        "curves": _curves,
        "calibration": lambda part: pl.DataFrame({key: part[key] for key in ("grid", "band_low", "band_high")}),
        "time": lambda part: pl.DataFrame(part, infer_schema_length=None),
        "segments": _segments,
        "explanation": _effects,
        "simulator": _cells,
        "fairness": _fairness,
        CUSTOMERS: lambda part: pl.DataFrame(part, infer_schema_length=None),
    }
    parts = {**document, "figures": document.get("performance")}
    found = {name: make(parts[name]) for name, make in makers.items() if parts.get(name)}
    return {name: table for name, table in found.items() if table.height}


def _curves(part: Mapping[str, Any]) -> pl.DataFrame:
    columns = {
        f"{name}_{end}" if end != "value" else name: values
        for name in ("gains", "lift", "profit")
        for end, values in part[name].items()
    }
    return pl.DataFrame({"share": part["share"], **columns}, schema_overrides=dict.fromkeys(columns, pl.Float64))


def _segments(part: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        [{"column": one["column"], **cell} for one in part for cell in one["cells"]], infer_schema_length=None
    )


def _effects(part: Mapping[str, Any]) -> pl.DataFrame:
    kept = ("name", "mean", "low", "high")
    return pl.DataFrame([{key: one[key] for key in kept} for one in part["columns"]])


def _cells(part: Mapping[str, Any]) -> pl.DataFrame:
    names = ("n", "churners", "probability", "value", "value_of_churners")
    rows = part["cells"]
    columns = names[: len(rows[0])]
    return pl.DataFrame(
        [dict(zip(columns, map(float, row), strict=True)) for row in rows], schema=dict.fromkeys(columns, pl.Float64)
    )


def _fairness(part: Mapping[str, Any]) -> pl.DataFrame:
    rows = []
    for column in part["columns"]:
        for group in column["groups"]:
            row = {"column": column["column"], "group": group["label"], "n": group["n"]}
            for key, told in group.items():
                if isinstance(told, list | tuple):
                    row |= dict(zip((key, f"{key}_low", f"{key}_high"), told, strict=True))
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


__all__ = ["CUSTOMERS", "tables"]
