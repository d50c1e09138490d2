"""Training from Python, in a notebook or a program, prints nothing of what no user can act on."""

import subprocess
import sys

import pytest

PROGRAM = """
from pathlib import Path
import warnings

from churnlib import ChurnClassifier
from churnlib.compose import compose
from churnlib.data.simulator import simulate
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

before = list(warnings.filters)
words = ["model=tabnet", "data.n_customers=300", "trainer=debug", "trainer.progress=false", "logger=none"]
train(compose([*words, "pretrain=on", "pretrain.passes=1"]), folder=RunFolder(Path("run"), latest=None))
table = simulate(300, seed=1).table
ChurnClassifier(options={"trainer": "debug"}).fit(table.drop("churn", "churn_date"), table["churn"])
assert [one for one in before if one not in warnings.filters] == []

print("what Lightning says afterwards is heard again", flush=True)
import lightning

lightning.Trainer(logger=False, enable_checkpointing=False)
"""


@pytest.mark.slow
def test_a_program_that_trains_says_nothing_and_leaves_lightning_as_talkative_as_it_was(tmp_path):
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "what Lightning says afterwards is heard again\n"
    assert done.stderr.startswith("GPU available"), done.stderr
