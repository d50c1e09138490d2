"""The pages under docs/ name every option that there is."""

from __future__ import annotations

import dataclasses
import re

import pytest

from churnlib.config import DataConfig, PreprocessConfig, SplitConfig
from churnlib.config.data import ColumnConfig, EventsConfig, HistoryConfig, PseudonymConfig, SimulatorConfig
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
