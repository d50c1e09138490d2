"""Whether the attainable F1 is what honest models reach on unseen rows, on public tables.

    python scripts/bench_doctor.py                                          telco, mlc and isp, five splits each
    python scripts/bench_doctor.py data=telco splits=20 models=logistic,hist_gradient_boosting

For each split several models are trained; the one with the lowest log loss on validation rows is the best honest one.
From its probabilities of the validation rows comes the estimate with its intervals, and from the test rows the F1 that
it reaches at the threshold that validation rows chose. The last lines count the intervals that hold it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from churnlib.compose import compose
from churnlib.evaluation.ceiling.attainable import attainable
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


def main(words: list[str]) -> None:
    """Run all splits and print a line for each."""
    defaults = {"data": "telco,mlc,isp", "models": "logistic,hist_gradient_boosting,mlp", "splits": "5"}
    options = options_of(words, defaults, __doc__)
    models = options["models"].split(",")
    quieten()
    for name in options["data"].split(","):
        held, values, reached = [], [], []
        for seed in range(int(options["splits"])):
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
