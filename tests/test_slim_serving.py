"""A serving image installs churnlib without its dependencies, beside requirements-serving.txt."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from made import made_bundle, made_customers, made_prepared

from churnlib.bundle import write_bundle
from churnlib.compose import compose
from churnlib.exporting.onnx import exported
from churnlib.predictor import load
from churnlib.training.packing import pack
from churnlib.training.train import fit_model

ROOT = Path(__file__).resolve().parents[1]
SERVE = """
import json, sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in set(sys.argv[2].split(",")):
            raise ModuleNotFoundError(f"{name} is not in requirements-serving.txt")

sys.meta_path.insert(0, Absent())
import churnlib
import churnlib.serving.server
from churnlib.serving.api import ChurnLitAPI

row, found = json.loads(sys.argv[1]), {}
for bundle in sys.argv[3:]:
    api = ChurnLitAPI(bundle)
    api.setup("cpu")
    [body] = api.predict([api.decode_request(row)])
    assert api.encode_response(body).status_code == 200
    found[bundle] = churnlib.load(bundle).predict([row])["churn_probability"][0]
print(json.dumps(found))
"""
SCIKIT_LEARN = {
    "logistic": [],
    "linear_svm": [],
    "rbf_svm": [],
    "random_forest": ["model.n_estimators=10"],
    "hist_gradient_boosting": ["model.n_estimators=10"],
}
"""Baselines that scikit-learn fits, made small; a server reads them without it."""

MODULES = {"hydra-core": "hydra", "scikit-learn": "sklearn", "lightning": "lightning,pytorch_lightning"}


def names(requirements: list[str]) -> dict[str, str]:
    """Requirements by name."""
    return {re.split(r"[<>=]", line)[0]: line for line in requirements}


def absent() -> str:
    """Modules that a serving image lacks, joined by commas."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = names(project["dependencies"])
    known = core | names(project["optional-dependencies"]["onnx"])
    lines = (ROOT / "requirements-serving.txt").read_text().splitlines()
    slim = names([line for line in lines if not line.startswith("#")])
    left_out = set(core) - set(slim)
    assert {"torch", "lightning", "hydra-core", "wandb", "scikit-learn"} <= left_out
    assert all(known[name] == line for name, line in slim.items()), "the same bounds as in pyproject.toml"
    return ",".join(MODULES.get(name, name) for name in sorted(left_out)) + ",scipy,pandas,joblib"


def served_without(modules: str, row: dict, bundles: list[Path]) -> dict[str, float]:
    """Ask a process that lacks the modules about one customer; return the answers by bundle."""
    words = [sys.executable, "-c", SERVE, json.dumps(row), modules, *map(str, bundles)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def row() -> dict:
    row = made_customers(5).drop("churn").to_dicts()[0]
    return {**row, "joined": row["joined"].isoformat()}


def test_a_server_runs_with_its_own_requirements_alone(tmp_path, row):
    made = made_bundle()
    write_bundle(replace(made, onnx=exported(made)), tmp_path / "bundle")
    [answer] = served_without(absent(), row, [tmp_path / "bundle"]).values()
    assert 0 < answer < 1


@pytest.mark.slow
def test_what_scikit_learn_fitted_is_served_without_it(tmp_path, row):
    customers = made_prepared()
    expected = {}
    for name, words in SCIKIT_LEARN.items():
        config = compose([f"model={name}", *words])
        pack(config, fit_model(config, customers, tmp_path), tmp_path / name)
        expected[str(tmp_path / name)] = load(tmp_path / name).predict([row])["churn_probability"][0]
    found = served_without(absent(), row, [tmp_path / name for name in SCIKIT_LEARN])
    assert found == pytest.approx(expected, abs=1e-9)
    assert len(set(found.values())) == len(SCIKIT_LEARN)
