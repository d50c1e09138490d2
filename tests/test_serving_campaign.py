"""The campaigns of ``scripts/campaign_serving.py`` at a small part of their length; docs say how to run them whole.

Nothing here asserts a latency: the figures belong to quiet machines.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from made import TINY_MLP, made_bundle, made_customers

from churnlib.bundle import write_bundle
from scripts import campaign_serving as campaigns

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc"),
]
PATIENCE = 30.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("campaign") / "bundle"
    write_bundle(made_bundle(network={**TINY_MLP, "_target_": "churnlib.models.mlp.PlainMLP"}), path)
    return path


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    read = made_customers(40).drop("churn", "customer").to_dicts()
    return [{**row, "joined": row["joined"].isoformat()} for row in read]


def held(result: campaigns.Result, *but: str) -> bool:
    """Whether every promise was held, but those that are about the machine's speed."""
    if result.skipped:
        pytest.skip(result.skipped)
    assert [sentence for sentence in result.broken if not any(word in sentence for word in but)] == []
    return True


@pytest.mark.parametrize(
    ("how", "words"),
    [("term", ["engine=worker"]), ("group", ["engine=inline", "processes=2"]), ("pid1", ["engine=inline"])],
)
def test_sigterm_loses_nothing(
    how: str, words: list[str], bundle: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert held(campaigns.end_under_load(bundle, rows, tmp_path, *words, how=how, times=2))


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("http", ["engine=inline", "workers=0"]),
        ("http", ["engine=worker", "processes=2"]),
        ("worker", ["engine=worker", "workers=2", "timeout=10"]),
    ],
)
def test_a_death_costs_its_own_requests(
    role: str, words: list[str], bundle: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    result = campaigns.kill_under_load(bundle, rows, tmp_path, *words, role=role, times=3, back_seconds=PATIENCE)
    assert held(result)


@pytest.mark.parametrize("rollback", [False, True])
def test_changes_of_the_model_cost_nothing(
    rollback: bool, bundle: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    words = ["engine=worker"] if rollback else ["engine=inline", "processes=2"]
    assert held(campaigns.reload_under_load(bundle, rows, tmp_path, *words, times=8, rollback=rollback))


def test_ten_times_the_capacity_is_refused_at_once(bundle: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    slow = campaigns.slow_bundle(bundle, tmp_path)
    words = ["engine=thread", "workers=0", "trust=slow_network", "backend=torch", "max_batch_size=1", "max_wait=0.03"]
    result = campaigns.overload(slow, rows, tmp_path, *words, seconds=6.0, back_seconds=PATIENCE)
    assert held(result, "p99", "an answer took")


def test_half_the_capacity_leaves_memory_and_descriptors_as_they_are(
    bundle: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    result = campaigns.soak(bundle, rows, tmp_path, "engine=inline", "workers=0", minutes=0.2, every=0.2)
    assert held(result, "the memory")  # which caches still fill in the first seconds


def test_strange_requests_are_answered(bundle: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    assert held(
        campaigns.fuzz(bundle, tmp_path, "engine=inline", "workers=0", f"record={tmp_path / 'records'}", requests=200)
    )
    assert held(campaigns.wire(bundle, rows, tmp_path, "engine=inline", "workers=0", mutations=200))
