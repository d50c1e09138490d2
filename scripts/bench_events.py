"""Windows x aggregations over simulated usage events: rows/s, peak memory, and a comparison with plain Python.

    python scripts/bench_events.py [events=1000000,10000000,100000000] [sample=200] [folder=DIR]

Every step runs in a process of its own, so that each peak of memory is its own. The events are daily usage records of
90 days, written day by day within blocks of 10,000 customers; 46 columns are made of them. ``sample`` customers are
recomputed by ``plain_events.py``. The files (a gigabyte for 100 million events) go into ``folder``, where a second run
finds them, or into one that is deleted; pieces of the events go to the same place while they are needed. Ends with 1 if
a sampled value differs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of

DEFAULTS = {"events": "1000000,10000000,100000000", "sample": "200", "folder": ""}
RECORDS_PER_CUSTOMER = 87.7
"""On average: some have been customers for less than 90 days."""

GRID: dict[str, Any] = {
    "id": "customer_id",
    "time": "time",
    "windows": [7, 30, 90],
    "aggregations": ["count", "recency", "sum", "mean", "max", "min", "std", "slope", "change"],
    "columns": ["data_gb", "call_minutes"],
}


def main(words: list[str]) -> int:
    """Measure each size and print it."""
    options = options_of(words, DEFAULTS, __doc__)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="bench-events-", dir=options["folder"] or None) as scratch:
        os.environ["TMPDIR"] = scratch
        folder = options["folder"] or scratch
        for n in map(int, options["events"].split(",")):
            wrong += measure(n, Path(folder), int(options["sample"]))
    return int(wrong > 0)


def measure(n_events: int, folder: Path, sample: int) -> int:
    """Make the events unless they are there, run the grid, compare a sample; return the number of wrong values."""
    n = round(n_events / RECORDS_PER_CUSTOMER)
    customers, usage, made = (folder / f"{name}_{n}.parquet" for name in ("customers", "usage", "made"))
    if not usage.is_file():
        seconds, peak = alone(write, n, customers, usage)
        print(f"{n_events:>12,} events: written in {seconds:.1f} s, peak memory {peak:,.0f} MiB, "
              f"file {usage.stat().st_size / 2**20:,.0f} MiB", flush=True)  # fmt: skip
    rows, width, seconds, peak = alone(run, customers, usage, made)
    rate = f"{seconds:.1f} s, {rows / seconds:,.0f} events/s"
    print(f"{rows:>12,} events -> {width} columns of {n:,} customers in {rate}, peak memory {peak:,.0f} MiB",
          flush=True)  # fmt: skip
    values, wrong = alone(compare, usage, made, sample)
    print(f"{values:>12,} values of {sample} customers compared with plain Python: {wrong} differ", flush=True)
    made.unlink()
    return wrong


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def write(n_customers: int, customers: Path, usage: Path) -> tuple[float, float]:
    """Write customers and events; return seconds and peak MiB."""
    from churnlib.console import peak_memory
    from churnlib.data.simulator import simulate_events_to_parquet, simulate_to_parquet

    start = time.perf_counter()
    simulate_to_parquet(customers, n_customers, event_days=90, duplicate_share=0.0)
    simulate_events_to_parquet(usage, n_customers, event_days=90)
    return time.perf_counter() - start, (peak_memory() or 0) / 2**20


def run(customers: Path, usage: Path, made: Path) -> tuple[int, int, float, float]:
    """Make the columns; return events, columns, seconds and peak MiB."""
    import polars as pl

    from churnlib.console import peak_memory
    from churnlib.data.events import gather_events, read_definition

    frame = pl.read_parquet(customers, columns=["customer_id", "snapshot_date"])
    definition = read_definition("usage", GRID)
    start = time.perf_counter()
    gathered = gather_events(frame, [definition], {"usage": str(usage)}, id="customer_id", time="snapshot_date")
    seconds, peak = time.perf_counter() - start, (peak_memory() or 0) / 2**20
    gathered.frame.write_parquet(made)
    return gathered.counts["usage"].rows, len(definition.names), seconds, peak


def compare(usage: Path, made: Path, sample: int) -> tuple[int, int]:
    """Recompute some customers; return the number of values, and of those that differ by more than rounding."""
    import polars as pl
    from plain_events import differs, recompute

    from churnlib.data.events import read_definition

    features = read_definition("usage", GRID).to_dict()["features"]
    rows = pl.read_parquet(made).sample(sample, seed=1)
    events = pl.scan_parquet(usage).filter(pl.col("customer_id").is_in(rows["customer_id"].to_list())).collect()
    by_customer = {name: list(part.iter_rows(named=True)) for (name,), part in events.group_by("customer_id")}
    wrong = 0
    for row in rows.with_columns(pl.col("snapshot_date").cast(pl.Datetime("us"))).iter_rows(named=True):
        plain = recompute(by_customer.get(row["customer_id"], []), row["snapshot_date"], features)
        wrong += sum(differs(row[f["name"]], value) for f, value in zip(features, plain, strict=True))
    return len(rows) * len(features), wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
