"""Imports point downwards, as read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import churnlib

PACKAGE = Path(churnlib.__file__).parent
FLOORS = [
    ("cli", "commands"),
    ("diagnosis",),
    ("training", "serving", "monitoring", "privacy", "profiling"),
    ("explaining", "planned"),
    ("build", "scoring", "compose"),
    ("planning",),
    ("console", "progress", "noise"),
    ("explanation", "exporting"),
    ("evaluation",),
    ("pages",),
    ("column_predictor", "row_predictor"),
    ("predictor",),
    ("inside", "staying"),
    ("answers", "reading"),
    ("bundle",),
    ("calibration",),
    ("models", "data"),
    ("survival",),
    ("logistic",),
    ("decision",),
    ("schema",),
    ("config",),
    ("errors",),
    ("__init__",),
]
"""From the top floor to the ground; a module may import from lower floors and from its own room."""

SERVING_FLOORS = [
    ("server", "application"),
    ("processes",),
    ("api",),
    ("http",),
    ("doors", "seeing"),
    ("answering",),
    ("answers",),
    ("problems",),
    ("options",),
    ("__init__",),
]
"""The same inside the server."""

REACHING_UP = {
    # Other doors than the usual one, and the file of labels, are imported when somebody asks for them.
    "serving/answering/served_bundle.py": ("doors", "seeing"),
    "serving/answering/jobs.py": ("doors",),
}
"""Rooms on higher floors from which a module of the server imports inside its functions."""

FORBIDDEN = {
    "models": ("lightning", "hydra", "omegaconf", "wandb", "polars"),
    "data": ("torch", "lightning", "hydra", "omegaconf", "wandb"),
    "schema": ("torch", "lightning", "hydra", "omegaconf"),
    "bundle": ("lightning", "hydra", "omegaconf", "wandb", "matplotlib"),
    "predictor": ("lightning", "hydra", "omegaconf", "wandb", "matplotlib"),
    "scoring": ("lightning", "hydra", "omegaconf", "wandb", "matplotlib"),
    "privacy": ("torch", "lightning", "hydra", "omegaconf", "wandb"),
    "diagnosis": ("torch", "lightning", "hydra", "omegaconf", "wandb"),
    "profiling": ("torch", "lightning", "hydra", "omegaconf", "wandb"),
    "serving": ("lightning", "hydra", "omegaconf", "wandb", "matplotlib"),
}
"""Packages that a room must not know."""

EXCEPTIONS = {
    "models/module.py": ("lightning",),
    "models/stepping.py": ("lightning",),
    "data/datamodule.py": ("torch", "lightning"),
    "data/batches.py": ("torch",),
    # Imported where they are fitted; what they learned is kept as numbers.
    "data/steps/impute_iterative.py": ("sklearn",),
    "data/steps/isolation.py": ("sklearn",),
}
"""The modules that join rooms to Lightning."""

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "conf" not in path.relative_to(PACKAGE).parts)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor(name: str, floors: list[tuple[str, ...]] = FLOORS) -> int:
    return next(number for number, rooms in enumerate(floors) if name in rooms)


def imports(path: Path, *, at_once: bool = False) -> Iterator[str]:
    """Full names of what a module imports, also in functions unless ``at_once``; not what only type checkers see."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
            continue
        if at_once and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the full name of {node.module}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_downwards(path: Path):
    own = room(path)
    for name in imports(path):
        if name.startswith("churnlib."):
            other = name.split(".")[1]
            if (PACKAGE / other).exists() or (PACKAGE / f"{other}.py").exists():
                assert other == own or floor(other) > floor(own), f"{own} must not import {name}"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if room(path) == "serving"], ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_imports_inside_the_server_point_downwards(path: Path):
    own = path.relative_to(PACKAGE / "serving").parts[0].removesuffix(".py")
    ground = floor(own, SERVING_FLOORS)
    there = {name: name.split(".")[2] for name in imports(path) if name.startswith("churnlib.serving.")}
    higher = {name: other for name, other in there.items() if other != own and floor(other, SERVING_FLOORS) <= ground}
    allowed = REACHING_UP.get(path.relative_to(PACKAGE).as_posix(), ())
    assert set(higher.values()) == set(allowed), f"{own} must not import {sorted(higher)}"
    assert higher.keys().isdisjoint(imports(path, at_once=True)), "import these inside functions"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_rooms_do_not_know_what_is_not_theirs(path: Path):
    allowed = EXCEPTIONS.get(path.relative_to(PACKAGE).as_posix(), ())
    forbidden = {package for package in FORBIDDEN.get(room(path), ()) if package not in allowed}
    assert not {name for name in imports(path) if name.split(".")[0] in forbidden}


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) == "data"], ids=lambda path: path.name)
def test_reading_and_applying_needs_no_scikit_learn(path: Path):
    # A step may ask it while it learns, inside a function; whoever scores or serves rows never loads it.
    loaded = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in loaded if (node.module or "").split(".")[0] in ("sklearn", "imblearn")]


def test_only_one_place_instantiates():
    users = {path for path in MODULES if "hydra.utils.instantiate" in imports(path)}
    assert users == {PACKAGE / "build.py"}


def test_every_room_stands_on_a_floor():
    assert {room(path) for path in MODULES} <= {name for rooms in FLOORS for name in rooms}
