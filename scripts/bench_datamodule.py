"""How fast rows reach the training step: ChurnDataModule beside the usual TensorDataset with a DataLoader.

    python scripts/bench_datamodule.py [rows=100000] [batch_size=256] [rounds=5]

Both hand out the same columns in random order; rounds alternate, medians are printed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of


def main(words: list[str]) -> int:
    """Time both and print rows per second and their ratio."""
    told = options_of(words, {"rows": "100000", "batch_size": "256", "rounds": "5"}, __doc__)
    options = {name: int(value) for name, value in told.items()}
    from churnlib.data.batches import IndexBatches

    n, batch_size = options["rows"], options["batch_size"]
    tensors = (torch.randn(n, 10), torch.randint(0, 9, (n, 12)), torch.randint(0, 2, (n,)))
    ours = IndexBatches(tensors, batch_size=batch_size, shuffle=True)
    usual = DataLoader(TensorDataset(*tensors), batch_size=batch_size, shuffle=True)
    seconds: dict[str, list[float]] = {"churnlib": [], "TensorDataset + DataLoader": []}
    for _ in range(options["rounds"]):
        for name, batches in zip(seconds, (ours, usual), strict=True):
            seconds[name].append(epoch(batches, n))
    rates = {name: n / statistics.median(times) for name, times in seconds.items()}
    for name, rate in rates.items():
        print(f"{name:28s} {rate:14,.0f} rows/s")
    ratio = rates["churnlib"] / rates["TensorDataset + DataLoader"]
    print(f"ratio {ratio:.0f} (bar: 50)")
    return int(ratio < 50)


def epoch(batches: Iterable[tuple[torch.Tensor, ...]], n: int) -> float:
    """Return the seconds of one epoch that hands out every row."""
    start = time.perf_counter()
    seen = sum(len(label) for *_, label in batches)
    if seen != n:
        raise RuntimeError(f"expected {n} rows, got {seen}")
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
