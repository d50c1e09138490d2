"""What an answer costs with torch and with ONNX Runtime: ``python scripts/bench_onnx.py BUNDLE [BUNDLE ...]``.

Encoded rows to logits, one thread each, medians of interleaved rounds; rows are drawn from the bundle's golden ones.
Train the bundles first, such as with ``python train.py data=telco model=mlp_plain output_dir=runs/mlp_plain``.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

import numpy as np
import torch

from churnlib.bundle import read_bundle
from churnlib.exporting.onnx import golden_rows

BATCHES = (1, 64, 1_000, 65_536)
CHUNK = 8_192
"""Rows that a predictor gives to a model at a time."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'model':<16}{'rows':>8}{'torch':>14}{'onnx':>14}{'ratio':>8}{'rows/s torch':>14}{'rows/s onnx':>14}")
    for path in arguments.bundles:
        bundles = {name: read_bundle(path, backend=name) for name in ("torch", "onnx")}
        rows = golden_rows(bundles["torch"])
        for n in BATCHES:
            places = np.random.default_rng(0).integers(0, len(rows), n)
            given = rows.numeric[places], rows.codes[places]
            spent: dict[str, list[float]] = {name: [] for name in bundles}
            for _ in range(arguments.rounds):
                for name, bundle in bundles.items():
                    spent[name].append(seconds(bundle.model, given, arguments.seconds))
            own, other = (statistics.median(spent[name]) for name in bundles)
            print(
                f"{bundles['torch'].name:<16}{n:>8,}{1e6 * own:>11,.0f} us{1e6 * other:>11,.0f} us{own / other:>8.2f}"
                f"{n / own:>14,.0f}{n / other:>14,.0f}"
            )
        onnx = bundles["onnx"].onnx or b""
        print(f"{'':<16}model.onnx {len(onnx):,} bytes")


def seconds(model, given, least: float) -> float:  # noqa: ANN001
    """Return the seconds of one call, from as many as fill the time; the first does not count."""
    numeric, codes = given
    parts = [(numeric[start : start + CHUNK], codes[start : start + CHUNK]) for start in range(0, len(numeric), CHUNK)]
    for part in parts:
        model.logits(*part)
    calls, start = 0, time.perf_counter()
    while not calls or time.perf_counter() - start < least:
        for part in parts:
            model.logits(*part)
        calls += 1
    return (time.perf_counter() - start) / calls


if __name__ == "__main__":
    main()
