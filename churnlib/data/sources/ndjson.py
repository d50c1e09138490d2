"""Lines of JSON (.ndjson, .jsonl): one object for each row, its fields for columns.

Types are those of all lines, not of the first few. Objects within objects become columns of their own
(``{"plan": {"name": ...}}`` is ``plan_name``), lists stay lists, and a field of several types is text, as in a CSV
file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from churnlib.data.names import normalize_names
from churnlib.errors import DataError

LINES_AT_ONCE = 50_000
ONE_A_LINE = "write each row on a line of its own (jq -c '.[]')"


def scan_lines_of_json(part: str, storage_options: Mapping[str, Any] | None) -> pl.LazyFrame:
    """Open a file of JSON lines, local or in a store, plain or compressed; it is read once for its types.

    Raises:
        DataError: If a line is no JSON object, with its number.
    """
    options = dict(storage_options) if storage_options else None
    try:
        table = pl.scan_ndjson(part, infer_schema_length=None, storage_options=options)
        names = table.collect_schema().names()
    except (pl.exceptions.PolarsError, ValueError):
        # polars gives up at types that differ (a list here, a number there), and does not say which line is wrong.
        schema = _schema(part, options)
        table = pl.scan_ndjson(part, schema=schema, storage_options=options)
        names = list(schema)
    if not names:
        raise DataError(f"the lines of {part} have no fields; export the table again")
    return _flat(table, part)


def broken_line(part: str, storage_options: Mapping[str, Any] | None = None) -> str | None:
    """Return the first line that is no JSON object, and why; None if all are."""
    try:
        for _ in _objects(part, storage_options):
            pass
    except DataError as error:
        return str(error)
    return None


def _flat(table: pl.LazyFrame, part: str) -> pl.LazyFrame:
    """Return the table with each field of an object within an object as a column."""
    columns: list[tuple[str, pl.Expr]] = []

    def add(name: str, cell: pl.Expr, dtype: pl.DataType) -> None:
        if isinstance(dtype, pl.Struct) and dtype.fields:
            for field in dtype.fields:
                add(f"{name}_{field.name}", cell.struct.field(field.name), field.dtype)  # type: ignore[arg-type]
        else:
            columns.append((name, cell))

    from churnlib.schema.parsing import cell_of

    for name, dtype in table.collect_schema().items():
        add(name, cell_of(name), dtype)
    named = normalize_names([name for name, _ in columns], table=part)
    return table.select(cell.alias(name) for name, (_, cell) in zip(named, columns, strict=True))


# --- line by line, where polars has given up -----------------------------------------------------------------------


def _schema(part: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a type for each field that polars can read all its values as."""
    kinds: dict[str, set[str]] = {}
    for line in _objects(part, options):
        for name, value in line.items():
            kinds.setdefault(name, set()).add(_kind(value))
    return {name: _type(found - {"null"}) for name, found in kinds.items()}


def _kind(value: Any) -> str:
    if isinstance(value, list):
        numbers = all(step is None or (isinstance(step, int | float) and not isinstance(step, bool)) for step in value)
        return "numbers" if numbers else "list"
    names = {type(None): "null", bool: "bool", int: "int", float: "float", str: "text"}
    return names.get(type(value), "object")


def _type(kinds: set[str]) -> Any:
    if kinds and kinds <= {"int", "float"}:
        return pl.Float64
    if kinds == {"bool"}:
        return pl.Boolean
    return pl.List(pl.Float64) if kinds == {"numbers"} else pl.String


def _objects(part: str, options: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the object of each line that is not blank.

    Raises:
        DataError: At the first line that is none, with its number.
    """
    number, seen = 0, False
    for lines in _text(part, options):
        for line in lines:
            number += 1
            if not (line or "").strip():
                continue
            seen = True
            yield _object(line, number, part)
    if not seen:
        raise DataError(f"{part} is empty; it must have a line of JSON for each row")


def _text(part: str, options: Mapping[str, Any] | None) -> Iterator[list[str]]:
    try:
        table = pl.scan_lines(part, storage_options=dict(options) if options else None)
        for batch in table.collect_batches(chunk_size=LINES_AT_ONCE, maintain_order=True):
            yield batch.to_series().to_list()
    except pl.exceptions.ComputeError as error:
        if "UTF-8" in str(error) or "utf-8" in str(error):
            raise DataError(f"{part} is not UTF-8 text; save it as UTF-8 (such as iconv -f latin1 -t utf-8)") from error
        raise


def _object(line: str, number: int, part: str) -> dict[str, Any]:
    if line.startswith("\ufeff"):
        raise DataError(f"{part} starts with a byte order mark, which JSON does not have; save it as UTF-8 without one")
    try:
        value = json.loads(line, parse_constant=_no_number)
    except ValueError as error:
        whole = number == 1 and line.strip() in ("[", "{")
        why = getattr(error, "msg", str(error)).lower()
        remedy = ONE_A_LINE if whole else "correct it or export the table again"
        raise DataError(f"line {number} of {part} is no JSON ({why}); {remedy}") from None
    if isinstance(value, list) and number == 1:
        raise DataError(f"{part} is one JSON list; {ONE_A_LINE}")
    if not isinstance(value, dict):
        raise DataError(f"line {number} of {part} is no JSON object but {type(value).__name__}; export the table again")
    return value


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON; write null")
