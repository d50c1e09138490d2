"""The sink that writes records to a folder: parts in Parquet or lines of JSON, each there whole or not at all.

A part is written beside its place and renamed, so that whoever reads ``FOLDER/part-*.parquet`` never meets half a file.
What the recorder hands over at once becomes a part (each minute, at 25,000 customers, and at the end); a process that
is killed loses at most that. Where the parts together are larger than the limit, the oldest are deleted.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churnlib.config.checks import check_choice
from churnlib.data.recorded import note_key
from churnlib.errors import ConfigError
from churnlib.serving.seeing.recording import DEFAULT_FIELDS, FIELDS, Record, Recorder

if TYPE_CHECKING:
    import polars as pl

    from churnlib.data.pseudonyms import Pseudonyms

KEY_VARIABLE = "CHURNLIB_RECORD_KEY"
"""Environment variable with the key of the pseudonyms; with ``_FILE`` at its end, one with the file that holds it."""

_STALE_SECONDS = 3600


class RecordFolder:
    """A sink of :class:`~churnlib.serving.seeing.recording.Recorder`; several processes may write to one folder.

    Args:
        folder: Made where it is missing, and readable by its owner only: what is in it is personal data.
        form: ``parquet`` or ``jsonl``.
        fields: Columns to write, of :data:`~churnlib.serving.seeing.recording.FIELDS`.
        keep_bytes: Size of all parts together from which the oldest are deleted; 0 keeps everything.
        pseudonyms: Noted in the folder: which key, not the key.

    Raises:
        ConfigError: If the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        form: str = "parquet",
        fields: Sequence[str] = DEFAULT_FIELDS,
        keep_bytes: int = 1_000_000_000,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        check_choice("form", form, ("parquet", "jsonl"))
        self.folder = Path(folder)
        self._form = form
        self._fields = [name for name in FIELDS if name in fields]
        self._keep_bytes = keep_bytes
        self._number = itertools.count()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            if pseudonyms is not None:
                note_key(self.folder, pseudonyms.note())
        except OSError as error:
            raise ConfigError(f"record={folder} cannot be written ({error.strerror}); name another folder") from None

    def __call__(self, records: list[Record]) -> None:
        """Write records as one part, or as one for each version of the model: classes may differ between them.

        Raises:
            OSError: If it cannot be written.
        """
        for version in dict.fromkeys(record.model_version for record in records):
            moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            path = self.folder / f"part-{moment}-{os.getpid()}-{next(self._number)}.{self._form}"
            self._write_whole(path, self._bytes([record for record in records if record.model_version == version]))
        self._forget_oldest()

    def _bytes(self, records: Sequence[Record]) -> bytes:
        table = _table(records, self._fields)
        buffer = io.BytesIO()
        if self._form == "parquet":
            table.write_parquet(buffer)
        else:
            table.write_ndjson(buffer)
        return buffer.getvalue()

    def _write_whole(self, path: Path, data: bytes) -> None:
        part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _forget_oldest(self) -> None:
        if not self._keep_bytes:
            return
        total = 0
        for path in sorted(self.folder.glob("part-*"), reverse=True):  # names begin with the time
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # another process was faster
                continue
            if total > self._keep_bytes:
                path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what processes that were killed have left half-written."""
        for path in self.folder.glob(".*.tmp"):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                path.unlink(missing_ok=True)


def open_record(
    folder: str | Path, *, form: str = "parquet", keep_bytes: int = 1_000_000_000, **options: Any
) -> Recorder:
    """Return a recorder that writes to a folder, with the key for pseudonyms that the environment names.

    Args:
        folder: See :class:`RecordFolder`.
        form: See there.
        keep_bytes: See there.
        options: Of :class:`~churnlib.serving.seeing.recording.Recorder`.

    Raises:
        ConfigError: If the folder cannot be written, the key cannot be read, or an option is wrong.
    """
    pseudonyms = options.pop("pseudonyms", None) or _key()
    fields = options.get("fields", DEFAULT_FIELDS)
    sink = RecordFolder(folder, form=form, fields=fields, keep_bytes=keep_bytes, pseudonyms=pseudonyms)
    return Recorder(sink, pseudonyms=pseudonyms, **options)


def _key() -> Pseudonyms | None:
    file = os.environ.get(f"{KEY_VARIABLE}_FILE")
    if file is None and KEY_VARIABLE not in os.environ:
        return None
    from churnlib.data.pseudonyms import read_pseudonyms

    return read_pseudonyms(
        key_env=None if file else KEY_VARIABLE,
        key_file=file,
        key_id=os.environ.get(f"{KEY_VARIABLE}_ID", "record"),
        tenant=os.environ.get(f"{KEY_VARIABLE}_TENANT", ""),
    )


def _table(records: Sequence[Record], fields: Sequence[str]) -> pl.DataFrame:
    """Return records of one version as a table, a row per customer; probabilities of several classes as a list."""
    import polars as pl

    def each(values: Callable[[Record], Iterable[Any]]) -> list[Any]:
        return [value for record in records for value in values(record)]

    columns: dict[str, Callable[[], pl.Series]] = {
        "time": lambda: pl.Series(each(lambda record: [round(record.time * 1e6)] * len(record)), dtype=pl.Int64).cast(
            pl.Datetime("us", "UTC")
        ),
        "request_id": lambda: pl.Series(each(lambda record: record.request_ids), dtype=pl.String),
        "model_version": lambda: pl.Series(each(lambda record: [record.model_version] * len(record)), dtype=pl.String),
        "customer_id": lambda: pl.Series(each(lambda record: map(_text, record.customer_ids)), dtype=pl.String),
        "churn_probability": lambda: pl.Series(each(lambda record: np.asarray(record.probabilities).tolist())),
        "churn_prediction": lambda: pl.Series(each(lambda record: map(_plain, record.decisions))),
        "features": lambda: pl.Series(each(_cells), dtype=pl.String),
        "encoded": lambda: pl.Series(each(_numbers), dtype=pl.List(pl.Float32)),
    }
    return pl.DataFrame({name: columns[name]() for name in fields})


def _cells(record: Record) -> Iterable[str | None]:
    """Return the cells of each customer as one text of JSON: a column takes one type, and cells as sent have any."""
    if record.features is None:
        return [None] * len(record)
    return (json.dumps(row, ensure_ascii=False, default=str) for row in record.features)


def _numbers(record: Record) -> list[Any]:
    return [None] * len(record) if record.encoded is None else record.encoded.tolist()


def _text(name: Any) -> str | None:
    return None if name is None else str(name)


def _plain(decision: Any) -> Any:
    return decision.item() if hasattr(decision, "item") else decision


__all__ = ["KEY_VARIABLE", "RecordFolder", "open_record"]
