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
# # Serve a model and call it
#
# A trained model is a folder, the *bundle*. One command makes it a REST server; this notebook starts that command,
# asks it as a customer-care system would, and stops it. Nothing here needs anything but Python's own library on the
# caller's side.

# %%
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import polars as pl

import churnlib
from churnlib.compose import compose
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

folder = Path(tempfile.mkdtemp())
words = ["data.n_customers=2000", "model=mlp_plain", "trainer.max_epochs=10", "trainer.progress=false", "seed=1"]
train(compose(words), folder=RunFolder(folder / "run", latest=None))
sorted(path.name for path in (folder / "run" / "bundle").iterdir())

# %% [markdown]
# ## Start
#
# In a shell: `churnlib serve bundle=run/bundle port=8000`. `/health` answers 200 as soon as customers can be asked
# about, and 503 while the model is being loaded.

# %%
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]

serve = "import sys; from churnlib.serving.server import main; sys.exit(main(sys.argv[1:]))"
log = (folder / "server.log").open("w")
server = subprocess.Popen(
    [sys.executable, "-c", serve, f"bundle={folder / 'run' / 'bundle'}", f"port={port}"], stdout=log, stderr=log
)


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, json.load(refused)


for _ in range(600):
    try:
        status, health = ask("/health")
    except OSError:
        status, health = 0, None
    if status == 200:
        break
    time.sleep(0.1)
health

# %% [markdown]
# ## Ask about one customer
#
# Raw values, as they stand in the table. What is missing or has not been seen before is answered all the same, and
# said.

# %%
customers = churnlib.simulate(2_000, seed=3).table.drop("churn", "churn_date")
customer = json.loads(customers.head(1).write_json())[0]
ask("/predict", customer)

# %%
ask("/predict", {**customer, "contract": "for life"})

# %% [markdown]
# A value that cannot be read is refused, by name and without an echo of what was sent:

# %%
ask("/predict", {**customer, "tenure_months": "ages"})

# %% [markdown]
# ## The same answer everywhere
#
# The server, a file that is scored and the library give the same probability, to the sixth digit at least.

# %%
predictor = churnlib.load(folder / "run" / "bundle")
here = predictor.predict([customer])["churn_probability"][0]
there = ask("/predict", customer)[1]["churn_probability"]
assert abs(here - there) < 1e-6
here, there

# %% [markdown]
# ## Which model is this?

# %%
_, metadata = ask("/metadata")
print(metadata["model"], metadata["model_version"], "decides from", round(metadata["threshold"], 3))
pl.DataFrame(metadata["input_schema"]).select("name", "kind", "required").head(8)

# %% [markdown]
# ## Stop
#
# SIGTERM ends it: what was accepted is answered first.

# %%
server.terminate()
print("the server ended with", server.wait(60))
log.close()
shutil.rmtree(folder)
