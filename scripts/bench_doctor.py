"""Whether the attainable F1 is what honest models reach on unseen rows, on public tables.

    python scripts/bench_doctor.py                                          telco, mlc and isp, five splits each
    python scripts/bench_doctor.py data=telco splits=20 models=logistic,hist_gradient_boosting
    python scripts/bench_doctor.py data=mlc splits=20 first=100             seeds from 100 on
    python scripts/bench_doctor.py data=mlc deals=300                       the interval alone, without a model's luck

For each split several models are trained; the one with the lowest log loss on validation rows is the best honest one.
From its probabilities of the validation rows comes the estimate with its intervals, and from the test rows the F1 that
it reaches at the threshold that validation rows chose. The last lines count the intervals that hold it.

With deals=N probabilities come from models that saw neither side (those of churnlib doctor, out of fold), and the rows
are dealt N times to validation and test sets as large as a run's. So it is told whether the interval holds what the
sampling of both sides does; what more a run misses comes from rows that also stopped the training and chose the model.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from churnlib.compose import compose
from churnlib.diagnosis.baselines import out_of_fold
from churnlib.evaluation.ceiling.attainable import attainable
from churnlib.evaluation.metrics import binary_metrics
from churnlib.evaluation.thresholds import choose_threshold
from churnlib.noise import quieten
from churnlib.training.calibrating import held_out_probability
from churnlib.training.fitted import Trained, held_out
from churnlib.training.packing import calibrated
from churnlib.training.results import held_out_metrics, side_metrics
from churnlib.training.train import fit_one, read_customers
from scripts.words import options_of


def best_of(name: str, models: list[str], seed: int) -> tuple[float, str, dict]:
    """Return log loss, name, and estimate beside what was reached, of the best model on one split."""
    told = []
    for model in models:
        config = compose([f"data={name}", f"model={model}", f"seed={seed}", "logger=none", "trainer.progress=false"])
        customers = read_customers(config)
        with TemporaryDirectory() as folder:
            fit = fit_one(config, customers, Path(folder))
        trained = Trained(fit, customers, held_out(fit.model, customers))
        predictor = calibrated(config, trained)
        rows = trained.held_out.rows
        label = customers.label[rows]
        probability = held_out_probability(trained.held_out.logits, label, predictor.bundle.calibration)
        n_test = len(customers.rows("test"))
        estimate = attainable(label, probability, metrics=["f1"], test_rows=n_test, seed=seed)["f1"]
        test = side_metrics(customers, "test", predictor)
        assert test is not None
        loss = held_out_metrics(customers, trained.held_out, predictor)["log_loss"]
        told.append((loss, model, {"estimate": estimate, "f1": test["f1"]}))
    return min(told, key=lambda one: one[0])


def deals(name: str, n: int, first: int) -> str:
    """Return how often the interval holds what a test set shows, of probabilities that no row of either side shaped."""
    customers = read_customers(compose([f"data={name}", "logger=none", "trainer.progress=false"]))
    found = out_of_fold(customers, seed=1)
    score, sizes = found.probability[found.best], [len(customers.rows(side)) for side in ("validation", "test")]
    misses, held = [], []
    for seed in range(first, first + n):
        here, there = _dealt(found.label, sizes, np.random.default_rng(seed))
        one = attainable(found.label[here], score[here], test_rows=sizes[1], seed=seed)["f1"]
        cut = choose_threshold(found.label[here], score[here])
        f1 = binary_metrics(found.label[there], score[there], threshold=cut)["f1"]
        held.append(one.test_low <= f1 <= one.test_high)
        misses.append((f1 - one.value, (one.test_high - one.test_low) / (2 * 1.96)))
    apart, spread = np.array(misses).T
    return (
        f"{name}: {found.best} out of fold, {n} deals of {sizes[0]:,} and {sizes[1]:,} rows: inside {sum(held)}; F1 is "
        f"{apart.mean():+.4f} from the estimate, give or take {apart.std():.4f}; by the interval {spread.mean():.4f}"
    )


def _dealt(label: np.ndarray, sizes: list[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of two sides, dealt class by class as a run's are."""
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for one in (0, 1):
        rows, counts = rng.permutation(np.flatnonzero(label == one)), [round(n * (label == one).mean()) for n in sizes]
        for side, part in zip(sides, np.split(rows, np.cumsum(counts))[:2], strict=True):
            side.append(part)
    return np.concatenate(sides[0]), np.concatenate(sides[1])


def main(words: list[str]) -> None:
    """Run all splits and print a line for each."""
    defaults = {"data": "telco,mlc,isp", "models": "logistic,hist_gradient_boosting,mlp", "splits": "5"}
    options = options_of(words, defaults | {"deals": "0", "first": "0"}, __doc__)
    models, first = options["models"].split(","), int(options["first"])
    quieten()
    for name in options["data"].split(","):
        if int(options["deals"]):
            print(deals(name, int(options["deals"]), first), flush=True)
            continue
        held, values, reached = [], [], []
        for seed in range(first, first + int(options["splits"])):
            started = time.perf_counter()
            _, model, found = best_of(name, models, seed)
            one, f1 = found["estimate"], found["f1"]
            held.append((one.low <= f1 <= one.high, one.test_low <= f1 <= one.test_high))
            values.append(one.value)
            reached.append(f1)
            print(
                f"{name} split {seed}: {model} reaches {f1:.3f}; attainable {one.value:.3f} ({one.low:.3f} to "
                f"{one.high:.3f}), {one.test_rows:,} test rows {one.test_low:.3f} to {one.test_high:.3f} "
                f"[{time.perf_counter() - started:.0f} s]",
                flush=True,
            )
        print(
            f"{name}: mean estimate {np.mean(values):.3f}, mean reached {np.mean(reached):.3f}; inside the interval of "
            f"such a test set {sum(test for _, test in held)} of {len(held)}, of all customers "
            f"{sum(whole for whole, _ in held)} of {len(held)}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
