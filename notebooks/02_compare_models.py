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
# # Which model?
#
# Several kinds of models on the same customers: by the same split, with the same preparation, calibration and
# threshold. The choice is made on validation rows; test rows only say how good the chosen one is. Half a minute on a
# laptop, and the customers are simulated, so that the best possible figures are known. As in a sweep, the runs have no
# report each: `train.py` without `report=false`, or `churnlib report run=FOLDER`, writes that of the chosen one.

# %%
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

import churnlib
from churnlib.compose import compose
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

folder = Path(tempfile.mkdtemp())
common = ["data.n_customers=3000", "trainer.max_epochs=10", "trainer.progress=false", "seed=1", "report=false"]

results = {}
for model in ["logistic", "hist_gradient_boosting", "mlp_plain", "tabnet"]:
    run = RunFolder(folder / model, latest=None)
    results[model] = train(compose([*common, f"model={model}"]), folder=run)

# %% [markdown]
# On the command line this is one line, with the same comparison at its end and all of it in `sweep.json`:
#
#     python train.py -m model=logistic,hist_gradient_boosting,mlp_plain,tabnet seed=0,1,2
#
# ## Side by side
#
# Sorted by the log loss on **validation** rows. The limit is what the customers' true probabilities give: no model
# can be better but by luck.


# %%
def figures(metrics):
    return {name: round(metrics[name], 3) for name in ("roc_auc", "average_precision", "log_loss", "f1")}


table = pl.DataFrame(
    {
        "model": model,
        "validation log loss": round(result.metrics["validation"]["log_loss"], 4),
        **figures(result.metrics["test"]),
        "seconds": round(result.metrics["fit_seconds"], 1),
    }
    for model, result in results.items()
).sort("validation log loss")
table

# %%
limit = next(iter(results.values())).metrics["limit"]
figures(limit)

# %% [markdown]
# ## Is the difference real?
#
# Every figure has an interval, and they overlap: the test rows are few. But all models met the *same* customers, and
# the difference between two models, customer by customer, is known far better than either figure. Where the interval
# of a difference holds 0, prefer what is simpler or faster.

# %%
from churnlib.evaluation.paired import ScoredRows, paired_difference

scored = {
    model: ScoredRows.from_predictions(pl.read_parquet(folder / model / "predictions.parquet")) for model in results
}
best = table["model"][0]
differences = []
for model in table["model"][1:]:
    value, (low, high) = paired_difference(scored[model].loss, scored[best].loss, seed=0)
    differences.append({"model": model, f"more log loss than {best}": value, "from": low, "to": high})
pl.DataFrame(differences)

# %% [markdown]
# ## Inside scikit-learn
#
# Each model is a scikit-learn classifier too, on raw tables: cross-validation, grids and pipelines work as ever.

# %%
from sklearn.model_selection import cross_val_score

customers = churnlib.simulate(2_000, seed=2).table.drop("churn_date", "customer_id", "snapshot_date")
scores = cross_val_score(
    churnlib.ChurnClassifier("logistic", random_state=0),
    customers.drop("churn"),
    customers["churn"],
    scoring="roc_auc",
    cv=3,
)
print(f"ROC AUC {np.mean(scores):.3f}, of the three parts {scores.round(3).tolist()}")
