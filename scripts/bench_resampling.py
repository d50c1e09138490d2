"""Does resampling help? Every method against none, on the same splits and models, calibrated alike.

    python scripts/bench_resampling.py data=telco,mlc model=logistic,hist_gradient_boosting splits=5

Each row is the mean over the splits; "against none" is the mean of the paired differences and its standard error.
Temperature and threshold come from validation rows, the figures from test rows, both at the true share of churners.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from rich.console import Console
from rich.table import Table

from churnlib.compose import compose
from churnlib.data.customers import Customers
from churnlib.models.baselines.recipes import recipe_of
from churnlib.training.packing import calibrated
from churnlib.training.results import side_metrics
from churnlib.training.run_folder import write_json
from churnlib.training.train import fit_model, read_customers
from scripts.words import options_of

METHODS = {
    "none": [],
    "class weights": ["loss.pos_weight=balanced"],
    "weighted": ["resample=weighted"],
    "random under": ["resample=random_under"],
    "random over": ["resample=random_over"],
    "SMOTE": ["resample=smote"],
    "SMOTENC": ["resample=smotenc"],
    "ADASYN": ["resample=adasyn"],
    "NearMiss": ["resample=nearmiss"],
}
FIGURES = ("roc_auc", "log_loss", "f1", "ece")
N_BINS = 10


def main(words: Sequence[str]) -> None:
    """Run every method on every split of every table."""
    defaults = {"data": "telco,mlc", "model": "logistic,hist_gradient_boosting", "splits": "5", "output": ""}
    options = options_of(words, defaults, __doc__)
    console, results = Console(width=132), []
    for name in options["data"].split(","):
        tables = [read_customers(compose([f"data={name}", f"seed={seed}"])) for seed in range(int(options["splits"]))]
        for model in options["model"].split(","):
            start = time.perf_counter()
            found = {method: figures(name, model, method, tables) for method in METHODS if _suits(model, method)}
            console.print(table_of(name, model, found))
            console.print(f"{len(tables)} splits, {time.perf_counter() - start:.0f} s")
            results.append({"data": name, "model": model, "figures": {m: f.tolist() for m, f in found.items()}})
    if options["output"]:
        write_json(Path(options["output"]), results)


def _suits(model: str, method: str) -> bool:
    return method != "weighted" or recipe_of(compose([f"model={model}"]).model) is None


def figures(data: str, model: str, method: str, tables: Sequence[Customers]) -> np.ndarray:
    """Return the figures of each split's test rows, ``(n_splits, len(FIGURES))``."""
    words = [f"data={data}", f"model={model}", "callbacks=memory", "logger=none", "trainer.progress=false"]
    config = compose([*words, *METHODS[method]])
    rows = []
    for seed, customers in enumerate(tables):
        own = replace(config, seed=seed)
        with TemporaryDirectory() as folder:
            predictor = calibrated(own, fit_model(own, customers, Path(folder)))
        metrics: dict[str, Any] = side_metrics(customers, "test", predictor) or {}
        rows_of_test = customers.rows("test")
        probability = predictor.probabilities(customers.frame[rows_of_test])
        metrics["ece"] = calibration_error(customers.label[rows_of_test], probability)
        rows.append([metrics[name] for name in FIGURES])
    return np.array(rows)


def calibration_error(label: np.ndarray, probability: np.ndarray) -> float:
    """Return the expected calibration error over bins of equally many rows."""
    parts = np.array_split(np.argsort(probability, kind="stable"), N_BINS)
    return float(sum(abs(label[part].mean() - probability[part].mean()) * len(part) for part in parts) / len(label))


def table_of(data: str, model: str, found: dict[str, np.ndarray]) -> Table:
    """Return the means, with what each method adds to none."""
    table = Table(title=f"{data}, model={model}")
    table.add_column("resampling")
    for name in FIGURES:
        table.add_column(name, justify="right")
        table.add_column("against none", justify="right")
    for method, values in found.items():
        cells = []
        for place in range(len(FIGURES)):
            difference = values[:, place] - found["none"][:, place]
            error = difference.std(ddof=1) / math.sqrt(len(difference)) if len(difference) > 1 else math.nan
            against = "" if method == "none" else f"{difference.mean():+.4f} ± {error:.4f}"
            cells += [f"{values[:, place].mean():.4f}", against]
        table.add_row(method, *cells)
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
