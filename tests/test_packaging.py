"""What is built, installed and written in the README holds together."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import polars as pl
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import churnlib
from churnlib import cli

ALONG = {
    "httptools": "litserve",
    "requests": "pooch",
    "starlette": "litserve",
    "uvicorn": "litserve",
    "yaml": "omegaconf",
}
"""Packages that a declared one brings and whose objects its interface hands out."""

CALLED = {
    "hydra": "hydra-core",
    "imblearn": "imbalanced-learn",
    "opentelemetry": "opentelemetry-sdk",
    "sklearn": "scikit-learn",
}
"""Distributions that are not called like their package."""


@pytest.fixture(scope="module")
def project(checkout: Path) -> dict:
    return tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def constraints(checkout: Path) -> dict[str, str]:
    lines = (checkout / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.fixture(scope="module")
def readme(checkout: Path) -> str:
    return (checkout / "README.md").read_text(encoding="utf-8")


def requirements(project: dict) -> list[Requirement]:
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for text in (*project["dependencies"], *(one for extra in extras for one in extra))]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


# --- versions -------------------------------------------------------------------------------------------------------


def test_the_tested_versions_are_allowed_and_exact(project, constraints):
    tested = {canonicalize_name(name): version for name, version in constraints.items()}
    assert len(tested) == len(constraints) > 100
    assert constraints["torch"] == "2.13.0"
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in constraints.values())
    for requirement in requirements(project):
        assert tested[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_upper_bounds_have_a_reason(checkout):
    lines = (checkout / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    bounded = [number for number, line in enumerate(lines) if re.search(r'^ +"[\w-]+[^"]*<', line)]
    assert bounded
    assert all(lines[number - 1].strip().startswith("# Below") for number in bounded)


def test_every_imported_package_is_declared(project):
    extras = [text for name, texts in project["optional-dependencies"].items() if name != "dev" for text in texts]
    declared = {canonicalize_name(Requirement(text).name) for text in [*project["dependencies"], *extras]}
    for path in Path(churnlib.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for package in {name.split(".")[0] for name in names} - {"churnlib"} - set(sys.stdlib_module_names):
                distribution = ALONG.get(package, CALLED.get(package, package))
                assert canonicalize_name(distribution) in declared, f"{path} imports {package}"


# --- the wheel ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(checkout)]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_the_configuration_and_nothing_else(wheel, checkout):
    names = set(zipfile.ZipFile(wheel).namelist())
    conf = {
        f"churnlib/conf/{path.relative_to(checkout / 'conf').as_posix()}"
        for path in (checkout / "conf").rglob("*.yaml")
    }
    code = {path.relative_to(checkout).as_posix() for path in (checkout / "churnlib").rglob("*.py")}
    pages = {
        path.relative_to(checkout).as_posix()
        for path in (checkout / "churnlib").rglob("*")
        if path.suffix in (".jinja", ".css", ".js")
    }
    packaged = {name for name in names if not name.startswith(f"churnlib-{churnlib.__version__}.dist-info/")}
    assert packaged == conf | code | {"churnlib/py.typed"} | pages
    assert f"churnlib-{churnlib.__version__}.dist-info/licenses/LICENSE" in names


def test_the_wheel_works_in_an_empty_folder(wheel, tmp_path):
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); from churnlib.cli import main; main(sys.argv[1:])"
    words = ["train", "--cfg", "job", "model=tabnet", "data=telco"]
    # -P: the folder of this test must not stand in for the wheel.
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *words], cwd=empty, capture_output=True, text=True, check=True
    )
    assert "churnlib.models.tabnet.TabNet" in done.stdout and "IBM Telco" in done.stdout
    assert not list(empty.iterdir())


# --- the README -----------------------------------------------------------------------------------------------------


def test_two_commands_do_all_the_set_up(readme, checkout):
    setup = [line for block in blocks(readme, "bash") for line in block.splitlines() if "pip install" in line]
    assert len(setup) == 2
    assert setup[0].endswith("&& python train.py -m model=mlp,tabnet")
    assert setup[1].endswith("&& python -m pytest -n auto --dist loadfile")
    pattern = re.search(r"grep -m 1 -E '(.*?)' README.md", (checkout / ".ci" / "run").read_text(encoding="utf-8"))
    assert pattern
    assert [line for line in readme.splitlines() if re.search(pattern[1], line)] == setup[1:]


def test_the_readme_names_every_option_of_every_group(readme, checkout):
    table = readme.split("| group | options |")[1].split("\n\n")[0]
    for path in (checkout / "conf").glob("*/*.yaml"):
        if path.parent.name not in ("hydra", "recipe"):
            (row,) = [row for row in table.splitlines() if f"`{path.parent.name}`" in row]
            assert f"`{path.stem}`" in row


def smaller(example: str) -> str:
    """The same code for fewer customers and epochs: it is the words that are tried here, not the models."""
    fewer = re.sub(r"simulate\(\d_000\b", "simulate(600", example)
    shorter = re.sub(r"max_epochs=\d+", "max_epochs=2", fewer)
    assert fewer != example != shorter != fewer, "nothing to make smaller: is the example long?"
    return shorter


@pytest.mark.slow
def test_the_readmes_examples_run(readme, empty_folder, capsys):
    words = ["data.n_customers=500", "trainer=debug", "trainer.progress=false", "model=tabnet"]
    assert cli.main(["train", *words]) == 0
    examples = blocks(readme, "python")
    assert examples
    for example in examples:
        exec(compile(smaller(example), "README.md", "exec"), {})
    assert "churn_probability" in capsys.readouterr().out

    (customer,) = re.findall(r"-d '({.*?})'", readme, re.DOTALL)
    (answer,) = churnlib.load("outputs/latest/bundle").predict([json.loads(customer)]).to_dicts()
    assert answer["customer_id"] == "C000000004" and 0 < answer["churn_probability"] < 1


@pytest.mark.slow
def test_the_readmes_table_and_network_of_ones_own_are_trained(readme, empty_folder, monkeypatch, capsys):
    """The two YAML files of the README, with the table and the package they speak of."""
    table = churnlib.simulate(400, seed=1).table.select(
        "customer_id", "age", "contract", "tenure_months", "support_tickets",
        pl.col("monthly_charges").alias("Total Charges (EUR)"), pl.col("churn").str.slice(0, 1).alias("left (y/n)"),
    )  # fmt: skip
    table.write_csv("customers.csv")
    mine, my_net = blocks(readme, "yaml")
    for path, text in (("my_conf/data/mine.yaml", mine), ("my_conf/model/my_net.yaml", my_net)):
        Path(path).parent.mkdir(parents=True)
        Path(path).write_text(text, encoding="utf-8")
    Path("mypkg.py").write_text(
        "from torch import nn\n\n"
        "class MyNet(nn.Sequential):\n"
        "    def __init__(self, in_features, out_features, *, width):\n"
        "        super().__init__(nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, out_features))\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(empty_folder))
    words = ["--config-dir", "my_conf", "data=mine", "model=my_net", "model.width=8", "trainer=debug"]
    assert cli.main(["train", *words]) == 0
    assert "left (y/n)" in capsys.readouterr().out
    assert cli.main(["score", "input=customers.csv", "output=graph.csv"]) == 0  # the graph runs no code of the package
    assert cli.main(["score", "input=customers.csv", "output=scores.csv", "backend=torch"]) == 1
    assert "trust=[mypkg]" in capsys.readouterr().err
    assert cli.main(["score", "input=customers.csv", "output=scores.csv", "trust=[mypkg]"]) == 0
