"""What bringing a table into a folder costs: seconds and peak memory, by the size of the table.

    python scripts/bench_ingest.py sizes=1000000,5000000 folder=/tmp/bench

``first``: simulated customers of 12 snapshots from one Parquet file. ``again``: the same rows once more, of which none
is written. ``joined``: the same customers with the charges in a table of their own, newest at or before the snapshot
(three dates for each customer), joined and ingested. Each in a process of its own; seconds are those of the ingest.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of

DEFAULTS = {"sizes": "1000000,5000000", "folder": ""}
ROLES = {"id": "customer_id", "time": "snapshot_date"}


def main(words: list[str]) -> int:
    """Measure what the words ask for, or, called by itself, one of it."""
    if words[:1] == ["--alone"]:
        print(json.dumps(ALONE[words[1]](Path(words[2]), *words[3:])))
        return 0
    options = options_of(words, DEFAULTS, __doc__)
    table = Table("rows", "", "seconds", "rows/s", "peak memory, MiB")
    with ExitStack() as stack:
        folder = Path(options["folder"] or stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        for size in options["sizes"].split(","):
            file = folder / f"customers_{size}.parquet"
            if not file.exists():
                _alone("simulate", file, size)
            for what, output in (("first", "plain"), ("again", "plain"), ("joined", "joined")):
                if what != "again":
                    shutil.rmtree(folder / output, ignore_errors=True)
                done = _alone(what, file, folder / output)
                rate = f"{done['rows'] / done['seconds']:,.0f}"
                table.add_row(f"{done['rows']:,}", what, f"{done['seconds']:.1f}", rate, f"{done['mebibytes']:,.0f}")
    Console(width=100).print(table)
    return 0


def simulate(file: Path, size: str) -> dict[str, float]:
    """Write the customers, and their charges on three days each."""
    import polars as pl

    from churnlib.data.simulator import simulate_to_parquet

    simulate_to_parquet(file, int(size), n_snapshots=12, duplicate_share=0.0)
    rows = pl.scan_parquet(file)
    bills = rows.select(
        "customer_id", "monthly_charges", "total_charges", billed=pl.col("snapshot_date") - pl.duration(days=1)
    )
    days = [bills.with_columns(pl.col("billed").dt.offset_by(f"{shift}d")) for shift in (-30, 0, 30)]
    pl.concat(days).sink_parquet(_bills(file))
    return {}


def first(file: Path, output: str) -> dict[str, float]:
    """Ingest one file."""
    import polars as pl

    return _ingest(lambda: pl.scan_parquet(file), output)


def joined(file: Path, output: str) -> dict[str, float]:
    """Join the charges to the customers without theirs, and ingest the result."""
    from churnlib.config import SourceConfig
    from churnlib.data.joined import join_sources

    sources = {
        "crm": SourceConfig(path=str(file), drop=["monthly_charges", "total_charges"]),
        "billing": SourceConfig(path=str(_bills(file)), time="billed"),
    }
    return _ingest(lambda: join_sources(sources, base="crm", id=ROLES["id"], time=ROLES["time"]).table, output)


def _bills(file: Path) -> Path:
    return file.with_name(f"bills_{file.name}")


def _ingest(source: Any, output: str) -> dict[str, float]:
    from churnlib.data.ingested.ingest import ingest

    start = time.perf_counter()
    done = ingest(source(), output, described={}, roles=ROLES)
    return {"seconds": time.perf_counter() - start, "rows": done.manifest.rows, "mebibytes": _peak() / 2**20}


def _peak() -> int:
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


ALONE: dict[str, Any] = {"simulate": simulate, "first": first, "again": first, "joined": joined}


def _alone(what: str, *arguments: object) -> Any:
    """Run one in a process of its own and return what it printed."""
    words = [sys.executable, __file__, "--alone", what, *map(str, arguments)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
