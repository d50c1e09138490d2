"""Scoring a file of any size: streamed in, streamed out, one output row per input row in the same order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import polars as pl
from polars.io.plugins import register_io_source
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from churnlib.config import ScoreConfig
from churnlib.data.history import EventTable, read_events, with_history
from churnlib.data.sources import scan_table
from churnlib.errors import CellError, ConfigError, DataError
from churnlib.predictor import Predictor, load

WRITERS = {".csv": "sink_csv", ".parquet": "sink_parquet", ".pq": "sink_parquet"}


@dataclass(frozen=True, slots=True)
class Scored:
    """What scoring a file did.

    Attributes:
        rows: Rows read and written.
        bad: Rows with empty results.
        seconds: From the first row to the last.
    """

    rows: int
    bad: int
    seconds: float


def score_file(config: ScoreConfig, console: Console | None = None) -> Scored:
    """Score a table with a bundle and write one answer per row.

    Args:
        config: Bundle, input, output and options.
        console: Where to show progress and the summary.

    Raises:
        ConfigError: If an option is wrong.
        BundleError: If the bundle cannot be used.
        DataError: If the table lacks a column, or (``on_error=raise``) has rows that cannot be scored; nothing is
            written then.
    """
    console = console or Console(quiet=True)
    source, target = _check(config)
    predictor = load(config.bundle, trust=config.trust, backend=config.backend)
    table = scan_table(source, separator=config.separator)
    events = _events(config, predictor)
    gathered = events.columns if events is not None else ()
    predictor.check_columns([*table.collect_schema().names(), *gathered])

    stream = _Stream(predictor, table, events, config, console)
    temporary = target.with_name(f".{uuid4().hex[:8]}.{target.name}")
    started = time.perf_counter()
    try:
        answers = register_io_source(stream.batches, schema=stream.schema, is_pure=False)
        getattr(answers, WRITERS[target.suffix.lower()])(temporary, maintain_order=True)
        stream.check()
        temporary.replace(target)
    except pl.exceptions.PolarsError as error:
        raise stream.failure or DataError(f"{source} cannot be read to its end ({error})") from error
    except OSError as error:
        raise DataError(
            f"{target} cannot be written ({error.strerror or error}); choose another output=FILE"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    scored = Scored(stream.rows, stream.bad, time.perf_counter() - started)
    _summarise(console, scored, stream, target)
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
        separator=history.separator,
    )


class _Stream:
    """Scores batches as polars asks for them, and remembers what it met."""

    def __init__(
        self,
        predictor: Predictor,
        table: pl.LazyFrame,
        events: EventTable | None,
        config: ScoreConfig,
        console: Console,
    ) -> None:
        self.predictor = predictor
        self.table = table
        self.events = events
        self.config = config
        self.console = console
        self.rows = self.bad = 0
        self.first_error: CellError | None = None
        self.failure: BaseException | None = None
        self.unseen: dict[str, int] = {}
        self.unknown: tuple[str, ...] = ()
        self.schema = predictor.predict(self.with_history(table.head(0).collect())).schema

    def batches(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield answers in row order; the arguments belong to polars' protocol and carry nothing for a plain sink."""
        try:
            total = self.table.select(pl.len()).collect().item()
            columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            with Progress(*columns, console=self.console, transient=True) as progress:
                task = progress.add_task("scoring", total=total)
                for frame in self.table.collect_batches(chunk_size=self.config.batch_rows, maintain_order=True):
                    answers = self.score(frame)
                    progress.update(task, advance=len(frame))
                    if self.first_error is None or self.config.on_error == "null":
                        yield answers
        except BaseException as error:
            # polars replaces what a source raises by an error of its own.
            self.failure = error
            raise

    def with_history(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return customers with the list columns of the long table, if there is one."""
        if self.events is None:
            return frame
        schema = self.predictor.schema
        formats = () if schema.time is None else schema[schema.time].formats
        most = max((history.n_steps for history in self.predictor.bundle.preparation.histories), default=1)
        return with_history(frame, self.events, id=schema.id, time=schema.time, formats=formats, most=most)

    def score(self, frame: pl.DataFrame) -> pl.DataFrame:
        frame = self.with_history(frame)
        reading = self.predictor.read(frame)
        answers = self.predictor.answers(reading)
        if self.predictor.schema.id is None or self.predictor.schema.id not in frame.columns:
            answers = answers.with_columns(pl.col("customer_id") + self.rows)
        n_bad = int(reading.bad.sum())
        if n_bad and self.first_error is None:
            first = next(reading.iter_errors())
            self.first_error = CellError(first.row + self.rows, first.column, first.problem, first.value)
        for warning in reading.warnings:
            if warning.row is not None:
                self.unseen[warning.column] = self.unseen.get(warning.column, 0) + 1
        self.unknown = tuple(w.column for w in reading.warnings if w.row is None and w.column in frame.columns)
        self.bad += n_bad
        self.rows += len(frame)
        return answers

    def check(self) -> None:
        """Refuse to keep the output if rows could not be scored and that is an error."""
        if self.first_error is not None and self.config.on_error == "raise":
            count = "1 row" if self.bad == 1 else f"{self.bad:,} rows"
            raise DataError(
                f"{count} of {self.config.input} cannot be scored; the first is {self.first_error} (correct it, or "
                f"write empty results for such rows with on_error=null)"
            )


def _summarise(console: Console, scored: Scored, stream: _Stream, target: Path) -> None:
    rate = scored.rows / max(scored.seconds, 1e-9)
    console.print(
        f"{scored.rows:,} rows scored in {scored.seconds:.1f} s ({rate:,.0f} rows/s): {target}", soft_wrap=True
    )
    if scored.bad:
        console.print(f"[yellow]•[/] {scored.bad:,} rows have empty results; the first is {stream.first_error}")
    for column, count in stream.unseen.items():
        console.print(f"[yellow]•[/] {count:,} rows have a value of {column!r} that training did not see")
    if stream.unknown:
        console.print(f"[yellow]•[/] columns the model does not know: {', '.join(map(repr, stream.unknown[:8]))}")
