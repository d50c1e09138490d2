"""When do customers leave? Our hazard heads beside Kaplan and Meier's curve, Cox's model and a random survival forest.

    python scripts/bench_survival.py data=telco,simulated model=mlp,mlp_plain,tabnet,ft_transformer splits=3

Each row is the mean over the splits, in parentheses their standard deviation. Cox and the forest (scikit-survival, of
the extra dev) read one-hot columns and standardised numbers; they learn from the validation rows too, by which the
networks stop. Concordance is Harrell's, by the expected time within the scored span; the integrated Brier score (IBS)
is weighed by censoring among the same rows. "calibration" is the distance of predicted and observed shares at half of
the span. Simulated customers (scripts/made_lifetimes.py) have curves that are known and cross: "error" is the mean
distance of a curve from the true one, over test rows and months.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from churnlib.compose import compose
from churnlib.data.customers import Customers
from churnlib.evaluation.survival import KaplanMeier, brier_rows, calibration_at, integrated, last_time
from churnlib.evaluation.survival_ranking import concordance
from churnlib.predictor import Predictor
from churnlib.training.packing import calibrated
from churnlib.training.run_folder import write_json
from churnlib.training.train import fit_model, read_customers
from scripts.made_lifetimes import made_lifetimes, true_survival
from scripts.words import options_of

FIGURES = ("concordance", "ibs", "calibration", "error", "seconds")
GRID = 73
"""Times at which curves are read."""

Curves = Callable[[np.ndarray], np.ndarray]
"""From times to the survival of the test rows, ``(n, m)``."""


@dataclass(frozen=True)
class Rows:
    """What any model gets: inputs as numbers, durations and events, of training and validation, and of test rows."""

    customers: Customers
    train: np.ndarray
    test: np.ndarray

    def times(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return durations and events of some rows."""
        lifetimes = self.customers.lifetimes
        assert lifetimes is not None
        return lifetimes.duration[rows], lifetimes.event[rows]

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Return one-hot columns and standardised numbers of both."""
        typed = self.customers.typed.select(column.name for column in self.customers.schema.features)
        wide = typed.to_dummies(pl.selectors.string(), drop_first=True).cast(pl.Float64)
        values = wide.fill_null(strategy="mean").to_numpy()
        mean, spread = values[self.train].mean(axis=0), values[self.train].std(axis=0)
        values = (values - mean)[:, spread > 0] / spread[spread > 0]
        return values[self.train], values[self.test]


# --- models -----------------------------------------------------------------------------------------------------------


def kaplan_meier(rows: Rows) -> Curves:
    """One curve for all."""
    curve = KaplanMeier.fit(*rows.times(rows.train))
    return lambda times: np.tile(curve.at(times), (len(rows.test), 1))


def cox(rows: Rows) -> Curves:
    """Cox's proportional hazards, with a little ridge."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    return _fitted(CoxPHSurvivalAnalysis(alpha=1, ties="efron"), rows)


def forest(rows: Rows) -> Curves:
    """A random survival forest."""
    from sksurv.ensemble import RandomSurvivalForest

    options: dict[str, Any] = {"n_estimators": 200, "min_samples_leaf": 15, "max_features": "sqrt"}
    return _fitted(RandomSurvivalForest(random_state=0, n_jobs=1, **options), rows)


def _fitted(model: Any, rows: Rows) -> Curves:
    from sksurv.util import Surv

    duration, event = rows.times(rows.train)
    train, test = rows.numbers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-survival's own making
        model.fit(train, Surv.from_arrays(event, duration))
        functions = model.predict_survival_function(test)

    def curves(times: np.ndarray) -> np.ndarray:
        low, high = functions[0].domain
        inside = np.clip(times, low, high)
        found = np.stack([function(inside) for function in functions])
        return np.where(times < low, 1.0, found)

    return curves


def network(model: str, words: Sequence[str]) -> Callable[[Rows], Curves]:
    """One of our networks with the head, as the options have it."""

    def fitted(rows: Rows) -> Curves:
        config = compose([*words, f"model={model}", "logger=none", "trainer.progress=false", "callbacks=memory"])
        with TemporaryDirectory() as folder:
            predictor = calibrated(config, fit_model(config, rows.customers, Path(folder)))
        return lambda times: from_start(predictor, rows, times)

    return fitted


def from_start(predictor: Predictor, rows: Rows, times: np.ndarray) -> np.ndarray:
    """Return the curves of the test rows from time 0 on."""
    curve = predictor.bundle.hazards
    assert curve is not None
    return curve.survival(predictor.logits(rows.customers.typed[rows.test]), times)


OTHERS: dict[str, Callable[[Rows], Curves]] = {
    "Kaplan-Meier": kaplan_meier,
    "Cox": cox,
    "random survival forest": forest,
}


# --- figures ----------------------------------------------------------------------------------------------------------


def measure(fit: Callable[[Rows], Curves], rows: Rows, truth: Callable[..., np.ndarray] | None) -> dict[str, float]:
    """Fit a model and score its curves."""
    start = time.perf_counter()
    curves = fit(rows)
    seconds = time.perf_counter() - start
    reference, (duration, event) = rows.times(rows.train), rows.times(rows.test)
    censoring = KaplanMeier.of_censoring(*reference)
    until = last_time(*reference, censoring)
    times = np.linspace(0.0, until, GRID)
    survival = curves(times)
    lifetime = np.trapezoid(survival, times, axis=1)
    at_half = float(times[GRID // 2])
    found = {
        "concordance": concordance(duration, event, -lifetime).value,
        "ibs": float(integrated(brier_rows(survival, duration, event, times, censoring), times).mean()),
        "calibration": calibration_at(1 - survival[:, GRID // 2], duration, event, horizon=at_half)["error"],
        "seconds": seconds,
    }
    if truth is not None:
        found["error"] = float(np.abs(survival - truth(rows.customers.frame[rows.test], times)).mean())
    return found


def table_words(name: str, folder: Path, n: int) -> list[str]:
    """Return the options of a table; simulated customers are written into the folder."""
    if name == "telco":
        return ["experiment=telco_hazard", "leaks=off"]
    path = folder / "customers.parquet"
    made_lifetimes(n).write_parquet(path)
    words = ["data=table", f"data.path={path}", "data.target=left", "data.id=customer", "leaks=off"]
    return [*words, "data.drop=[joined,last_seen]", "task=hazard", "task.duration=months"]


def main(words: Sequence[str]) -> None:
    """Fit every model on every split of every table."""
    defaults = {"data": "telco,simulated", "model": "mlp,mlp_plain", "splits": "3", "rows": "6000", "output": ""}
    options = options_of(words, {**defaults, "task": ""}, __doc__)
    console, results = Console(width=120), []
    for name in options["data"].split(","):
        with TemporaryDirectory() as folder:
            said = [*table_words(name, Path(folder), int(options["rows"])), *options["task"].split()]
            truth = None if name == "telco" else true_survival
            models = {**OTHERS, **{model: network(model, said) for model in options["model"].split(",") if model}}
            found: dict[str, list[dict[str, float]]] = {model: [] for model in models}
            for seed in range(int(options["splits"])):
                customers = read_customers(compose([*said, f"seed={seed}"]))
                train = np.sort(np.concatenate([customers.rows("train"), customers.rows("validation")]))
                for model, fit in models.items():
                    # Networks stop by the validation rows, and are scored by the same reference as the others.
                    found[model].append(measure(fit, Rows(customers, train, customers.rows("test")), truth))
        console.print(table_of(name, found))
        results.append({"data": name, "splits": int(options["splits"]), "models": found})
    if options["output"]:
        write_json(Path(options["output"]), results)


def table_of(name: str, found: dict[str, list[dict[str, float]]]) -> Table:
    """Return the means over the splits."""
    table = Table(title=f"{name}: mean over splits (standard deviation)")
    table.add_column("model")
    for figure in FIGURES:
        table.add_column(figure, justify="right")
    for model, splits in found.items():
        cells = []
        for figure in FIGURES:
            values = [split[figure] for split in splits if figure in split]
            spread = f" ({np.std(values, ddof=1):.4f})" if len(values) > 1 and figure != "seconds" else ""
            digits = 1 if figure == "seconds" else 4
            cells.append(f"{np.mean(values):.{digits}f}{spread}" if values else "")
        table.add_row(model, *cells)
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
