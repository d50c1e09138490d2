"""At most one offer for each customer, within limits: beside all plans, an exact solver, and its bound."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from churnlib.planning.knapsack import LEAVE_ALONE, allocate


def drawn(rng: np.random.Generator, n: int, k: int, resources: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return gains, some impossible or negative, uses, and limits that bind more or less."""
    gain = rng.gamma(1.5, 40.0, (n, k)) - 20.0
    gain[rng.random((n, k)) < 0.2] = -np.inf
    use = rng.gamma(2.0, 10.0, (resources, n, k))
    if rng.random() < 0.3:
        use[0] = np.round(use[0], -1) + 1.0  # many offers of the same cost
    limits = use.max(axis=2).sum(axis=1) * rng.uniform(0.02, 0.7, resources)
    return gain, use, limits


def exactly(gain: np.ndarray, use: np.ndarray, limits: np.ndarray) -> float:
    """Return the most that can be gained: the whole problem as written, by branch and bound."""
    n, k = gain.shape
    worth = np.where(np.isfinite(gain), gain, -1.0).ravel()
    once = np.kron(np.eye(n), np.ones(k))
    rows = np.concatenate([use.reshape(len(limits), -1), once])
    most = np.concatenate([limits, np.ones(n)])
    found = milp(-worth, integrality=np.ones(n * k), bounds=(0, 1), constraints=LinearConstraint(rows, ub=most))
    return -found.fun


def check(gain: np.ndarray, use: np.ndarray, limits: np.ndarray, found) -> None:
    """Check what every plan must keep."""
    picked = np.flatnonzero(found.chosen != LEAVE_ALONE)
    own = gain[picked, found.chosen[picked]]
    assert (own > 0).all()
    assert found.gain == pytest.approx(own.sum())
    np.testing.assert_allclose(found.used, use[:, picked, found.chosen[picked]].sum(axis=1))
    assert (found.used <= limits + 1e-6 * (1 + np.where(np.isfinite(limits), limits, 0))).all()
    assert found.gain <= found.bound * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_all_plans_of_a_few_customers_tried_find_none_better(seed):
    rng = np.random.default_rng(seed)
    gain, use, limits = drawn(rng, 6, 3, 1 + seed % 2)
    found = allocate(gain, use, limits)
    check(gain, use, limits, found)
    best = 0.0
    for plan in itertools.product(range(-1, 3), repeat=6):
        picked = [(row, offer) for row, offer in enumerate(plan) if offer >= 0]
        rows, offers = np.array([p[0] for p in picked], dtype=int), np.array([p[1] for p in picked], dtype=int)
        if (use[:, rows, offers].sum(axis=1) <= limits).all():
            best = max(best, float(gain[rows, offers].sum()))
    assert found.gain >= best * (1 - 1e-4)


@pytest.mark.parametrize("seed", range(30))
def test_a_plan_is_within_a_thousandth_of_an_exact_solver(seed):
    rng = np.random.default_rng(100 + seed)
    n, k, resources = int(rng.integers(5, 80)), int(rng.integers(1, 7)), 1 + seed % 2
    gain, use, limits = drawn(rng, n, k, resources)
    found = allocate(gain, use, limits)
    check(gain, use, limits, found)
    best = exactly(gain, use, limits)
    assert found.gain >= best * 0.999 - 1e-9
    assert best <= found.bound * (1 + 1e-6)


def test_prices_alone_are_enough_where_customers_are_many():
    rng = np.random.default_rng(0)
    gain, use, limits = drawn(rng, 20_000, 6, 2)
    found = allocate(gain, use, limits, settle=False)
    check(gain, use, limits, found)
    assert found.gap < 1e-3 and not found.exact


def test_customers_who_are_all_alike_are_contacted_until_the_money_is_spent():
    found = allocate(np.full((1_000, 1), 5.0), np.full((1, 1_000, 1), 2.0), np.array([501.0]))
    assert (found.chosen >= 0).sum() == 250 and found.gap < 0.01


def test_limits_of_nothing_and_no_limits():
    gain, use = np.array([[3.0, -1.0], [2.0, 4.0]]), np.ones((1, 2, 2))
    assert (allocate(gain, use, np.array([0.0])).chosen == LEAVE_ALONE).all()
    free = allocate(gain, use, np.array([np.inf]))
    assert free.chosen.tolist() == [0, 1] and free.gain == 7.0 and free.gap == 0.0
    # What costs nothing is given even where there is no money.
    assert allocate(gain, np.zeros((1, 2, 2)), np.array([0.0])).chosen.tolist() == [0, 1]
    assert allocate(np.zeros((0, 2)), np.zeros((1, 0, 2)), np.array([5.0])).gain == 0.0
    assert (allocate(-gain[:, :1], use[:, :, :1], np.array([5.0])).chosen == LEAVE_ALONE).all()


def test_the_same_plan_comes_out_again():
    gain, use, limits = drawn(np.random.default_rng(3), 60, 4, 2)
    first, second = (allocate(gain, use, limits) for _ in range(2))
    assert first.chosen.tolist() == second.chosen.tolist()


def test_one_more_unit_of_money_gains_about_its_price():
    gain, use, limits = drawn(np.random.default_rng(5), 5_000, 3, 1)
    found, more = (allocate(gain, use, limits * scale) for scale in (1.0, 1.05))
    assert (more.gain - found.gain) / (0.05 * limits[0]) == pytest.approx(found.prices[0], rel=0.1)


def test_an_exact_solver_without_time_leaves_a_plan_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churnlib.planning.knapsack.MOST_SECONDS", 0.0)
    rng = np.random.default_rng(0)
    gain, use = rng.gamma(2.0, 10.0, (200, 3)), 1.0 + 0.01 * rng.random((1, 200, 3))
    plan = allocate(gain, use, np.array([40.4]))
    assert plan.used[0] <= 40.4 + 1e-9
    assert 0.95 * plan.bound <= plan.gain <= plan.bound + 1e-9
