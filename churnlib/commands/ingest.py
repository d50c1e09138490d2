"""``ingest``: a table into a folder of Parquet files with a manifest, whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from churnlib.commands.application import exit_status, refuse_sweep, run_hydra
from churnlib.compose import from_hydra
from churnlib.console import row_bar
from churnlib.errors import DataError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from churnlib.config import IngestConfig
    from churnlib.data.ingested.ingest import Ingested


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: run_hydra("ingest", _run, refuse_sweep("ingest", words)))


def _run(composed: DictConfig) -> None:
    from rich.console import Console

    config = from_hydra(composed)
    console = Console()
    if config.verify:
        _verify(console, config)
    else:
        for line in lines(_ingest(config, console), config):
            _print(console, line)


def _verify(console: Console, config: IngestConfig) -> None:
    from churnlib.data.ingested.ingest import verify

    manifest, problems = verify(config.output or "")
    for problem in problems:
        _print(console, problem)
    if problems:
        raise DataError(f"{len(problems)} of {len(manifest.parts)} files of {config.output} differ; see above")
    _print(console, f"{config.output}: {_files(len(manifest.parts))}, {manifest.rows:,} rows, as the manifest says")


def _ingest(config: IngestConfig, console: Console) -> Ingested:
    from churnlib.data.ingested.ingest import ingest
    from churnlib.training.tables import configured_pseudonyms, describe_source, reading_table, scan_configured

    data = config.data
    pseudonyms = configured_pseudonyms(data)
    given = data.columns[data.time].format if data.time in data.columns else None
    with row_bar("rows", console) as advance, reading_table(data) as room:
        return ingest(
            scan_configured(data, seed=config.seed, say=lambda line: _print(console, line), folder=room),
            config.output or "",
            described=describe_source(data, seed=config.seed),
            roles={"id": data.id, "time": data.time, "target": data.target},
            formats=None if given is None else (given,),
            pseudonyms=None if pseudonyms is None else pseudonyms.note(),
            accept_columns=config.accept_columns,
            rows_per_file=config.rows_per_file,
            progress=advance,
        )


def lines(done: Ingested, config: IngestConfig) -> list[str]:
    """Return what became of each snapshot, in words."""
    manifest, folder = done.manifest, config.output
    snapshots, data = manifest.snapshots(), config.data
    dated = "" if data.time is None else f"{len(snapshots)} snapshot{'s' if len(snapshots) > 1 else ''}, "
    whole = f"{folder}: {dated}{manifest.rows:,} rows in {_files(len(manifest.parts))}"
    kept = [f"{_named(one)}: kept; the source does not have it any longer" for one in done.kept]
    if not done.changed:
        return [*kept, f"{whole}; already ingested, nothing has changed"]
    said = [f"{_named(one)}: {snapshots[one]:,} rows added" for one in done.added]
    said += [f"{_named(one)}: replaced, its rows have changed; {snapshots[one]:,} rows now" for one in done.replaced]
    if done.unchanged:
        said.append(f"{len(done.unchanged)} snapshots unchanged")
    roles = "".join(f" data.{role}={name}" for role, name in manifest.roles.items())
    return [*said, *kept, whole, f"Train on it  churnlib train data=table data.path={folder}{roles}"]


def _named(snapshot: str | None) -> str:
    return "the table" if snapshot is None else "rows without a date" if snapshot == "none" else snapshot


def _files(n: int) -> str:
    return "1 file" if n == 1 else f"{n:,} files"


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
