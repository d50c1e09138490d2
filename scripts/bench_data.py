"""What looking at a customer table costs: its profile, its leak checks, and pseudonyms for its customers.

    python scripts/bench_data.py [parts=profile,leaks,pseudonyms] [rows=1000000] [checked=100000]

``rows`` simulated customers are described and renamed, ``checked`` are looked through for leaks. Processor seconds, so
that other work on the machine counts little; each part in a process of its own, and peak memory is that of the process
with the table it has drawn. Reading and cleaning are told apart from what comes after them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of

DEFAULTS = {"parts": "profile,leaks,pseudonyms", "rows": "1000000", "checked": "100000"}
TABLE: dict[str, Any] = {"target": "churn", "id": "customer_id", "time": "snapshot_date", "drop": ["churn_date"]}


def main(words: list[str]) -> int:
    """Measure what the words ask for."""
    options = options_of(words, DEFAULTS, __doc__)
    for part in options["parts"].split(","):
        rows = int(options["checked" if part == "leaks" else "rows"])
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            seconds, peak = process.submit(PARTS[part], rows).result()
        told = ", ".join(f"{what} {took:.1f} s" for what, took in seconds.items())
        print(f"{part}, {rows:,} rows: {told}; peak memory {peak / 2**20:,.0f} MiB", flush=True)
    return 0


class Clock:
    """Processor seconds of one thing after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def take(self, what: str, work: Callable[[], Any]) -> Any:
        """Do it, and note how long it took."""
        start = time.process_time()
        done = work()
        self.seconds[what] = time.process_time() - start
        return done

    def result(self) -> tuple[dict[str, float], int]:
        """Return the seconds, and the peak of the memory in bytes."""
        from churnlib.console import peak_memory

        return self.seconds, peak_memory() or 0


def profile(rows: int) -> tuple[dict[str, float], int]:
    """Describe a table, and write the page."""
    from churnlib import simulate
    from churnlib.profiling.page import render
    from churnlib.profiling.profile import profile_rows
    from churnlib.profiling.rows import read_rows

    frame, clock = simulate(rows, n_snapshots=6).table, Clock()
    read = clock.take("read and clean", lambda: read_rows(frame, **TABLE))
    described = clock.take("describe", lambda: profile_rows(read))
    clock.take("draw the page", lambda: render(described))
    return clock.result()


def leaks(rows: int) -> tuple[dict[str, float], int]:
    """Look for leaks."""
    from churnlib import simulate
    from churnlib.data.customers import prepare_customers
    from churnlib.data.leaks import check_leaks

    frame, clock = simulate(rows, n_snapshots=6).table, Clock()
    customers = clock.take("prepare", lambda: prepare_customers(frame, **TABLE))
    clock.take("check", lambda: check_leaks(customers))
    return clock.result()


def pseudonyms(rows: int) -> tuple[dict[str, float], int]:
    """Give each customer a pseudonym."""
    import polars as pl

    from churnlib.data.pseudonyms import Pseudonyms

    names, clock = pl.select("C" + pl.int_range(rows).cast(pl.String).str.zfill(9)).to_series(), Clock()
    clock.take("rename", lambda: Pseudonyms("bench", _key=bytes(32)).column(names))
    return clock.result()


PARTS: dict[str, Callable[[int], tuple[dict[str, float], int]]] = {
    "profile": profile, "leaks": leaks, "pseudonyms": pseudonyms,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
