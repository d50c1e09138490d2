"""Scoring a file of any size: streamed in, streamed out, one output row per input row in the same order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from churnlib.config import ScoreConfig
from churnlib.console import row_bars
from churnlib.data.events import EventDefinition, events_of, gather_events
from churnlib.data.history import EventTable, read_events, with_history
from churnlib.data.opt_out import OPTED_OUT, OptOut, read_opt_out, refuse_nameless
from churnlib.data.pseudonyms import Pseudonyms, check_id, read_pseudonyms
from churnlib.data.sources import about_source, pin_table, reading, scan_table
from churnlib.errors import CellError, ConfigError, DataError
from churnlib.predictor import Predictor, load
from churnlib.reading import OUTSIDE, UNUSUAL, Reading

WRITERS = {".csv": "sink_csv", ".parquet": "sink_parquet", ".pq": "sink_parquet"}


@dataclass(frozen=True, slots=True)
class Scored:
    """What scoring a file did.

    Attributes:
        rows: Rows read and written.
        bad: Rows with empty results because they cannot be scored.
        opted_out: Rows with empty results because their customers have objected.
        seconds: From the first row to the last.
    """

    rows: int
    bad: int
    opted_out: int
    seconds: float


Answering = Callable[[Predictor], Callable[[Reading], pl.DataFrame]]
"""From the model to what answers for rows."""


def score_file(
    config: ScoreConfig,
    console: Console | None = None,
    *,
    answering: Answering | None = None,
    announce: bool = True,
) -> Scored:
    """Score a table with a bundle and write one answer per row.

    Args:
        config: Bundle, input, output and options.
        console: Where to show progress and the summary.
        answering: From the model to what answers for rows; :meth:`~churnlib.predictor.Predictor.answers` when None.
        announce: Whether to say how many rows were written, and where; what is unusual about them is said anyway.

    Raises:
        ConfigError: If an option is wrong.
        BundleError: If the bundle cannot be used.
        DataError: If the table lacks a column, or (``on_error=raise``) has rows that cannot be scored; nothing is
            written then.
    """
    console = console or Console(quiet=True)
    source, target = _check(config)
    pseudonyms = read_pseudonyms(**asdict(config.pseudonymise))
    predictor = load(config.bundle, trust=config.trust, backend=config.backend)
    with _rows(source, config) as (table, chosen):
        return _score(config, console, predictor, answering, table, chosen, target, pseudonyms, announce)


@contextmanager
def _rows(source: str, config: ScoreConfig) -> Iterator[tuple[pl.LazyFrame, list[str]]]:
    """Open the table, and say what of a file was chosen without being asked for.

    A query's rows are put down in a folder first, since they are gone through more than once.
    """
    if not source.lower().endswith(".sql"):
        how, facts = pin_table(source, **config.reading())
        yield scan_table(source, **how), about_source(facts)
        return
    from churnlib.data.sources.sql import fetch_sql

    options = {"url_env": config.url_env, "timeout_seconds": config.timeout_seconds}
    with TemporaryDirectory(prefix="churnlib-sql-") as folder:
        yield fetch_sql(source, Path(folder) / "rows", **options), []


def _score(
    config: ScoreConfig,
    console: Console,
    predictor: Predictor,
    answering: Answering | None,
    table: pl.LazyFrame,
    chosen: list[str],
    target: Path,
    pseudonyms: Pseudonyms | None,
    announce: bool,
) -> Scored:
    if pseudonyms is not None:
        check_id(predictor.schema.id, table.collect_schema().names())
    opt_out = _opt_out(config, predictor, table)
    events = _events(config, predictor)
    gathered = events.columns if events is not None else ()
    made, said = _event_columns(config, predictor, table, console)
    predictor.check_columns([*table.collect_schema().names(), *gathered, *made.columns])

    horizon = None if config.horizon is None else predictor.check_horizon(config.horizon)
    answer = partial(predictor.answers, horizon=horizon) if answering is None else answering(predictor)
    stream = _Stream(predictor, answer, table, events, made, config, console, pseudonyms, opt_out)
    temporary = target.with_name(f".{uuid4().hex[:8]}.{target.name}")
    started = time.perf_counter()
    try:
        answers = register_io_source(stream.batches, schema=stream.schema, is_pure=False)
        getattr(answers, WRITERS[target.suffix.lower()])(temporary, maintain_order=True)
        stream.check()
        temporary.replace(target)
        if pseudonyms is not None:
            pseudonyms.write_note(target, "customer_id")
    except pl.exceptions.PolarsError as error:
        raise stream.failure or DataError(f"{config.input} cannot be read to its end ({error})") from error
    except OSError as error:
        raise DataError(
            f"{target} cannot be written ({error.strerror or error}); choose another output=FILE"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    scored = Scored(stream.rows, stream.bad, stream.opted_out, time.perf_counter() - started)
    if announce:
        _announce(console, scored, target)
    _summarise(console, scored, stream)
    for line in (*chosen, *said):
        console.print(f"[yellow]•[/] {escape(line)}", highlight=False, soft_wrap=True)
    return scored


def _check(config: ScoreConfig) -> tuple[str, Path]:
    if not config.input or not config.output:
        raise ConfigError("score needs bundle=DIR input=FILE output=FILE")
    if config.on_error not in ("raise", "null"):
        raise ConfigError(f"on_error must be raise or null, got {config.on_error!r}")
    if config.batch_rows < 1:
        raise ConfigError(f"batch_rows must be at least 1, got {config.batch_rows}")
    target = Path(config.output)
    if target.suffix.lower() not in WRITERS:
        raise ConfigError(f"output={target} must end in .csv or .parquet")
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise ConfigError(f"output={target} cannot be written; give a file in a folder that exists")
    return config.input, target


def _opt_out(config: ScoreConfig, predictor: Predictor, table: pl.LazyFrame) -> OptOut | None:
    """Return the list of customers that no model may be asked about, if there is one."""
    if config.opt_out is None:
        return None
    refuse_nameless(predictor.schema.id, table.collect_schema().names())
    return read_opt_out(config.opt_out, id=predictor.schema.id)


def _events(config: ScoreConfig, predictor: Predictor) -> EventTable | None:
    """Return the long table that the customers' histories are gathered from, if there is one."""
    history = config.history
    if history.path is None:
        return None
    return read_events(
        history.path,
        id=history.id or predictor.schema.id,
        time=history.time,
        columns=history.columns,
        format=history.format,
        **history.reading(),
    )


def _event_columns(
    config: ScoreConfig, predictor: Predictor, table: pl.LazyFrame, console: Console
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the columns that the model's definitions make of the event tables, for all rows, and what was left out.

    They are made at once: an event table is read once, not once for each batch of customers.
    """
    wanted = _wanted_events(config, predictor, table.collect_schema().names())
    if not wanted:
        return pl.DataFrame(), ()
    schema, source = predictor.schema, config.input or ""
    named = [name for name in (schema.id, schema.time) if name in table.collect_schema().names()]
    with reading(source, **config.reading()):
        rows = table.select(named).collect()
    with row_bars(console) as progress:
        gathered = gather_events(
            rows,
            wanted,
            {one.name: config.events[one.name].path for one in wanted},
            id=schema.id,
            time=schema.time,
            formats=None if schema.time is None else schema[schema.time].formats,
            options={one.name: config.events[one.name].reading() for one in wanted},
            progress=progress,
        )
    return gathered.frame.drop(named), gathered.said


def _wanted_events(config: ScoreConfig, predictor: Predictor, names: Sequence[str]) -> list[EventDefinition]:
    """Return the model's definitions of the event tables that are given, with what differs in these files.

    Raises:
        ConfigError: If a table is none of the model's, or one of them is missing and its columns are not there either.
    """
    known = {one.name: one for one in events_of(predictor.schema)}
    for name, table in config.events.items():
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it was trained without any"
            raise ConfigError(f"the model has no event table {name!r}; {has}")
        if not table.path:
            raise ConfigError(f"events.{name}.path is missing; give the file with the events")
        fixed = next((key for key in ("windows", "aggregations", "columns", "features") if getattr(table, key)), None)
        if fixed is not None:
            raise ConfigError(f"events.{name}.{fixed} belongs to the model and cannot be changed; leave it out")
    for name, definition in known.items():
        absent = next((column for column in definition.names if column not in names), None)
        if name not in config.events and absent is not None:
            raise ConfigError(
                f"the model reads {absent!r}, which is made from its event table {name!r}: give events.{name}.path=FILE"
            )
    given = {name: (known[name], table) for name, table in config.events.items()}
    return [
        replace(one, id=table.id or one.id, time=table.time or one.time, format=table.format or one.format)
        for one, table in given.values()
    ]


def predictor_pseudonyms(predictor: Predictor) -> dict[str, Any] | None:
    """Return the key's id, tenant and purpose of the names that the model was trained with, None if they were clear."""
    found = predictor.schema.about.get("pseudonyms")
    return None if found is None else dict(found)


class _Stream:
    """Scores batches as polars asks for them, and remembers what it met."""

    def __init__(
        self,
        predictor: Predictor,
        answer: Callable[[Reading], pl.DataFrame],
        table: pl.LazyFrame,
        events: EventTable | None,
        made: pl.DataFrame,
        config: ScoreConfig,
        console: Console,
        pseudonyms: Pseudonyms | None = None,
        opt_out: OptOut | None = None,
    ) -> None:
        self.predictor = predictor
        self.answer = answer
        self.table = table
        self.events = events
        self.made = made
        self.config = config
        self.console = console
        self.pseudonyms = pseudonyms
        self.opt_out = opt_out
        self.rows = self.bad = self.opted_out = 0
        self.first_error: CellError | None = None
        self.failure: BaseException | None = None
        self.unseen: dict[str, int] = {}
        self.outside: dict[str, int] = {}
        self.unusual = 0
        self.unknown: tuple[str, ...] = ()
        none = self.complete(table.head(0).collect())
        self.schema = self.named(self.with_opted_out(answer(predictor.read(none)), none)).schema

    def batches(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield answers in row order; the arguments belong to polars' protocol and carry nothing for a plain sink."""
        try:
            with self.reading():
                total = self.table.select(pl.len()).collect().item()
            columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            with Progress(*columns, console=self.console, transient=True) as progress:
                task = progress.add_task("scoring", total=total)
                for frame in self.frames():
                    answers = self.score(frame)
                    progress.update(task, advance=len(frame))
                    if self.first_error is None or self.config.on_error == "null":
                        yield answers
        except BaseException as error:
            # polars replaces what a source raises by an error of its own.
            self.failure = error
            raise

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield the customers batch by batch; what goes wrong with their file is one sentence."""
        with self.reading():
            batches = iter(self.table.collect_batches(chunk_size=self.config.batch_rows, maintain_order=True))
        while True:
            with self.reading():
                frame = next(batches, None)
            if frame is None:
                return
            yield frame

    def reading(self) -> AbstractContextManager[None]:
        """Turn errors of reading the table into one sentence."""
        return reading(self.config.input or "", **self.config.reading())

    def complete(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the customers that come next with the columns that are made of other tables."""
        made = self.made.slice(self.rows, len(frame))
        return self.with_history(pl.concat([frame, made], how="horizontal") if made.width else frame)

    def with_history(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return customers with the list columns of the long table, if there is one."""
        if self.events is None:
            return frame
        schema = self.predictor.schema
        formats = () if schema.time is None else schema[schema.time].formats
        most = max((history.n_steps for history in self.predictor.bundle.preparation.histories), default=1)
        return with_history(frame, self.events, id=schema.id, time=schema.time, formats=formats, most=most)

    def named(self, answers: pl.DataFrame) -> pl.DataFrame:
        """Return answers with the customers called by their pseudonyms, if that is asked for."""
        return answers if self.pseudonyms is None else self.pseudonyms.frame(answers, "customer_id")

    def objecting(self, frame: pl.DataFrame) -> np.ndarray:
        """Return which customers have objected to being scored, ``(n,)`` bool."""
        if self.opt_out is None:
            return np.zeros(len(frame), dtype=bool)
        return self.opt_out.among(frame.get_column(str(self.predictor.schema.id)))

    def with_opted_out(self, answers: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
        """Return an answer for each customer of a batch, from those of the customers who have not objected."""
        if self.opt_out is None:
            return answers
        out = self.objecting(frame)
        place = pl.Series(np.where(out, -1, np.cumsum(~out) - 1)).replace(-1, None)
        names = frame.get_column(str(self.predictor.schema.id)).alias("customer_id")
        return answers.select(pl.all().gather(place)).with_columns(names, pl.Series(OPTED_OUT, out))

    def score(self, frame: pl.DataFrame) -> pl.DataFrame:
        frame = self.complete(frame)
        asked = np.flatnonzero(~self.objecting(frame))
        read = self.predictor.read(frame if len(asked) == len(frame) else frame[asked])
        answers = self.with_opted_out(self.answer(read), frame)
        if self.predictor.schema.id is None or self.predictor.schema.id not in frame.columns:
            answers = answers.with_columns(pl.col("customer_id") + self.rows)
        n_bad = int(read.bad.sum())
        if n_bad and self.first_error is None:
            first = next(read.iter_errors())
            self.first_error = CellError(int(asked[first.row]) + self.rows, first.column, first.problem, first.value)
        for warning in read.warnings:
            if warning.problem is UNUSUAL:
                self.unusual += 1
            elif warning.problem is OUTSIDE:
                self.outside[warning.column] = self.outside.get(warning.column, 0) + 1
            elif warning.row is not None:
                self.unseen[warning.column] = self.unseen.get(warning.column, 0) + 1
        self.unknown = tuple(w.column for w in read.warnings if w.row is None and w.column in frame.columns)
        self.bad += n_bad
        self.opted_out += len(frame) - len(asked)
        self.rows += len(frame)
        return self.named(answers)

    def check(self) -> None:
        """Refuse to keep the output if rows could not be scored and that is an error."""
        if self.first_error is not None and self.config.on_error == "raise":
            count = "1 row" if self.bad == 1 else f"{self.bad:,} rows"
            raise DataError(
                f"{count} of {self.config.input} cannot be scored; the first is {self.first_error} (correct it, or "
                f"write empty results for such rows with on_error=null)"
            )


def _announce(console: Console, scored: Scored, target: Path) -> None:
    rate = scored.rows / max(scored.seconds, 1e-9)
    console.print(
        f"{scored.rows:,} rows scored in {scored.seconds:.1f} s ({rate:,.0f} rows/s): {target}", soft_wrap=True
    )


def _summarise(console: Console, scored: Scored, stream: _Stream) -> None:
    if scored.bad:
        console.print(f"[yellow]•[/] {scored.bad:,} rows have empty results; the first is {stream.first_error}")
    if stream.opt_out is not None:
        found = f"{scored.opted_out:,} rows are of customers who have objected, and were not scored"
        if stream.opt_out and not scored.opted_out:
            found = f"none of the {len(stream.opt_out):,} customers of opt_out is in the table: are they written alike?"
        console.print(f"[yellow]•[/] {found}", soft_wrap=True)
    for column, count in stream.unseen.items():
        console.print(f"[yellow]•[/] {count:,} rows have a value of {column!r} that training did not see")
    for column, count in stream.outside.items():
        console.print(f"[yellow]•[/] {count:,} rows have a number of {column!r} outside the range that training saw")
    if stream.unusual:
        console.print(f"[yellow]•[/] {stream.unusual:,} rows are unlike those of training in several columns together")
    trained = predictor_pseudonyms(stream.predictor)
    if stream.pseudonyms is not None and trained is not None and trained != stream.pseudonyms.note():
        console.print(
            f"[yellow]•[/] pseudonyms of another key, tenant or purpose than the model's ({escape(str(trained))}): the "
            "scores cannot be joined with the run's files",
            soft_wrap=True,
        )
    if stream.unknown:
        console.print(f"[yellow]•[/] columns the model does not know: {', '.join(map(repr, stream.unknown[:8]))}")
