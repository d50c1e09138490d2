"""A serving image installs churnlib without its dependencies, beside requirements-serving.txt."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from made import made_bundle, made_customers

from churnlib.bundle import write_bundle

ROOT = Path(__file__).resolve().parents[1]
SERVE = """
import json, sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in set(sys.argv[3].split(",")):
            raise ModuleNotFoundError(f"{name} is not in requirements-serving.txt")

sys.meta_path.insert(0, Absent())
import churnlib.serving.server
from churnlib.serving.api import ChurnLitAPI

api = ChurnLitAPI(sys.argv[1])
api.setup("cpu")
import churnlib
answer = churnlib.load(sys.argv[1]).predict([json.loads(sys.argv[2])])
print(answer["churn_probability"][0])
"""
MODULES = {"hydra-core": "hydra", "scikit-learn": "sklearn", "lightning": "lightning,pytorch_lightning"}


def names(requirements: list[str]) -> dict[str, str]:
    """Requirements by name."""
    return {re.split(r"[<>=]", line)[0]: line for line in requirements}


def test_a_server_runs_with_its_own_requirements_alone(tmp_path):
    core = names(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    lines = (ROOT / "requirements-serving.txt").read_text().splitlines()
    slim = names([line for line in lines if not line.startswith("#")])
    absent = set(core) - set(slim)
    assert {"lightning", "hydra-core", "wandb"} <= absent
    assert all(core[name] == line for name, line in slim.items()), "the same bounds as in pyproject.toml"
    write_bundle(made_bundle(), tmp_path / "bundle")
    row = made_customers(5).drop("churn").to_dicts()[0]
    row["joined"] = row["joined"].isoformat()
    import json

    modules = ",".join(MODULES.get(name, name) for name in sorted(absent)) + ",scipy,pandas"
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path / "bundle"), json.dumps(row), modules],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout.split()[-1]) < 1
