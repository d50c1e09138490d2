"""What the simulated customers cost to write, and how far usual models stay below the best reachable result.

    python scripts/bench_simulator.py [rows=1000000,10000000] [customers=10000,50000] [seeds=3]

Files are written in processes of their own, so that each peak of memory is its own. The models see what any table
gives: 70 % training rows, 15 % test rows; the limit is the ROC AUC of the true probabilities on the same test rows.
Ends with 1 if the largest of ``customers`` misses a bar: limit from 0.80 to 0.90, logistic regression 0.02 below it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of

DEFAULTS = {"rows": "1000000", "customers": "10000,50000", "seeds": "3"}


def main(words: list[str]) -> int:
    """Measure both and print them."""
    options = options_of(words, DEFAULTS, __doc__)
    # First of all: a process starts with its parent's peak of memory, which is small until polars is loaded.
    for rows in map(int, options["rows"].split(",")):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            seconds, mebibytes, size = process.submit(write, rows).result()
        print(f"{rows:>12,} customers: {seconds:.1f} s, peak memory {mebibytes:,.0f} MiB, file {size:,.0f} MiB")
    for n in map(int, options["customers"].split(",")):
        runs = [quality(n, seed) for seed in range(int(options["seeds"]))]
        means = {name: fmean(run[name] for run in runs) for name in runs[0]}
        print(f"{n:>12,} customers: " + ", ".join(f"{name} {value:.4f}" for name, value in means.items()))
    return int(not (0.80 <= means["limit"] <= 0.90 and means["logistic below"] >= 0.02))


def write(n_customers: int) -> tuple[float, float, float]:
    """Write a file and return seconds, peak MiB of this process, and MiB of the file."""
    from churnlib.console import peak_memory
    from churnlib.data.simulator import simulate_to_parquet

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "customers.parquet"
        start = time.perf_counter()
        simulate_to_parquet(file, n_customers)
        seconds = time.perf_counter() - start
        return seconds, (peak_memory() or 0) / 2**20, file.stat().st_size / 2**20


def quality(n_customers: int, seed: int) -> dict[str, float]:
    """Return the churn rate, the limit on the test rows, and how far the models' ROC AUC stays below it."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    numbers, one_hot, churn, truth = inputs(n_customers, seed)
    row = np.random.default_rng(seed).permutation(len(churn))
    train, test = row[: int(0.70 * len(row))], row[int(0.85 * len(row)) :]
    x = np.hstack([numbers, one_hot])
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    linear = np.hstack([scaled.fit(numbers[train]).transform(numbers), one_hot])
    limit = float(roc_auc_score(churn[test], truth[test]))
    found = {"churn rate": float(churn.mean()), "limit": limit}
    trees = HistGradientBoostingClassifier(learning_rate=0.06, max_leaf_nodes=15, max_iter=150, random_state=0)
    for name, model, seen in (("logistic", LogisticRegression(max_iter=1_000), linear), ("boosted trees", trees, x)):
        scores = model.fit(seen[train], churn[train]).predict_proba(seen[test])[:, 1]
        found[f"{name} below"] = limit - float(roc_auc_score(churn[test], scores))
    return found


def inputs(n_customers: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return numeric columns (NaN where missing), one-hot columns, labels and true probabilities, customers once."""
    import polars as pl
    import polars.selectors as cs

    from churnlib.data.simulator import simulate

    drawn = simulate(n_customers, seed=seed)
    table = drawn.table.with_columns(truth=drawn.churn_probability)
    table = table.unique("customer_id", keep="first", maintain_order=True)
    days = (pl.col("snapshot_date") - pl.col("last_interaction_date")).dt.total_days()
    columns = table.with_columns(days=days).drop("customer_id", "churn", "truth", cs.date())
    return (
        columns.select(cs.numeric().cast(pl.Float64)).to_numpy(),
        columns.select(cs.string()).to_dummies().cast(pl.Float64).to_numpy(),
        (table["churn"] == "yes").to_numpy(),
        table["truth"].to_numpy(),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
