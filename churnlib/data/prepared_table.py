"""A table of any size, prepared into a Parquet file piece by piece.

What the steps learn comes from a sample of the training rows, drawn evenly over the whole table; every row then goes
through them in a stream, so that memory does not grow with the table. Customers are dealt to the sides by their name
(rows of one customer stay together) and the side is written beside them: ``data=table data.path=FILE split.by=column
split.column=side`` trains on the result.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import polars as pl

from churnlib.data.coercion import coerce
from churnlib.data.described import describe, rows_with_target
from churnlib.data.murmur import draws
from churnlib.data.preparation import NUMBER_KINDS, Preparation
from churnlib.data.sides import prepare_sides
from churnlib.data.sources.stores import from_store
from churnlib.data.splits import SIDES, Split, check_shares
from churnlib.data.table_spec import TableSpec, table_spec
from churnlib.data.target import target_given
from churnlib.data.validation import RuleBook, Validated, broken, read_rules
from churnlib.data.validation.masks import kept_when_scoring
from churnlib.data.validation.stream import StreamedRules
from churnlib.data.validation.validate import any_of, with_other_roles
from churnlib.errors import ConfigError, DataError
from churnlib.schema import Column, Kind, Role, Rule, Schema

SIDE = "side"
"""Column of the result that says train, validation or test."""

DRAW, NUMBER = "\0draw", "\0number"
"""Columns of our own beside those of the table, whose names have no NUL."""

TABLE, LEARNED, ACCOUNT = "prepared.parquet", "preparation.json", "prepared.json"

_TYPES = {Kind.numeric: pl.Float64(), Kind.datetime: pl.Datetime("us"), Kind.sequence: pl.List(pl.Float64)}


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
    sided = _with_sides(source, spec.id, shares, seed)
    sample = _sample(sided, n_rows, sample_rows, seed)
    book = read_rules(spec.rules)
    learned = _learn(sample, spec, book, preprocess=preprocess, seed=seed)
    checks = StreamedRules(book, learned.rules, learned.schema, n_rows) if book else None
    writer = _Writer(learned.schema, learned.preparation, n_rows, progress, checks)
    learning_seconds = time.perf_counter() - started
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
    try:
        temporary.mkdir(parents=True)
        rows = sided.map_batches(writer.prepare, schema=writer.types, streamable=True)
        rows.sink_parquet(temporary / TABLE)
        validated = None if checks is None else checks.finish()
        if validated is not None:
            validated.check()
            validated.write(temporary)
        prepared = PreparedTable(
            folder, writer.rows, writer.left_out, learned.sampled, dict(writer.sides), dict(writer.unreadable),
            tuple(column.name for column in writer.features), learned.said,
            time.perf_counter() - started, learning_seconds, validated,
        )  # fmt: skip
        kept = {"schema": learned.schema.to_dict(), "preparation": learned.preparation.to_dict()}
        _write_json(temporary / LEARNED, kept)
        _write_json(temporary / ACCOUNT, _account(prepared))
        temporary.replace(folder)
    except OSError as error:
        if from_store(error):  # raised while the rows were read, which whoever opened the table explains
            raise
        raise DataError(f"the prepared table cannot be written to {folder} ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return prepared


def read_preparation(folder: str | Path) -> tuple[Schema, Preparation]:
    """Return what :func:`prepare_table` has learned.

    Raises:
        BundleError: If the file is none.
    """
    values = json.loads((Path(folder) / LEARNED).read_text(encoding="utf-8"))
    return Schema.from_dict(values["schema"]), Preparation.from_dict(values["preparation"])


# --- before the stream ----------------------------------------------------------------------------------------------


def _with_sides(source: pl.LazyFrame, id_column: str | None, shares: Sequence[float], seed: int) -> pl.LazyFrame:
    """Add the side of each row, drawn from the customer's name, or from the row's number."""
    names = source.collect_schema().names()
    if SIDE in names:
        raise ConfigError(f"the table has a column {SIDE!r} already, which the result needs; rename it")
    if id_column is not None and id_column not in names:
        raise ConfigError(f"data.id names the column {id_column!r}, which the table does not have")
    number = pl.col(NUMBER).cast(pl.String)
    key = number if id_column is None else pl.coalesce(pl.col(id_column).cast(pl.String), number)
    train, validation, _ = shares
    draw = pl.col(DRAW)
    side = pl.when(draw < train).then(pl.lit(SIDES[0])).when(draw < train + validation).then(pl.lit(SIDES[1]))
    side = side.otherwise(pl.lit(SIDES[2])).alias(SIDE)
    # A column of its own: polars asks the branches of a condition about rows with their texts taken away.
    drawn = source.with_row_index(NUMBER).with_columns(draws(key, seed=seed).alias(DRAW))
    return drawn.with_columns(side).drop(DRAW, NUMBER)


def _sample(sided: pl.LazyFrame, n_rows: int, most: int, seed: int) -> pl.DataFrame:
    """Return about as many rows as wanted, spread over the whole table, in its order."""
    if n_rows <= most:
        return sided.collect(engine="streaming")
    drawn = draws(pl.col(NUMBER).cast(pl.String), seed=seed + 1) < most / n_rows
    # A range as long as the table would hold every row back until they are counted.
    return sided.with_row_index(NUMBER).filter(drawn).drop(NUMBER).collect(engine="streaming")


class _Learned(NamedTuple):
    """What is known after the sample: the schema, the fitted steps and the rules bound to the columns."""

    schema: Schema
    preparation: Preparation
    rules: tuple[Rule, ...]
    sampled: int
    said: tuple[str, ...]


def _learn(
    sample: pl.DataFrame, spec: TableSpec, book: RuleBook, *, preprocess: Mapping[str, Any] | None, seed: int
) -> _Learned:
    """Learn kinds from the sample, and the steps from those of its training rows that break no rules."""
    table = describe(rows_with_target(sample, spec), spec.without(SIDE), sensitive=False)
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


class _Writer:
    """Prepares one piece of the stream after the other, and counts.

    Args:
        schema: Of the table.
        preparation: What was learned.
        n_rows: Of the whole table.
        progress: Called after each piece.
        checks: The rules of the table, if it has some.
    """

    def __init__(
        self,
        schema: Schema,
        preparation: Preparation,
        n_rows: int,
        progress: Callable[[int, int], None] | None,
        checks: StreamedRules | None = None,
    ) -> None:
        self.schema, self.preparation = schema, preparation
        self.features = prepared_columns(schema, preparation)
        self._named = [name for name in (schema.id, schema.target) if name is not None]
        self._n_rows, self._progress, self._done = n_rows, progress, 0
        self._counting = Lock()  # polars hands pieces to several threads at a time
        self._checks = checks
        self.rows = self.left_out = 0
        self.sides: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()
        time_type = {schema.time: pl.Datetime("us")} if schema.time else {}
        self.types: dict[str, Any] = {
            **dict.fromkeys(self._named, pl.String()), **time_type, SIDE: pl.String(),
            **{column.name: _TYPES.get(column.kind, pl.String()) for column in self.features},
        }  # fmt: skip

    def prepare(self, piece: pl.DataFrame) -> pl.DataFrame:
        """Return the prepared rows of a piece."""
        assert self.schema.target is not None
        rows = piece.filter(target_given(piece[self.schema.target]))
        read = coerce(rows, self.schema)
        left_out, typed = len(piece) - len(rows), read.typed
        if self._checks is not None:
            with self._counting:
                keeps = pl.Series(self._checks.check(rows, read))
            rows, typed = rows.filter(keeps), typed.filter(keeps)
        typed = self.preparation.chain.apply(typed)
        named = rows.select(pl.col(name).cast(pl.String) for name in self._named)
        dates = typed.select(self.schema.time) if self.schema.time else pl.DataFrame()
        features = typed.select(column.name for column in self.features)
        prepared = pl.concat([named, dates, rows.select(SIDE), features], how="horizontal")
        with self._counting:
            self._count(piece, rows, left_out, read.unreadable_counts())
        return prepared

    def _count(self, piece: pl.DataFrame, rows: pl.DataFrame, left_out: int, unreadable: Mapping[str, int]) -> None:
        self._done += len(piece)
        self.rows += len(rows)
        self.left_out += left_out
        self.sides.update(dict(rows[SIDE].value_counts().iter_rows()))
        self.unreadable.update(unreadable)
        if self._progress is not None:
            self._progress(self._done, self._n_rows)


def prepared_columns(schema: Schema, preparation: Preparation) -> tuple[Column, ...]:
    """Return the features after the last step, in the order in which a model gets them."""
    if not preparation.chain:
        return schema.features
    given = {column.name: column for column in schema.features}
    histories = {history.name: Kind.sequence for history in preparation.histories}
    n_plain = len(preparation.numeric) - sum(history.n_steps for history in preparation.histories)
    numbers = [_named(given, s.name, Kind.numeric, preparation) for s in preparation.numeric[:n_plain]]
    sequences = [given.get(name, Column(name, kind)) for name, kind in histories.items()]
    categories = [_named(given, v.name, Kind.categorical, preparation) for v in preparation.categorical]
    return (*numbers, *sequences, *categories)


def _named(given: Mapping[str, Column], name: str, kind: Kind, preparation: Preparation) -> Column:
    ordered, column = name in preparation.orders, given.get(name)
    made = Column(name, Kind.ordinal if ordered else kind)
    if column is None:
        return made
    # A step may put a column of another kind in the place of one of the table's.
    same = (column.kind is Kind.ordinal) == ordered and (column.kind in NUMBER_KINDS) == (kind is Kind.numeric)
    return column if same else made


def _kept_out(schema: Schema) -> tuple[str, ...]:
    """Say which columns are not in the result: whoever trains on it would not know that they are sensitive."""
    names = [column.name for column in schema.columns if column.role is Role.sensitive]
    return (f"not in the prepared table, since they are sensitive: {', '.join(names)}",) if names else ()


def _account(prepared: PreparedTable) -> dict[str, Any]:
    values = {name: getattr(prepared, name) for name in PreparedTable.__slots__ if name not in ("folder", "validated")}
    return {**values, "said": list(prepared.said), "columns": list(prepared.columns)}


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


__all__ = ["SIDE", "PreparedTable", "prepare_table", "prepared_columns", "read_preparation"]
