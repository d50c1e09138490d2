"""Everything found about one person, as they may ask for it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from churnlib.errors import ConfigError, DataError
from churnlib.privacy.forget import Found


def subject_report(name: str, found: Found) -> dict[str, Any]:
    """Return everything found about a person, JSON-ready.

    Args:
        name: Of the person.
        found: What :func:`churnlib.privacy.forget.search` found.

    Returns:
        ``customer``, ``created``; ``tables``: file and rows; ``models``: those that may have learned from the person;
        ``meaning``: of each column whose purpose or owner a schema beside the tables tells; ``not_searched``; and
        ``also_in``: tables outside the folders that a run has read.
    """
    return {
        "customer": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tables": [{"file": str(path), "rows": _rows(rows)} for path, rows in found.rows.items()],
        "meaning": _meaning(found),
        "models": [
            {"bundle": str(model.bundle), "name": model.name, "version": model.version, "created": model.created,
             "saw": model.said}
            for model in found.models
        ],
        "not_searched": {str(path): why for path, why in found.unsearched},
        "also_in": [str(path) for path in found.elsewhere],
    }  # fmt: skip


def write_report(report: Mapping[str, Any], path: str | Path) -> None:
    """Write a report that only its owner may read, whole or not at all.

    Raises:
        ConfigError: If something stands there already.
        DataError: If it cannot be written.
    """
    target = Path(path)
    if target.exists():
        raise ConfigError(f"output={target} exists already; choose another file, or remove it")
    temporary = target.with_name(f".{target.name}.{uuid4().hex[:8]}")
    text = json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(target)
    except OSError as error:
        raise DataError(f"output={target} cannot be written ({error.strerror}); choose another file") from error
    finally:
        temporary.unlink(missing_ok=True)


def _rows(rows: pl.DataFrame) -> list[dict[str, Any]]:
    return [{name: _plain(value) for name, value in row.items()} for row in rows.iter_rows(named=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float) and value != value:
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _meaning(found: Found) -> dict[str, dict[str, str]]:
    """Return what the schemas of the models tell of the columns that hold something about the person."""
    held = {name for rows in found.rows.values() for name in rows.columns}
    meaning: dict[str, dict[str, str]] = {}
    for model in found.models:
        try:
            schema = json.loads((model.bundle / "schema.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        for column in schema.get("columns", []):
            told = {key: column[key] for key in ("purpose", "owner") if column.get(key)}
            if told and column["name"] in held:
                meaning.setdefault(column["name"], told)
    return meaning


__all__ = ["subject_report", "write_report"]
