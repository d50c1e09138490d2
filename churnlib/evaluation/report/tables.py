"""The numbers of a report as tables, for programs and spreadsheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

NAMING = ("customers", "fronts")
"""The only tables with names of customers; whoever is forgotten leaves them, and the page is made anew."""


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
        "survival": _survival,
        "importance": lambda part: pl.DataFrame(part["importance"], infer_schema_length=None),
        "column_curves": _column_curves,
        "interactions": _interactions,
        "offers": _offers,
        "offer_course": lambda part: pl.DataFrame(part["course"]),
        "offer_segments": lambda part: pl.DataFrame(part["segments"], infer_schema_length=None),
        **{name: lambda part: pl.DataFrame(part, infer_schema_length=None) for name in NAMING},
    }
    parts = {**document, "figures": document.get("performance")}
    parts |= dict.fromkeys(("importance", "column_curves", "interactions"), document.get("overall"))
    parts |= dict.fromkeys(("offer_course", "offer_segments"), document.get("offers"))
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


def _survival(part: Mapping[str, Any]) -> pl.DataFrame:
    groups = [{"column": None, "label": None, **part["whole"]}]
    groups += [{"column": one["column"], **group} for one in part["columns"] for group in one["groups"]]
    names = ("said", "seen", "low", "high")
    rows = [
        {
            "column": one["column"],
            "value": one["label"],
            "n": one["n"],
            "time": time,
            **dict(zip(names, cells, strict=True)),
        }
        for one in groups
        for time, *cells in zip(part["times"], *(one[name] for name in names), strict=True)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _column_curves(part: Mapping[str, Any]) -> pl.DataFrame:
    rows = [
        {"column": name, **point, "value": str(point["value"])}
        for name, curve in part["curves"].items()
        for point in curve
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _interactions(part: Mapping[str, Any]) -> pl.DataFrame:
    rows = [
        {"column": one["columns"][0], "other": one["columns"][1]}
        | {name: value for name, value in one.items() if name != "columns"}
        for one in part["interactions"]
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _offers(part: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{"offer": name, **one} for name, one in part["offers"].items()], infer_schema_length=None)


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


__all__ = ["NAMING", "tables"]
