"""What the tests of deploy/ share: its files, the programs that check them, and the words of the server in them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from containers import instructions

from churnlib.serving.options import parse_options

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"


def program(name: str) -> Path:
    """Return the path of a program that the extra `dev` installs."""
    return Path(sys.executable).with_name(name)


def ran(*words: str | Path) -> str:
    """Run a program, and return what it prints; an error is the test's."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """Read YAML of one or several documents."""
    return [document for document in yaml.safe_load_all(text) if document]


def rendered(folder: Path) -> list[dict[str, Any]]:
    """Return the objects that Kustomize makes of a folder."""
    return documents(ran(program("kubectl"), "kustomize", folder))


def instructions_of(name: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile as pairs of word and value."""
    return [(step.word, step.value) for step in instructions(DEPLOY / name)]


def check_words(words: list[str]) -> None:
    """Assert that the server understands its words."""
    parse_options(words)


def metric_names(query: str) -> Iterator[str]:
    """Yield the names of metrics in a query, a histogram by its own name."""
    for name in re.findall(r"\bchurnlib_\w+", query):
        yield re.sub(r"_(bucket|sum|count)$", "", name)
