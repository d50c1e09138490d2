"""How near uplift models come to effects that are known: simulated customers of an experiment.

    python scripts/bench_uplift.py                      10,000 and 40,000 customers, every learner (half a minute)
    python scripts/bench_uplift.py --customers 20000    another number of customers

Half of the customers are treated. An effect is what the treatment takes from the probability of leaving; the error and
the correlation are those of test rows. The first line of each table gives everybody the true mean.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

import numpy as np
from rich.console import Console
from rich.table import Table

from churnlib.data.customers import prepare_customers
from churnlib.data.simulator import simulate
from churnlib.models.baselines.hist_gradient_boosting import HistGradientBoosting
from churnlib.models.baselines.linear import LogisticRegression
from churnlib.training.uplift import fit_uplift, read_treatment

RECIPES = {"logistic": LogisticRegression, "boosting": HistGradientBoosting}
LEARNERS = {
    "T, logistic": ("t", "logistic", "ridge"),
    "T, boosting": ("t", "boosting", "ridge"),
    "X, logistic, effects by ridge": ("x", "logistic", "ridge"),
    "X, boosting, effects by ridge": ("x", "boosting", "ridge"),
    "X, boosting, effects by boosting": ("x", "boosting", "hist_gradient_boosting"),
}
"""By name: learner, model of who leaves, model of effects."""


def measured(n: int, seed: int) -> Table:
    """Return error and correlation of each learner."""
    made = simulate(n, seed=seed, treatment_share=0.5)
    assert made.churn_prevented is not None
    customers = prepare_customers(
        made.table, target="churn", positive="yes", id="customer_id", drop=["treated"],
        columns={"churn_date": {"role": "event_time"}}, split={"by": "random"},
    )  # fmt: skip
    known = dict(zip(made.table["customer_id"].to_list(), made.churn_prevented.tolist(), strict=True))
    truth = np.array([known[name] for name in customers.customer_ids("test")])
    treated, test = read_treatment(customers.frame, "treated"), customers.encoded["test"]
    table = Table(
        "learner", "root mean square error", "correlation",
        title=f"{n:,} customers, true effects {truth.mean():.3f} on average, standard deviation {truth.std():.3f}",
    )  # fmt: skip
    table.add_row("everybody the mean", f"{truth.std():.3f}", "")
    for name, (learner, recipe, effects) in LEARNERS.items():
        model = fit_uplift(RECIPES[recipe](), customers, treated, learner=learner, effects=effects, seed=0)
        found = model.effects(test.numeric, test.codes)
        error, correlation = np.sqrt(np.mean((found - truth) ** 2)), np.corrcoef(found, truth)[0, 1]
        table.add_row(name, f"{error:.3f}", f"{correlation:.2f}")
    return table


def main() -> None:
    """Print a table for each number of customers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, nargs="+", default=[10_000, 40_000], help="numbers of customers")
    parser.add_argument("--seed", type=int, default=1, help="of the customers")
    options = parser.parse_args()
    for n in options.customers:
        Console().print(measured(n, options.seed))


if __name__ == "__main__":
    main()
