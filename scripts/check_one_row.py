"""That customers read one at a time are those that polars reads: random rows both ways, and what each way costs.

    python scripts/check_one_row.py rows=100000     (about 15 minutes)

Half of the cells are drawn from a table, half from a list of odd ones. A difference stops the script. The times are
medians of one row, as a dict of text cells, from the fitted default preparation of the table.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from churnlib.data.one_row import OneRowReader
from tests.test_one_row import by_table, compare, prepared, random_row


def main(words: list[str]) -> int:
    """Compare as many rows as asked for."""
    options = dict(word.split("=", 1) for word in words)
    n = int(options.get("rows", 100_000))
    rng = np.random.default_rng(int(options.get("seed", 0)))
    for with_time in (False, True):
        customers = prepared(time=with_time)
        for _ in track(range(n // 2), description=f"{n // 2:,} rows, {'with' if with_time else 'without'} a time"):
            compare(random_row(customers, rng), customers)
    reader = OneRowReader(customers.schema, customers.preparation)
    row: dict[str, Any] = {name: str(cell) for name, cell in customers.frame.drop("usage").row(1, named=True).items()}
    row["usage"] = [1.0, 2.0, 3.0]
    alone = _median(lambda: reader.read(row))
    table = _median(lambda: by_table(row, customers.schema, customers.preparation))
    print(f"{n:,} rows are equal; one row takes {alone * 1e6:.0f} us, as a table {table * 1e6:.0f} us")
    return 0


def _median(call: object, times: int = 300) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        call()  # type: ignore[operator]
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
