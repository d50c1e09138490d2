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
# # From a table to a model
#
# A customer table goes in, a model that answers for single customers comes out. Everything here runs on a laptop's
# processor in about a minute and needs no download: the customers are simulated.

# %%
import tempfile
from pathlib import Path

import polars as pl

import churnlib

customers = churnlib.simulate(4_000, seed=1)
customers.table.head()

# %% [markdown]
# ## What is in the table?
#
# The schema is inferred from the values. Whatever it gets wrong is corrected by `columns={"NAME": {"kind": ...}}`.

# %%
schema = churnlib.infer_schema(
    customers.table, target="churn", id="customer_id", time="snapshot_date", drop=["churn_date"]
)
schema.render()

# %% [markdown]
# ## Five lines of Lightning
#
# The data module reads, cleans, splits and prepares; the module trains any network on it.

# %%
import lightning

from churnlib import ChurnDataModule, ChurnModule

table = {"target": "churn", "id": "customer_id", "time": "snapshot_date", "drop": ["churn_date"]}
data = ChurnDataModule(customers.table, **table, batch_size=256, seed=1)
module = ChurnModule("mlp")
trainer = lightning.Trainer(
    max_epochs=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
    enable_model_summary=False,
)  # fmt: skip
trainer.fit(module, data)
{name: round(float(value), 3) for name, value in trainer.callback_metrics.items()}

# %% [markdown]
# ## A whole run
#
# The same thing with early stopping, calibration, a decision threshold, an honest comparison and a bundle to serve is
# one call. It takes the words of the command line: `python train.py data=simulator data.n_customers=4000 ...`. Its
# report is left out here; the third notebook shows it.

# %%
from churnlib.compose import compose
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

folder = Path(tempfile.mkdtemp()) / "run"
words = ["data.n_customers=4000", "model=mlp", "trainer.max_epochs=15", "seed=1", "report=false"]
result = train(compose([*words, "trainer.progress=false"]), folder=RunFolder(folder, latest=None))

rows = {
    "mlp": result.metrics["test"],
    "logistic regression": result.metrics["baseline"]["logistic_regression"],
    "best possible": result.metrics["limit"],
}
names = ["roc_auc", "average_precision", "log_loss", "f1"]
pl.DataFrame([{"model": model, **{name: round(metrics[name], 3) for name in names}} for model, metrics in rows.items()])

# %% [markdown]
# The last line is the limit: nobody who knows only what the table says can do better, because whether a customer leaves
# is drawn with the customer's true probability.
#
# ## Ask about one customer

# %%
predictor = churnlib.load(folder / "bundle")
customer = customers.table.drop("churn", "churn_date").row(0, named=True)
predictor.predict([customer])

# %%
# What a wrong value gets:
try:
    predictor.predict([{**customer, "tenure_months": "ages"}])
except churnlib.ChurnlibError as error:
    print(error)
