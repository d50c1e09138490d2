"""The pages under docs/ name every option that there is."""

from __future__ import annotations

import dataclasses
import re

import pytest

from churnlib.config import DataConfig, PreprocessConfig, SplitConfig, baselines, losses, networks, optimizers, training
from churnlib.config.data import ColumnConfig, EventsConfig, HistoryConfig, PseudonymConfig, SimulatorConfig
from churnlib.config.files import FileOptions
from churnlib.config.reporting import CardConfig, ReportingConfig
from churnlib.data.steps.registry import STEPS, step_class


def pages(checkout) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((checkout / "docs").glob("*.md")))


@pytest.mark.parametrize("word", STEPS)
def test_every_step_is_in_a_table_with_its_options(word, checkout):
    rows = [line for line in pages(checkout).splitlines() if line.startswith("|") and f"`{word}`" in line.split("|")[1]]
    known = {field.name for field in dataclasses.fields(step_class(word))} - {"always", "rows"}  # said above the table
    assert rows and not {name for name in known if not re.search(rf"\b{name}\b", " ".join(rows))}


@pytest.mark.parametrize(
    ("schema", "prefix"),
    [
        (DataConfig, "data."),
        (SimulatorConfig, "data."),
        (SplitConfig, "split."),
        (PreprocessConfig, "preprocess."),
        (ReportingConfig, "reporting."),
        (CardConfig, "card."),
    ],
)
def test_every_option_of_a_group_is_documented(schema, prefix, checkout):
    text = pages(checkout)
    assert not {field.name for field in dataclasses.fields(schema) if f"{prefix}{field.name}" not in text}


@pytest.mark.parametrize("schema", [ColumnConfig, EventsConfig, HistoryConfig, PseudonymConfig])
def test_every_option_of_a_part_is_named(schema, checkout):
    text = pages(checkout)
    assert not {field.name for field in dataclasses.fields(schema) if f"`{field.name}`" not in text}


LEARNING = [
    *(part for module in (networks, baselines, optimizers, losses) for part in vars(module).values()),
    *(training.TrainerConfig, training.PretrainConfig, training.AugmentConfig),
]
"""Schemas of models and of how they learn, among other names."""


@pytest.mark.parametrize(
    "schema", [part for part in LEARNING if dataclasses.is_dataclass(part)], ids=lambda s: s.__name__
)
def test_every_option_of_a_model_and_of_learning_is_on_its_page(schema, checkout):
    page = (checkout / "docs" / "training.md").read_text(encoding="utf-8")
    beside = {"_target_", "name", *(field.name for field in dataclasses.fields(FileOptions))}  # data/sources have these
    names = {field.name for field in dataclasses.fields(schema)} - (beside - {"path"})
    assert not {name for name in names if not re.search(rf"`(?:\w+)?\.?{name}[`=]", page)}


def test_every_model_and_group_of_learning_is_on_its_page(checkout):
    page = (checkout / "docs" / "training.md").read_text(encoding="utf-8")
    for path in (checkout / "conf" / "model").glob("*.yaml"):
        assert re.search(rf"`(?:model=)?{path.stem}`", page), path.stem
    for group in ("loss", "optimizer", "scheduler"):
        for path in (checkout / "conf" / group).glob("*.yaml"):
            assert re.search(rf"`(?:{group}=)?{path.stem}`", page), path.stem
