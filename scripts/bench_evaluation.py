"""How long evaluation takes: the figures, their intervals, and EMPC and lift beside empulse in the same run.

    python scripts/bench_evaluation.py                 everything, about two minutes
    python scripts/bench_evaluation.py --rows 10000000 another size of the last part

Seconds of processor time of one thread; the smallest of three where a part takes less than a few seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from empulse.metrics import empc_score, lift_score, mpc_score

from churnlib.evaluation import empc, evaluate, lift, mpc, reliability_curve
from churnlib.evaluation.binary import LAYERS


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, probabilities and values of made-up customers, of whom a quarter leaves."""
    rng = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(1.6 - 1.5 * rng.normal(size=n)))
    return (rng.random(n) < probability).astype(np.int64), probability, rng.lognormal(5, 1, n)


def seconds(work: Callable[[], Any], *, times: int = 3) -> tuple[float, Any]:
    """Return the shortest processor time of a few runs, and the result."""
    best, result = float("inf"), None
    for _ in range(times):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return best, result


def main() -> None:
    """Run all parts and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the largest part")
    options = parser.parse_args()

    label, score, value = drawn(1_000_000)
    pairs: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        ("EMPC", lambda: empc(label, score).profit, lambda: empc_score(label, score)),
        ("MPC", lambda: mpc(label, score).profit, lambda: mpc_score(label, score)),
        ("lift", lambda: lift(label, score), lambda: lift_score(label, score)),
    ]
    for name, ours, theirs in pairs:
        (own, found), (other, expected) = seconds(ours), seconds(theirs)
        print(f"{name} of 1,000,000: churnlib {own:.3f} s, empulse {other:.3f} s, difference {found - expected:.1e}")

    label, score, value = drawn(100_000)
    for what, worth in (("one value for all", None), ("each customer's own value", value)):
        found, metrics = seconds(
            lambda worth=worth: evaluate(label, score, threshold=0.3, layers=LAYERS, value=worth, replicates=1000),
            times=1,
        )
        print(f"{len(metrics['intervals'])} intervals, 1,000 replicates of 100,000 rows, {what}: {found:.1f} s")
    customers = np.arange(100_000) // 4
    found, _ = seconds(
        lambda: evaluate(label, score, threshold=0.3, layers=LAYERS, customers=customers, replicates=1000), times=1
    )
    print(f"the same of 25,000 customers with four rows each: {found:.1f} s")
    found, _ = seconds(lambda: reliability_curve(label, score), times=1)
    print(f"reliability curve of 100,000 rows, band of 500 draws: {found:.1f} s")

    label, score, value = drawn(options.rows)
    for layers in ((), LAYERS):
        found, _ = seconds(lambda layers=layers: evaluate(label, score, threshold=0.3, layers=layers), times=1)
        print(f"evaluate {options.rows:,} rows, layers {', '.join(layers) or 'none'}: {found:.1f} s")


if __name__ == "__main__":
    main()
