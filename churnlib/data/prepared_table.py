"""A table of any size, prepared into a Parquet file piece by piece.

What the steps learn comes from a sample of the training rows, drawn evenly over the whole table; every row then goes
through them in a stream, so that memory does not grow with the table. Customers are dealt to the sides by their name
(rows of one customer stay together) and the side is written beside them: ``data=table data.path=FILE split.by=column
split.column=side`` trains on the result.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from churnlib.data.described import describe, rows_with_target
from churnlib.data.drawn_sides import SIDE, sample, with_sides
from churnlib.data.preparation import Preparation
from churnlib.data.prepared_rows import RowWriter, prepared_columns
from churnlib.data.sides import prepare_sides
from churnlib.data.sources.stores import from_store
from churnlib.data.splits import SIDES, Split, check_shares
from churnlib.data.table_spec import TableSpec, table_spec
from churnlib.data.unfinished import unfinished_folder
from churnlib.data.validation import RuleBook, Validated, broken, read_rules
from churnlib.data.validation.masks import kept_when_scoring
from churnlib.data.validation.stream import StreamedRules
from churnlib.data.validation.validate import any_of, with_other_roles
from churnlib.errors import ConfigError, DataError
from churnlib.schema import Role, Rule, Schema

TABLE, LEARNED, ACCOUNT = "prepared.parquet", "preparation.json", "prepared.json"


@dataclass(frozen=True, slots=True)
class PreparedTable:
    """What was written.

    Attributes:
        folder: Where.
        rows: Rows written.
        left_out: Rows without a target.
        sampled: Training rows that the steps learned from.
        sides: Rows by side.
        unreadable: Cells that could not be read and count as missing, by column.
        columns: Names of the prepared columns.
        said: Sentences on what the steps found.
        seconds: Of the whole.
        learning_seconds: Of it, until kinds and steps were learned and the first row was written.
        validated: The rules and the rows that break them, if there are rules; their rows are not counted in ``rows``.
        sources: What to remember of each file that was read.
    """

    folder: Path
    rows: int
    left_out: int
    sampled: int
    sides: Mapping[str, int]
    unreadable: Mapping[str, int]
    columns: tuple[str, ...]
    said: tuple[str, ...]
    seconds: float
    learning_seconds: float
    validated: Validated | None = None
    sources: tuple[Mapping[str, Any], ...] = ()


def prepare_table(
    source: pl.LazyFrame,
    output: str | Path,
    spec: TableSpec | None = None,
    *,
    shares: Sequence[float] = (0.7, 0.15, 0.15),
    preprocess: Mapping[str, Any] | None = None,
    seed: int = 42,
    sample_rows: int = 1_000_000,
    progress: Callable[[int, int], None] | None = None,
    sources: Sequence[Mapping[str, Any]] = (),
    **said: Any,
) -> PreparedTable:
    """Prepare a table into a new folder, whole or not at all.

    Args:
        source: The table; not collected.
        output: Folder to write: ``prepared.parquet`` (the id, the date, the target as it came, the side, and the
            features after the last step, in the rows' order), ``preparation.json`` (what was learned) and
            ``prepared.json`` (an account of it).
        spec: What the table is; its rules without ``unique``. Rows without a target are left out, and so are those that
            break rules: they lie in ``quarantine.parquet``. No row is compared with another, so that copies stay.
        shares: Of train, validation and test.
        preprocess: ``features`` and ``steps``; other options belong to the network and are not applied here.
        seed: Of the sides, the sample and the steps.
        sample_rows: Rows that kinds and steps are learned from, at most: those of them that are for training.
        progress: Called with the rows done and all rows.
        sources: What to remember of each file that is read (its option, path, format, version), for the account.
        said: ``target``, ``id`` and what else is said of the table, in place of a spec: see
            :class:`~churnlib.data.table_spec.TableSpec`.

    Raises:
        ConfigError: If an option is wrong, or the folder is there already.
        DataError: If the table cannot be learned from; :class:`~churnlib.data.validation.BrokenRules` if too many rows
            break rules.
    """
    started = time.perf_counter()
    folder = Path(output)
    if folder.exists():
        raise ConfigError(f"{folder} exists already; choose another output, or remove it")
    check_shares(shares)
    spec = table_spec(spec, said)
    n_rows = int(source.select(pl.len()).collect(engine="streaming").item())
    if not n_rows:
        raise DataError("the table has columns but no rows; export it again with its customers")
    sided = with_sides(source, spec.id, shares, seed)
    book = read_rules(spec.rules)
    # The sample is not kept while the rows are written.
    learned = _learn(sample(sided, n_rows, sample_rows, seed), spec, book, preprocess=preprocess, seed=seed)
    checks = StreamedRules(book, learned.rules, learned.schema, n_rows) if book else None
    writer = RowWriter(learned.schema, learned.preparation, n_rows, progress, checks)
    learning_seconds = time.perf_counter() - started
    with _explained(folder), unfinished_folder(folder) as unfinished:
        rows = sided.map_batches(writer.prepare, schema=writer.types, streamable=True)
        rows.sink_parquet(unfinished / TABLE)
        validated = None if checks is None else checks.finish()
        if validated is not None:
            validated.check()
            validated.write(unfinished)
        prepared = PreparedTable(
            folder, writer.rows, writer.left_out, learned.sampled, dict(writer.sides), dict(writer.unreadable),
            tuple(column.name for column in writer.features), learned.said,
            time.perf_counter() - started, learning_seconds, validated, tuple(sources),
        )  # fmt: skip
        kept = {"schema": learned.schema.to_dict(), "preparation": learned.preparation.to_dict()}
        _write_json(unfinished / LEARNED, kept)
        _write_json(unfinished / ACCOUNT, _account(prepared))
    return prepared


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say of what goes wrong with the written files where they should have gone."""
    try:
        yield
    except OSError as error:
        if from_store(error):  # raised while the rows were read, which whoever opened the table explains
            raise
        raise DataError(f"the prepared table cannot be written to {folder} ({error.strerror or error})") from error


def read_preparation(folder: str | Path) -> tuple[Schema, Preparation]:
    """Return what :func:`prepare_table` has learned.

    Raises:
        BundleError: If the file is none.
    """
    values = json.loads((Path(folder) / LEARNED).read_text(encoding="utf-8"))
    return Schema.from_dict(values["schema"]), Preparation.from_dict(values["preparation"])


class _Learned(NamedTuple):
    """What is known after the sample: the schema, the fitted steps and the rules bound to the columns."""

    schema: Schema
    preparation: Preparation
    rules: tuple[Rule, ...]
    sampled: int
    said: tuple[str, ...]


def _learn(
    sampled: pl.DataFrame, spec: TableSpec, book: RuleBook, *, preprocess: Mapping[str, Any] | None, seed: int
) -> _Learned:
    """Learn kinds from the sample, and the steps from those of its training rows that break no rules."""
    table = describe(rows_with_target(sampled, spec), spec.without(SIDE), sensitive=False)
    frame, typed, schema = table.frame, table.typed, table.schema
    checked = with_other_roles(frame, typed, schema)
    bound = book.bind(schema, checked) if book else ()
    schema = replace(schema, rules=kept_when_scoring(bound, typed.columns))
    keeps = ~any_of(broken(checked, bound, table.coerced.unreadable), len(frame))
    train = np.flatnonzero((frame[SIDE] == SIDES[0]).to_numpy() & keeps)
    split = Split(train, train[:0], train[:0], by="random")
    options = {key: (preprocess or {}).get(key) for key in ("features", "steps")}
    groups = None if spec.id is None else frame[spec.id].cast(pl.String).fill_null("").to_numpy()
    done = prepare_sides(typed, table.label, schema, split, preprocess=options, groups=groups, seed=seed)
    return _Learned(schema, done.preparation, bound, len(done.split.train), (*done.said, *_kept_out(schema)))


def _kept_out(schema: Schema) -> tuple[str, ...]:
    """Say which columns are not in the result: whoever trains on it would not know that they are sensitive."""
    names = [column.name for column in schema.columns if column.role is Role.sensitive]
    return (f"not in the prepared table, since they are sensitive: {', '.join(names)}",) if names else ()


def _account(prepared: PreparedTable) -> dict[str, Any]:
    values = {name: getattr(prepared, name) for name in PreparedTable.__slots__ if name not in ("folder", "validated")}
    return {**values, **{name: list(values[name]) for name in ("said", "columns", "sources")}}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


__all__ = ["SIDE", "PreparedTable", "prepare_table", "prepared_columns", "read_preparation"]
