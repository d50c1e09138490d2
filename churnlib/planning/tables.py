"""What a plan says of each customer, and of all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnlib.planning.economics import Economics, pareto
from churnlib.planning.knapsack import Allocation
from churnlib.planning.uncertainty import Uncertainty, interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALONE = "leave alone"
"""Name of no offer."""

OFFERED = "gains most within the limits"
UNSCORED = "cannot be scored"
WORTHLESS = "has no positive value"
IMPOSSIBLE = "no offer can be made"
UNPROFITABLE = "no offer is expected to gain anything"
BEYOND = "beyond the budget or the capacity"
"""Why a customer is made the offer, or none."""

OPTION = pl.Struct(
    {
        "offer": pl.String(),
        "expected_cost": pl.Float64(),
        "churn_probability": pl.Float64(),
        "expected_gain": pl.Float64(),
        "gain_low": pl.Float64(),
        "gain_high": pl.Float64(),
        "causal": pl.Boolean(),
    }
)
"""An offer on a customer's front of cost and risk."""


def customer_table(
    ids: pl.Series, money: Economics, chosen: Ints, uncertainty: Uncertainty, causal: NDArray[np.bool_]
) -> pl.DataFrame:
    """Return one row per customer: what is at stake, the offer, and the offers on the front.

    Args:
        ids: Names of the customers.
        money: Costs and gains.
        chosen: ``(n,)`` offers, -1 for none.
        uncertainty: Of the gains.
        causal: ``(k,)`` whether an experiment backs each offer.
    """
    answers = money.answers
    rows = np.flatnonzero(chosen >= 0)
    offer = chosen[rows]
    low, high = _ends(money, rows, offer, uncertainty)
    scored = np.isfinite(answers.risk)
    names = [one.name for one in money.offers]
    labels = [one.label for one in money.offers]

    def cells(values: Floats | float, alone: float) -> pl.Series:
        """Return what holds for the chosen offers, and what for customers who are left alone."""
        full = np.where(scored, alone, np.nan)
        full[rows] = values
        return pl.Series(full).fill_nan(None)

    after = np.where(scored, answers.risk, np.nan)
    after[rows] = money.risk_after[rows, offer]
    backed = np.zeros(len(chosen), dtype=bool)
    backed[rows] = causal[offer]
    return pl.DataFrame(
        {
            "customer_id": ids,
            "churn_probability": pl.Series(answers.risk).fill_nan(None),
            "value": pl.Series(answers.value).fill_nan(None),
            "value_at_risk": pl.Series(answers.risk * answers.value).fill_nan(None),
            "offer": pl.Series([ALONE if place < 0 else names[place] for place in chosen.tolist()], dtype=pl.String),
            "offer_label": pl.Series(
                [None if place < 0 else labels[place] for place in chosen.tolist()], dtype=pl.String
            ),
            "because": _because(money, chosen),
            "churn_probability_with_offer": pl.Series(after).fill_nan(None),
            "expected_cost": cells(money.cost[rows, offer], 0.0),
            "cost_if_accepted": cells(answers.cost_taken[rows, offer] + money.contact[offer], 0.0),
            "expected_gain": cells(money.gain[rows, offer], 0.0),
            "gain_low": cells(low, 0.0),
            "gain_high": cells(high, 0.0),
            "causal": pl.Series(backed),
            "options": _options(money, uncertainty, causal),
        }
    )


def _because(money: Economics, chosen: Ints) -> pl.Series:
    """Say why each customer is made the offer, or none."""
    able = money.answers.possible.any(axis=1)
    pays = (np.nan_to_num(money.gain, nan=-np.inf) > 0).any(axis=1)
    cases = [
        (chosen >= 0, OFFERED),
        (~np.isfinite(money.answers.risk), UNSCORED),
        (~able, IMPOSSIBLE),
        (~(money.answers.value > 0) & ~pays, WORTHLESS),
        (~pays, UNPROFITABLE),
    ]
    said = np.select([test for test, _ in cases], [word for _, word in cases], default=BEYOND)
    return pl.Series("because", said.astype(object), dtype=pl.String)


def _ends(money: Economics, rows: Ints, offer: Ints, uncertainty: Uncertainty) -> tuple[Floats, Floats]:
    """Return the ends of the intervals of some gains."""
    gradient = money.gradient(rows, offer, len(uncertainty.covariance))
    deviation = uncertainty.deviation(gradient, money.member_deviation(rows, offer))
    return interval(money.gain[rows, offer], deviation)


def _options(money: Economics, uncertainty: Uncertainty, causal: NDArray[np.bool_]) -> pl.Series:
    """Return each customer's front: leaving him alone, then offers from cheap to dear, each with less risk."""
    risk, after = money.answers.risk, money.risk_after
    rows, offer = np.nonzero(pareto(money.cost, after, alone=risk))
    low, high = _ends(money, rows, offer, uncertainty)
    scored = np.flatnonzero(np.isfinite(risk))
    names = np.array([one.name for one in money.offers], dtype=object)
    none, zeros = np.full(len(scored), ALONE, dtype=object), np.zeros(len(scored))
    columns = {
        "offer": (none, names[offer]),
        "expected_cost": (zeros, money.cost[rows, offer]),
        "churn_probability": (risk[scored], after[rows, offer]),
        "expected_gain": (zeros, money.gain[rows, offer]),
        "gain_low": (zeros, low),
        "gain_high": (zeros, high),
        "causal": (np.zeros(len(scored), dtype=bool), causal[offer]),
    }
    cells = {
        name: pl.Series(name, np.concatenate(parts), dtype=dtype)
        for (name, parts), dtype in zip(columns.items(), (field.dtype for field in OPTION.fields), strict=True)
    }
    # Leaving alone first, though an offer that costs nothing is as cheap.
    flat = pl.DataFrame({"row": np.concatenate([scored, rows]), **cells}).with_columns(
        pl.Series("first", np.concatenate([np.zeros(len(scored)), np.ones(len(rows))]))
    )
    flat = flat.sort("row", "first", "expected_cost", maintain_order=True)
    listed = flat.group_by("row", maintain_order=True).agg(pl.struct(list(columns)).alias("options"))
    every = pl.DataFrame({"row": np.arange(len(risk))}).join(listed, on="row", how="left", maintain_order="left")
    return every["options"].cast(pl.List(OPTION))


def plan_summary(
    money: Economics,
    found: Allocation,
    uncertainty: Uncertainty,
    *,
    causal: NDArray[np.bool_],
    limits: Mapping[str, float | None],
    currency: str | None,
    cautions: Sequence[str],
) -> dict[str, Any]:
    """Return what a plan comes to, JSON-ready.

    Args:
        money: Costs and gains.
        found: The chosen offers.
        uncertainty: Of the gains.
        causal: ``(k,)`` whether an experiment backs each offer.
        limits: Budget and capacity, None for no limit.
        currency: Unit of all amounts.
        cautions: Sentences on what the figures do not rest on.
    """
    answers = money.answers
    scored = np.isfinite(answers.risk)
    chosen = np.flatnonzero(found.chosen >= 0)
    at_risk = answers.risk * answers.value
    because = _because(money, found.chosen).value_counts(sort=True)
    return {
        "customers": len(answers.risk),
        "scored": int(scored.sum()),
        "currency": currency,
        "limits": dict(limits),
        "expected_churners": float(answers.risk[scored].sum()),
        "value_at_risk": float(at_risk[np.isfinite(at_risk)].sum()),
        "total": total_of(money, chosen, found.chosen[chosen], uncertainty),
        "offers": {
            one.name: {
                "label": one.label,
                "causal": bool(causal[place]),
                "possible": int(answers.possible[:, place].sum()),
                **total_of(money, *_those(found.chosen, place), uncertainty),
            }
            for place, one in enumerate(money.offers)
        },
        "because": dict(because.iter_rows()),
        "solution": {
            "gap": found.gap,
            "bound": found.bound,
            "exact": found.exact,
            "gain_of_one_more": {"budget": float(found.prices[0]), "capacity": float(found.prices[1])},
        },
        "intervals": {
            "confidence": 0.95,
            "cover": list(uncertainty.covers),
            "leave_out": "whether offers do what the model says (causal: false), and the luck of who really leaves",
        },
        "cautions": list(cautions),
    }


def _those(chosen: Ints, place: int) -> tuple[Ints, Ints]:
    rows = np.flatnonzero(chosen == place)
    return rows, np.full(len(rows), place)


def total_of(money: Economics, rows: Ints, offer: Ints, uncertainty: Uncertainty) -> dict[str, Any]:
    """Return what some offers come to together; errors that are common to all customers are added up."""
    gradient = money.gradient(rows, offer, len(uncertainty.covariance)).sum(axis=1)
    # The models of an ensemble may err about all customers alike: the most that their differences can come to.
    spread = float(money.member_deviation(rows, offer).sum())
    gain = float(money.gain[rows, offer].sum())
    low, high = interval(gain, uncertainty.deviation(gradient, spread))
    cost_taken = money.answers.cost_taken[rows, offer] + money.contact[offer]
    return {
        "offers": len(rows),
        "expected_gain": gain,
        "gain_low": float(low),
        "gain_high": float(high),
        "expected_cost": float(money.cost[rows, offer].sum()),
        "cost_if_all_accept": float(cost_taken.sum()),
        "effort": float(money.effort[offer].sum()),
        "churn_prevented": float(money.prevented[rows, offer].sum()),
    }


__all__ = ["ALONE", "OPTION", "customer_table", "plan_summary", "total_of"]
