"""The check of parity, at a small part of its size; the script's own words say how to run it whole."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from made_served import served_bundle

from churnlib.bundle import write_bundle
from churnlib.exporting.onnx import exported
from scripts.check_serving_parity import compared, main
from scripts.serving_ways import Said


def test_a_difference_a_decision_and_a_refusal_are_found() -> None:
    reference = Said(np.array([[0.2], [0.5 + 1e-7], [0.9]]), [0, 1, 1])
    found = compared("same", Said(reference.probabilities + 5e-7, [0, 0, 1]), reference, 0.5)
    assert found.holds and (found.customers, found.near, found.other) == (3, 1, 0)
    assert not compared("far", Said(reference.probabilities + 2e-6, [0, 1, 1]), reference, 0.5).holds
    assert not compared("other", Said(reference.probabilities, [0, 1, 0]), reference, 0.5).holds
    assert not compared("refused", Said(np.array([[np.nan]]), [None]), reference, 0.5).holds


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_all_ways_but_other_engines_say_the_same(classes: int, tmp_path: Path) -> None:
    made = served_bundle(classes)
    write_bundle(dataclasses.replace(made, onnx=exported(made)), tmp_path / "bundle")
    told = tmp_path / "found.json"
    assert main([f"bundle={tmp_path / 'bundle'}", "rows=300", "engines=inline", f"json={told}"]) == 0
    ways = {each["way"]: each["customers"] for each in json.loads(told.read_text())}
    assert len(ways) == 8 and ways["inline, alone"] == 200 < ways["inline, columns"]
