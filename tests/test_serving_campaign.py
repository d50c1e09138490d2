"""The campaigns of ``scripts/campaign_serving.py`` at a small part of their length; docs say how to run them whole.

Nothing here asserts a latency: the figures belong to quiet machines.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made import TINY_MLP, made_bundle, made_customers

from churnlib.bundle import write_bundle
from churnlib.exporting.onnx import exported
from scripts.campaigns.ending import end_under_load
from scripts.campaigns.killing import kill_under_load
from scripts.campaigns.overloading import overload, slow_setting
from scripts.campaigns.reloading import reload_under_load
from scripts.campaigns.results import Result
from scripts.campaigns.servers import Setting
from scripts.campaigns.soaking import soak
from scripts.campaigns.strange import fuzz, wire

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc"),
]
PATIENCE = 30.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("campaign") / "bundle"
    made = made_bundle(network={**TINY_MLP, "_target_": "churnlib.models.mlp.PlainMLP"})
    write_bundle(replace(made, onnx=exported(made)), path)  # starts in a third of the time that torch needs
    return path


@pytest.fixture
def setting(bundle: Path, tmp_path: Path) -> Setting:
    read = made_customers(40).drop("churn", "customer").to_dicts()
    return Setting(bundle, [{**row, "joined": row["joined"].isoformat()} for row in read], tmp_path, ("spares=0",))


def held(result: Result, *but: str) -> bool:
    """Whether every promise was held, but those that are about the machine's speed."""
    if result.skipped:
        pytest.skip(result.skipped)
    assert [sentence for sentence in result.broken if not any(word in sentence for word in but)] == []
    return True


@pytest.mark.parametrize(
    ("how", "words"),
    [("term", ["engine=worker"]), ("group", ["engine=inline", "processes=2"]), ("pid1", ["engine=inline"])],
)
def test_sigterm_loses_nothing(how: str, words: list[str], setting: Setting) -> None:
    assert held(end_under_load(setting.and_words(*words), how=how, times=2))


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("http", ["engine=inline", "workers=0", "spares=1"]),
        ("http", ["engine=worker", "processes=2"]),
        ("worker", ["engine=worker", "workers=2", "timeout=10"]),
    ],
)
def test_a_death_costs_its_own_requests(role: str, words: list[str], setting: Setting) -> None:
    result = kill_under_load(setting.and_words(*words), role=role, times=3, back_seconds=PATIENCE)
    assert held(result)


@pytest.mark.parametrize("rollback", [False, True])
def test_changes_of_the_model_cost_nothing(rollback: bool, setting: Setting) -> None:
    served = setting.and_words(f"engine={'worker' if rollback else 'inline'}", "processes=2", "timeout=10")
    assert held(reload_under_load(served, times=2 if rollback else 4, rollback=rollback))


def test_ten_times_the_capacity_is_refused_at_once(setting: Setting) -> None:
    slow = slow_setting(setting.and_words("engine=thread", "workers=0"))
    result = overload(slow, seconds=3.0, back_seconds=PATIENCE)
    assert held(result, "p99", "an answer took")


def test_half_the_capacity_leaves_memory_and_descriptors_as_they_are(setting: Setting) -> None:
    result = soak(setting.and_words("engine=inline", "workers=0"), minutes=0.1, every=0.1)
    assert held(result, "the memory")  # which caches still fill in the first seconds


def test_strange_requests_are_answered(setting: Setting) -> None:
    served = setting.and_words("engine=inline", "workers=0")
    assert held(fuzz(served.and_words(f"record={setting.folder / 'records'}"), requests=200))
    assert held(wire(served, mutations=200))
