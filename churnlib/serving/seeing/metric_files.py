"""The files in which the processes of a server keep their numbers, and what ``/metrics`` makes of them.

They are prometheus_client's own (``counter_PID-...db`` and so on), so that its ``MultiProcessCollector`` reads them,
and metrics that somebody's own code keeps with prometheus_client stand beside them. Beyond what that package does:

- files appear whole (written beside, then renamed): a reader never meets an empty one;
- counters and histograms of a process that is gone are added to one file of all the dead, so that nothing counted is
  lost and a thousand restarts leave no thousand files; readers and this merging exclude each other by a lock on a
  file, or a number would be there twice, or not at all, for one scrape;
- a file's name has a random part besides the process's number, which the system may give out again.
"""

from __future__ import annotations

import logging
import os
import secrets
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from churnlib.serving.seeing.families import Family
from churnlib.serving.seeing.metric_folder import FOLDER_VARIABLE, files_of, moving, reading

if TYPE_CHECKING:
    from churnlib.serving.seeing.metrics import Sample

_DEAD = "dead"
_DAMAGED = (RuntimeError, ValueError, KeyError, IndexError, struct.error)
"""What reading a file raises that is none of ours, or was cut off."""

_log = logging.getLogger(__name__)


def mark_dead(pid: int, folder: str | os.PathLike[str] | None = None) -> None:
    """Take over what a process has counted and forget what it was; called by the supervisor once it is gone.

    Args:
        pid: Number of a process that does not run any more.
        folder: Folder of the files; None takes what the environment says.
    """
    path = Path(folder or os.environ.get(FOLDER_VARIABLE, ""))
    with moving(path):
        gone = [*files_of(path, f"*_{pid}"), *files_of(path, f"*_{pid}-*")]
        for kind in {file.name.split("_")[0] for file in gone}:
            mine = [file for file in gone if file.name.startswith(f"{kind}_")]
            if kind != "gauge":
                _bury(path / f"{kind}_{_DEAD}.db", mine)
            for file in mine:
                if kind != "gauge" or file.name.startswith("gauge_live"):
                    file.unlink(missing_ok=True)


def collect(folder: str | os.PathLike[str]) -> list[Metric]:
    """Return the metrics of all processes, added up, by name."""
    with reading(Path(folder)):
        # prometheus_client makes a file before it has a size; its own collect() fails on such a one.
        files = [str(file) for file in Path(folder).glob("*.db") if file.stat().st_size]
        return sorted(MultiProcessCollector.merge(files, accumulate=True), key=lambda metric: metric.name)


def from_memory(samples: Iterable[Sample]) -> list[Metric]:
    """Return the metrics of one process that has no folder, by name; buckets are cumulated, as Prometheus has them."""
    metrics: dict[str, Metric] = {}
    below: dict[tuple[str, ...], float] = {}
    for family, ending, values, value in samples:
        metric = metrics.setdefault(family.base, Metric(family.base, family.text, family.kind))
        if ending == "_bucket":
            series = (family.name, *values[:-1])
            value = below[series] = below.get(series, 0.0) + value
        metric.add_sample(family.name + ending, dict(zip(_labels(family, ending), values, strict=True)), value)
        if values[-1:] == ("+Inf",):
            metric.add_sample(f"{family.name}_count", dict(zip(family.labels, values[:-1], strict=True)), value)
    return [metrics[name] for name in sorted(metrics)]


def text(metrics: Sequence[Metric], accept: str) -> tuple[bytes, str]:
    """Return metrics as text and its content type: OpenMetrics where ``accept`` asks for it, else Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Collected(metrics))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class MetricFiles:
    """The files of this process.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._files: dict[str, MmapedDict] = {}
        self._keys: dict[tuple[str, str, tuple[str, ...]], str] = {}
        self._written: dict[str, float] = {}

    def write(self, samples: Iterable[Sample]) -> None:
        """Write the values that are not there yet."""
        written = self._written
        fresh: dict[str, dict[str, float]] = {}
        for family, ending, values, value in samples:
            key = self._key(family, ending, values)
            if written.get(key) != value:
                written[key] = value
                fresh.setdefault("_".join(filter(None, (family.kind, family.over_processes))), {})[key] = value
        for kind, changes in fresh.items():
            file = self._files.get(kind)
            if file is None:
                self._files[kind] = _new_file(self._folder / f"{kind}_{self._owner}.db", changes)
                continue
            for key, value in changes.items():
                file.write_value(key, value, 0.0)

    def close(self) -> None:
        """Close the files, which stay for whoever adds up."""
        for file in self._files.values():
            file.close()

    def _key(self, family: Family, ending: str, values: tuple[str, ...]) -> str:
        found = self._keys.get((family.name, ending, values))
        if found is None:
            labels = list(_labels(family, ending))
            found = mmap_key(family.base, family.name + ending, labels, list(values), family.text)
            self._keys[family.name, ending, values] = found
        return found


class _Collected:
    """Metrics that are there already, as a registry wants to have them."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        return self._metrics

    def describe(self) -> Sequence[Metric]:
        return ()


def _labels(family: Family, ending: str) -> tuple[str, ...]:
    return (*family.labels, "le") if ending == "_bucket" else family.labels


def _bury(grave: Path, files: list[Path]) -> None:
    """Add what is in some files to the file of the dead."""
    sound = [file for file in files if file.suffix == ".db" and _is_sound(file)]
    if not sound:
        return
    values: dict[str, float] = {}
    for metric in MultiProcessCollector.merge(
        [str(file) for file in (grave, *sound) if file.exists()], accumulate=False
    ):
        for sample in metric.samples:
            names, labels = list(sample.labels), list(sample.labels.values())
            values[mmap_key(metric.name, sample.name, names, labels, metric.documentation)] = sample.value
    _new_file(grave, values).close()


def _is_sound(file: Path) -> bool:
    try:
        MultiProcessCollector.merge([str(file)], accumulate=False)
    except _DAMAGED as error:
        _log.error("the metrics in %s are unreadable (%s) and are left out", file.name, type(error).__name__)
        return False
    return True


def _new_file(path: Path, values: dict[str, float]) -> Any:
    """Write a file beside its place and then put it there; it stays open for more."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    file = MmapedDict(str(part))
    for key, value in values.items():
        file.write_value(key, value, 0.0)
    part.rename(path)
    return file
