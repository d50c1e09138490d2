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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

DEFAULTS = {"rows": "1000000", "customers": "10000,50000", "seeds": "3"}


def main(words: list[str]) -> int:
    """Measure both and print them."""
    options = DEFAULTS | {key: value for key, _, value in (word.partition("=") for word in words)}
    if unknown := options.keys() - DEFAULTS.keys():
        print(f"Error: unknown word {sorted(unknown)[0]!r}; expected one of {', '.join(DEFAULTS)}", file=sys.stderr)
        return 1
    # First of all: a process starts with its parent's peak of memory, which is small until polars is loaded.
    for rows in map(int, options["rows"].split(",")):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            seconds, mebibytes, size = process.submit(write, rows).result()
        rate = f"{rows / seconds:,.0f}/s"
        print(f"{rows:>12,} customers: {seconds:6.1f} s ({rate}), peak memory {mebibytes:,.0f} MiB, file {size:,.0f} MiB")
    for n in map(int, options["customers"].split(",")):
        runs = [quality(n, seed) for seed in range(int(options["seeds"]))]
        means = {name: fmean(run[name] for run in runs) for name in runs[0]}
        print(f"{n:>12,} customers: " + ", ".join(f"{name} {value:.4f}" for name, value in means.items()))
    return int(not (0.80 <= means["limit"] <= 0.90 and means["logistic below"] >= 0.02))


def write(n_customers: int) -> tuple[float, float, float]:
    """Write a file and return seconds, peak MiB of this process, and MiB of the file."""
    from churnlib.data.simulator import simulate_to_parquet
    from churnlib.data.simulator_command import peak_memory

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "customers.parquet"
        start = time.perf_counter()
        simulate_to_parquet(file, n_customers)
        seconds = time.perf_counter() - start
        return seconds, (peak_memory() or 0) / 2**20, file.stat().st_size / 2**20


def quality(n_customers: int, seed: int) -> dict[str, float]:
    """Return the churn rate, the limit on the test rows, and how far the models' ROC AUC stays below it."""
    import numpy as np
    import polars as pl
    import polars.selectors as cs
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    from churnlib.data.simulator import simulate

    drawn = simulate(n_customers, seed=seed)
    table = drawn.table.with_columns(truth=drawn.churn_probability).unique("customer_id", maintain_order=True)
    churn, truth = (table["churn"] == "yes").to_numpy(), table["truth"].to_numpy()
    days = (pl.col("snapshot_date") - pl.col("last_interaction_date")).dt.total_days()
    table = table.with_columns(days=days).drop("customer_id", "churn", "truth", cs.date())
    numbers = table.select(cs.numeric()).columns
    texts = [name for name in table.columns if name not in numbers]
    frame = np.column_stack([table[name].cast(pl.Float64).to_numpy() for name in numbers])
    codes = np.column_stack([table[name].fill_null("missing").to_numpy() for name in texts])
    inputs = np.column_stack([frame.astype(object), codes])
    number_columns, text_columns = list(range(len(numbers))), list(range(len(numbers), inputs.shape[1]))

    row = np.random.default_rng(seed).permutation(len(churn))
    train, test = row[: int(0.70 * len(row))], row[int(0.85 * len(row)) :]
    standardised = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore")
    logistic = make_pipeline(
        make_column_transformer((standardised, number_columns), (one_hot, text_columns)),
        LogisticRegression(max_iter=1_000),
    )
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    trees = make_pipeline(
        make_column_transformer((ordinal, text_columns), remainder="passthrough"),
        HistGradientBoostingClassifier(
            learning_rate=0.06, max_leaf_nodes=15, max_iter=400, early_stopping=True, random_state=0,
            categorical_features=list(range(len(texts))),
        ),
    )  # fmt: skip
    limit = float(roc_auc_score(churn[test], truth[test]))
    found = {"churn rate": float(churn.mean()), "limit": limit}
    for name, estimator in (("logistic", logistic), ("boosted trees", trees)):
        scored = estimator.fit(inputs[train], churn[train]).predict_proba(inputs[test])[:, 1]
        found[f"{name} below"] = limit - float(roc_auc_score(churn[test], scored))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
