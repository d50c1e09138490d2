# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Explain and decide
#
# A probability is not yet a decision. Here a model is asked why, what it goes by on the whole, what a contact is
# worth, and whom to make which offer within a budget. The customers are simulated; about a minute on a laptop.

# %%
import json
import tempfile
from pathlib import Path

import polars as pl

import churnlib
from churnlib.compose import compose
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

folder = Path(tempfile.mkdtemp()) / "run"
words = [
    "data.n_customers=4000", "model=mlp_plain", "trainer.max_epochs=15", "trainer.progress=false", "seed=1",
    "threshold=value", "money.currency=EUR", "money.column=monthly_charges", "money.times=12", "money.offer_cost=30",
]  # fmt: skip
result = train(compose(words), folder=RunFolder(folder, latest=None))
result  # the verdict; the whole report is one page, report.html in the run's folder

# %% [markdown]
# ## The goal, honestly
#
# Every run is held against a goal. Where the data cannot give it, the run says so, with what they can give.

# %%
result.goal["said"]

# %% [markdown]
# ## Why this customer?
#
# Effects are on the odds of leaving, against a background of made-up customers. They say what the model looked at:
# they are not causes.

# %%
customers = (
    churnlib.simulate(1_000, seed=5).table.drop("churn", "churn_date").unique("customer_id", maintain_order=True)
)
predictor = churnlib.load(folder / "bundle")
explained = churnlib.explain(predictor, customers.head(200), top=3)
for row in explained.sort("churn_probability", descending=True).head(3).iter_rows(named=True):
    print(f"{row['customer_id']}  {row['churn_probability']:.0%}")
    for reason in row["reasons"]:
        print("   ", reason["text"])

# %% [markdown]
# ## What does the model go by on the whole?

# %%
explainer = churnlib.Explainer(predictor)
effects = explainer.effects(customers.head(300))
strength = pl.DataFrame({"column": effects.names, "mean absolute effect": abs(effects.values).mean(axis=0)})
strength.sort("mean absolute effect", descending=True).head(6)

# %% [markdown]
# `churnlib explain-model run=RUN` adds what shuffling a column costs in ROC AUC and in money, curves, interactions
# and a small tree that imitates the model, with how well it does.
#
# ## What is a contact worth?
#
# With `threshold=value` each customer has a threshold of his own: a contact pays from a lower probability on where
# more is at stake.

# %%
answers = predictor.predict(customers)
needed = predictor.thresholds(customers)
told = customers.select("customer_id", "monthly_charges").with_columns(
    pl.Series("needed", needed), answers["churn_probability"], answers["churn_prediction"]
)
told.sort("monthly_charges").gather_every(200)

# %% [markdown]
# ## Whom to offer what?
#
# Offers change columns or save a share of those who accept. Each is tried on every customer, and the plan is what
# gains most within the budget. No experiment stands behind these gains, and the plan says so (`causal`).

# %%
plan = churnlib.plan(
    predictor,
    customers,
    levers={
        "offers": {
            "one_year": {"set": {"contract": "one year"}, "where": "contract = 'month-to-month'", "cost": 30},
            "call": {"saves": 0.5, "cost": 10},
        }
    },
    money={"column": "monthly_charges", "times": 12, "currency": "EUR"},
    budget=1_000,
    held_out=pl.read_parquet(folder / "predictions.parquet"),
)
plan.contacts.select("customer_id", "churn_probability", "offer", "expected_cost", "expected_gain", "causal").head()

# %%
plan.segments

# %% [markdown]
# ## Are groups of people treated alike?

# %%
fairness = json.loads((folder / "fairness.json").read_text())
[column["column"] for column in fairness["columns"]]
