"""docs/deploying.md speaks of files that are there and of words that the server knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from deployment import DEPLOY, ROOT, check_words


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")


def test_it_names_all_that_is_there(page):
    table = page.split("| folder |")[1].split("\n\n")[0]
    entries = {path.name for path in DEPLOY.iterdir() if path.name not in ("__pycache__", ".ruff_cache")}
    firsts = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert entries == {name.rstrip("/") for first in firsts for name in re.findall(r"`([^`]+)`", first)}


def test_what_it_names_is_there(page):
    named = set(re.findall(r"\b(?:deploy|scripts)/[\w./-]*\w", page))
    assert len(named) > 15 and not [path for path in named if not (ROOT / path).exists()]
    parts = "docker|compose|kubernetes|ci|overlays|components|examples|serverless|prometheus"
    inside = set(re.findall(rf"`((?:{parts})/[\w./-]+)`", page))
    folders = [DEPLOY, DEPLOY / "kubernetes", DEPLOY / "compose"]
    assert inside and not [path for path in inside if not any((folder / path).exists() for folder in folders)]


def test_the_server_knows_its_words(page):
    lines = re.findall(r"churnlib serve ([^\n#]+)", page)
    assert lines
    for line in lines:
        check_words(line.split())
    images = re.findall(r"`(bundle=\S+ host=[^`]+)`", page)
    assert images and all(word in Path(DEPLOY / "docker" / "Dockerfile").read_text() for word in images[0].split())
