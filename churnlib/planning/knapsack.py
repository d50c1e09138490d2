"""At most one offer for each customer, so that the campaign gains most within a budget and a team's hours.

A multiple-choice knapsack. A price on each limited resource (its Lagrange multiplier) takes the customers apart: each
gets the offer with the largest gain left after paying the prices. The prices that make the sum smallest bound from
above what any plan can gain; they are found by cutting planes, a pass over all offers for each. What they suggest is
made to fit, what is left over is filled up greedily, and where the bound shows that this might not be enough, the few
customers whose offer is still in doubt are settled by an exact solver.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAVE_ALONE = -1
"""Chosen for a customer who gets no offer."""

CLOSE = 1e-4
"""Largest share of the bound by which a plan may lie below it without customers in doubt being settled exactly."""

MOST_CORE = 20_000
"""Offers to customers in doubt that the exact solver is given; where there are more, the bound is close anyway."""

MOST_NODES = 2_000
"""Of the exact solver's search: by number, so that a plan is the same on every machine."""

MOST_SECONDS = 10.0
"""Of the exact solver all the same: where offers cost nearly alike it can spend minutes before its first node."""

MOST_CUTS = 80
PASSES = 20


@dataclass(frozen=True, slots=True)
class Allocation:
    """Who gets what.

    Attributes:
        chosen: ``(n,)`` int64 number of each customer's offer, :data:`LEAVE_ALONE` for none.
        gain: Of all chosen offers together.
        used: ``(R,)`` of each resource.
        bound: Gain that no plan exceeds.
        prices: ``(R,)`` what one more unit of each resource would gain, nearly.
        exact: Whether customers in doubt were settled by the exact solver.
    """

    chosen: Ints
    gain: float
    used: Floats
    bound: float
    prices: Floats
    exact: bool = False

    @property
    def gap(self) -> float:
        """Share of the bound by which the plan lies below it, at most; 0 for the best plan."""
        return max(0.0, 1.0 - self.gain / self.bound) if self.bound > 0 else 0.0


def allocate(gain: Floats, use: Floats, limits: Floats, *, settle: bool = True) -> Allocation:
    """Choose at most one offer for each customer.

    Args:
        gain: ``(n, k)`` of each offer to each customer; ``-inf`` or NaN where it cannot be made. An offer that gains
            nothing is never chosen.
        use: ``(R, n, k)`` of each resource, at least 0 where the offer can be made.
        limits: ``(R,)`` of each resource, at least 0; infinite for no limit.
        settle: Whether customers in doubt may be settled by the exact solver.

    >>> allocate(np.array([[6.0, 9.0], [5.0, 1.0]]), np.array([[[1.0, 2.0], [1.0, 1.0]]]), np.array([2.0])).chosen
    array([0, 0])
    """
    worth = np.where(np.isfinite(gain) & (gain > 0), gain, 0.0)
    for resource, limit in zip(use, limits, strict=True):
        worth[~(resource <= limit)] = 0.0  # nobody can be made this offer, whoever else gets none
    scarce = [place for place, limit in enumerate(limits) if np.isfinite(limit)]
    spent = np.where(worth > 0, use[scarce], 0.0)
    limited = np.asarray(limits, dtype=np.float64)[scarce]
    prices, bound = _prices(worth, spent, limited)
    chosen = _fill(worth, spent, limited, _fit(worth, spent, limited, prices), prices)
    exact = False
    if settle and _gain(worth, chosen) < (1.0 - CLOSE) * bound:
        settled = _settle(worth, spent, limited, prices, bound, chosen)
        exact = settled is not None
        chosen = chosen if settled is None else settled
    every = np.zeros(len(limits))
    every[scarce] = prices
    picked = np.flatnonzero(chosen >= 0)
    used = np.array([float(resource[picked, chosen[picked]].sum()) for resource in use])
    return Allocation(chosen, _gain(worth, chosen), used, max(bound, _gain(worth, chosen)), every, exact)


def _gain(worth: Floats, chosen: Ints) -> float:
    picked = np.flatnonzero(chosen >= 0)
    return float(worth[picked, chosen[picked]].sum())


# --- prices ---------------------------------------------------------------------------------------------------------


def _best(worth: Floats, spent: Floats, prices: Floats) -> tuple[Ints, Floats]:
    """Return each customer's best offer at these prices, none where none pays, and what is left of its gain."""
    left = worth - np.tensordot(prices, spent, axes=1) if len(prices) else worth
    chosen = left.argmax(axis=1)
    kept = left[np.arange(len(left)), chosen]
    return np.where(kept > 0, chosen, LEAVE_ALONE), np.maximum(kept, 0.0)


def _used(spent: Floats, chosen: Ints) -> Floats:
    picked = np.flatnonzero(chosen >= 0)
    return spent[:, picked, chosen[picked]].sum(axis=1)


def _prices(worth: Floats, spent: Floats, limits: Floats) -> tuple[Floats, float]:
    """Return the prices at which the bound is smallest, and the bound: Kelley's cutting planes.

    The bound is convex in the prices, and a pass at some prices gives its value and its slope there: the limits minus
    what the offers chosen at these prices use. The lowest point of all such planes is where to look next.
    """
    from scipy.optimize import linprog

    n_prices = len(limits)
    if worth.size == 0:
        return np.zeros(n_prices), 0.0
    best_prices, bound = np.zeros(n_prices), np.inf
    # Beyond these prices no offer pays.
    highest = [_steepest(worth, resource) for resource in spent]
    prices = np.zeros(n_prices)
    planes: list[Floats] = []
    heights: list[float] = []
    for _ in range(MOST_CUTS):
        chosen, kept = _best(worth, spent, prices)
        slope = limits - _used(spent, chosen)
        value = float(kept.sum() + prices @ limits)
        if value < bound:
            best_prices, bound = prices, value
        if not n_prices or (not prices.any() and (slope >= 0).all()):
            break  # nothing is scarce
        planes.append(np.append(slope, -1.0))
        heights.append(float(slope @ prices) - value)
        lowest = linprog(
            np.append(np.zeros(n_prices), 1.0),
            A_ub=np.stack(planes),
            b_ub=np.array(heights),
            bounds=[*((0.0, high) for high in highest), (None, None)],
        )
        if lowest.x is None or bound - lowest.x[-1] <= 1e-9 * max(abs(bound), 1.0):
            break
        prices = np.asarray(lowest.x[:-1])
    return best_prices, bound


def _steepest(worth: Floats, resource: Floats) -> float:
    pays = (worth > 0) & (resource > 0)
    return float((worth[pays] / resource[pays]).max()) if pays.any() else 0.0


# --- a plan that fits -----------------------------------------------------------------------------------------------


def _fit(worth: Floats, spent: Floats, limits: Floats, prices: Floats) -> Ints:
    """Return the offers that the prices suggest, without as many as do not fit: those that lose least go first."""
    # A little above the prices, who is as well off with less takes less.
    chosen, kept = _best(worth, spent, prices * (1.0 + 1e-9))
    for place in range(len(limits)):
        over = float(_used(spent, chosen)[place] - limits[place])
        if over <= _slack(limits[place]):
            continue
        users = np.flatnonzero(chosen >= 0)
        takes = spent[place, users, chosen[users]]
        users, takes = users[takes > 0], takes[takes > 0]
        order = np.argsort(kept[users] / takes, kind="stable")
        stop = int(np.searchsorted(np.cumsum(takes[order]), over - _slack(limits[place]))) + 1
        chosen[users[order[:stop]]] = LEAVE_ALONE
    return chosen


def _fill(worth: Floats, spent: Floats, limits: Floats, chosen: Ints, prices: Floats) -> Ints:
    """Return the plan with what is left over spent: the best offers for what they use first, as long as one fits."""
    chosen = chosen.copy()
    if not worth.size:
        return chosen
    rows = np.arange(len(worth))
    scale = np.where(limits > 0, 1.0 / np.where(limits > 0, limits, 1.0), 0.0) * max(worth.max(initial=0.0), 1e-300)
    for _ in range(PASSES):
        left = limits - _used(spent, chosen)
        place = np.maximum(chosen, 0)
        now = np.where(chosen >= 0, worth[rows, place], 0.0)
        taken = np.where(chosen >= 0, spent[:, rows, place], 0.0)
        more, extra = worth - now[:, None], spent - taken[:, :, None]
        fits = (extra <= (left + _slack(limits))[:, None, None]).all(axis=0) & (more > 1e-12 * (1.0 + now[:, None]))
        customers = np.flatnonzero(fits.any(axis=1))
        if not len(customers):
            break
        weight = np.maximum(np.tensordot(prices + 1e-9 * scale, extra[:, customers], axes=1), 0.0)
        rate = np.where(fits[customers], more[customers] / (weight + 1e-12), -np.inf)
        offer = rate.argmax(axis=1)
        order = np.argsort(-rate[np.arange(len(customers)), offer], kind="stable")
        customers, offer = customers[order], offer[order]
        steps = extra[:, customers, offer]
        taken_by = np.cumsum(steps, axis=1) <= (left + _slack(limits))[:, None]
        prefix = taken_by.all(axis=0)
        stop = prefix.size if prefix.all() else int(prefix.argmin())
        chosen[customers[: max(stop, 1)]] = offer[: max(stop, 1)]  # the first one fits by itself
    return chosen


def _slack(limits: Floats | float) -> Floats:
    """Return by how much sums may exceed a limit for rounding's sake."""
    return 1e-9 * (1.0 + np.abs(np.asarray(limits, dtype=np.float64)))


# --- customers in doubt ---------------------------------------------------------------------------------------------


def _settle(worth: Floats, spent: Floats, limits: Floats, prices: Floats, bound: float, chosen: Ints) -> Ints | None:
    """Return the plan with the offers in doubt chosen exactly; None if there are too many of them.

    An offer that loses more at these prices than the plan lies below the bound is in no better plan, and the other way
    round: a customer of whom only one choice is not is settled.
    """
    gap = bound - _gain(worth, chosen)
    reduced = worth - np.tensordot(prices, spent, axes=1)
    best = np.maximum(reduced.max(axis=1), 0.0)
    possible = (best[:, None] - reduced <= gap * (1 + 1e-9)) & (worth > 0)
    alone = best <= gap * (1 + 1e-9)
    doubtful = possible.sum(axis=1) + alone > 1
    settled = np.where(alone, LEAVE_ALONE, np.where(possible.any(axis=1), possible.argmax(axis=1), LEAVE_ALONE))
    core = np.flatnonzero(doubtful)
    which, offer = np.nonzero(possible[core])
    if not core.size or len(which) > MOST_CORE:
        return None
    found = settled.copy()
    found[core] = LEAVE_ALONE
    left = limits - _used(spent, found)
    picked = _exact(worth[core[which], offer], spent[:, core[which], offer], left, which, len(core))
    if picked is None:
        return None
    found[core[which[picked]]] = offer[picked]
    found = _fill(worth, spent, limits, found, prices)
    fits = (_used(spent, found) <= limits + _slack(limits)).all()
    return found if fits and _gain(worth, found) > _gain(worth, chosen) else None


def _exact(gain: Floats, use: Floats, left: Floats, customer: Ints, n: int) -> Ints | None:
    """Return the places of the best offers, at most one of each customer: HiGHS' branch and bound."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, vstack

    once = csr_array((np.ones(len(customer)), (customer, np.arange(len(customer)))), shape=(n, len(customer)))
    rows = vstack([csr_array(use), once])
    most = np.concatenate([np.maximum(left, 0.0), np.ones(n)])
    with unheard():
        found = milp(
            -gain,
            integrality=np.ones(len(gain)),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(rows, -np.inf, most),  # pyright: ignore[reportArgumentType]
            options={"node_limit": MOST_NODES, "time_limit": MOST_SECONDS, "mip_rel_gap": CLOSE / 10},
        )
    return None if found.x is None else np.flatnonzero(found.x > 0.5)


@contextmanager
def unheard() -> Iterator[None]:
    """Keep HiGHS from writing to the terminal: it leaves a line for some solutions, whatever it is told."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


__all__ = ["LEAVE_ALONE", "Allocation", "allocate", "unheard"]
