"""How long it takes to plan, and how far plans lie below the best ones.

    python scripts/bench_plan.py                    everything, about two minutes
    python scripts/bench_plan.py --customers 100000 another number of customers

Processor seconds of one thread and the process's peak memory; made-up gains and costs, six offers each. The gap is
that to an exact solver (HiGHS, through scipy) on small cases, to the bound on large ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

import numpy as np
from scipy.optimize import LinearConstraint, milp

from churnlib.console import memory_words
from churnlib.planning.knapsack import allocate, unheard


def drawn(n: int, k: int, resources: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return gains, uses and limits of made-up offers, some of which cannot be made."""
    rng = np.random.default_rng(seed)
    gain = rng.gamma(1.5, 40.0, (n, k)) - 20.0
    gain[rng.random((n, k)) < 0.2] = -np.inf
    use = rng.gamma(2.0, 10.0, (resources, n, k))
    return gain, use, use.max(axis=2).sum(axis=1) * rng.uniform(0.05, 0.5, resources)


def exactly(gain: np.ndarray, use: np.ndarray, limits: np.ndarray) -> float:
    """Return the most that can be gained."""
    n, k = gain.shape
    worth = np.where(np.isfinite(gain), gain, -1.0).ravel()
    rows = np.concatenate([use.reshape(len(limits), -1), np.kron(np.eye(n), np.ones(k))])
    most = np.concatenate([limits, np.ones(n)])
    within = LinearConstraint(rows, ub=most)  # pyright: ignore[reportArgumentType]
    with unheard():
        found = milp(-worth, integrality=np.ones(n * k), bounds=(0, 1), constraints=within)
    return float(-found.fun)


def main() -> None:
    """Run both parts and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000, help="customers of the large cases")
    parser.add_argument("--cases", type=int, default=100, help="small cases of each kind")
    options = parser.parse_args()

    for resources in (1, 2):
        for settle in (False, True):
            gaps = []
            for seed in range(options.cases):
                gain, use, limits = drawn(10 + seed % 90, 6, resources, seed)
                best = exactly(gain, use, limits)
                gaps.append(1.0 - allocate(gain, use, limits, settle=settle).gain / best)
            how = "prices, filled up, doubtful customers settled" if settle else "prices, filled up"
            print(
                f"{resources} limit(s), {options.cases} cases of 10 to 99 customers, {how}: below the exact solver by "
                f"{np.mean(gaps):.4%} on average, {np.max(gaps):.4%} at most"
            )
    for resources in (1, 2):
        gain, use, limits = drawn(options.customers, 6, resources, 0)
        start, wall = time.process_time(), time.perf_counter()
        found = allocate(gain, use, limits)
        seconds, wall = time.process_time() - start, time.perf_counter() - wall
        print(
            f"{options.customers:,} customers x 6 offers, {resources} limit(s): {seconds:.1f} s of processor time "
            f"({wall:.1f} s), at most {found.gap:.1e} below the best plan{memory_words()}"
        )


if __name__ == "__main__":
    main()
