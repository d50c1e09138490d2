"""The checks of this project, each in an environment of its own: ``nox -l`` lists them, ``nox -s tests`` runs one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]

HERE = Path(__file__).parent.resolve()
TESTED = ("-c", str(HERE / "constraints.txt"))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*TESTED, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.install(*TESTED, "-e", ".[dev]")
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; `nox -s tests -- -m slow` runs the slow ones."""
    session.install(*TESTED, "-e", ".[dev]")
    session.run("pytest", "-n", "auto", "--dist", "loadfile", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and say which lines none of them reaches; it takes half as long again."""
    session.install(*TESTED, "-e", ".[dev]")
    session.run(
        "pytest", "-n", "auto", "--dist", "loadfile", "--cov", "--cov-report=term:skip-covered", "--cov-fail-under=90"
    )


@nox.session
def notebooks(session: nox.Session) -> None:
    """Run the notebooks from top to bottom."""
    session.install(*TESTED, "-e", ".[dev]")
    # As a kernel finds no package of its own here, the session's Python becomes one.
    session.run("python", "-m", "ipykernel", "install", "--sys-prefix", "--name", "python3", silent=True)
    for script in sorted(HERE.glob("notebooks/*.py")):
        notebook = Path(session.create_tmp()) / f"{script.stem}.ipynb"
        session.run("jupytext", "--to", "ipynb", str(script), "-o", str(notebook), silent=True)
        session.run("pytest", "--nbmake", "--override-ini=addopts=", "--override-ini=testpaths=", str(notebook))


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel, install it alone, and use it in an empty folder."""
    session.install(*TESTED, "build")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--wheel", "--outdir", folder, silent=True)
        (wheel,) = Path(folder).glob("*.whl")
        session.install(*TESTED, "--force-reinstall", "--no-deps", str(wheel))
        session.install(*TESTED, str(wheel))
        # The session's own variable, so that the checkout cannot stand in for the wheel.
        env = {**os.environ, "PYTHONPATH": ""}
        with session.chdir(folder):
            session.run("churnlib", "train", "--help", env=env, silent=True)
            words = ("model=tabnet", "trainer=debug", "data.n_customers=1000", "output_dir=run")
            session.run("churnlib", "train", *words, env=env)
            session.run("churnlib", "simulate", "output=customers.parquet", "n_customers=1000", env=env)
            session.run(
                "churnlib", "score", "bundle=run/bundle", "input=customers.parquet", "output=scores.csv", env=env
            )
            if not Path("scores.csv").is_file():
                session.error("score wrote nothing")
