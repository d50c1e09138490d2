"""MPC, EMPC, EMPB and AUEPC, checked against the published test vectors, empulse and numerical integration."""

from __future__ import annotations

import numpy as np
import pytest
from empulse.metrics import auepc_score, empb_score, empc_score, mpc_score
from scipy.integrate import quad
from scipy.stats import beta as beta_distribution

from churnlib.errors import ConfigError
from churnlib.evaluation import (
    Campaign,
    auepc,
    empb,
    empc,
    expected_gains,
    mpc,
    payoffs,
    profit_curve,
    share_curves,
    value_thresholds,
)
from churnlib.evaluation.binary import PROFIT, BinaryRows

EIGHT = [0, 1, 0, 1, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 0.9]


def thousand() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    score = rng.random(1000)
    return (rng.random(1000) < score).astype(np.int64), score


@pytest.mark.parametrize(
    ("rows", "campaign", "profit", "share", "best"),
    [
        (EIGHT, Campaign(), 23.875593418348124, 0.8743700763487141, (23.875, 0.875)),
        (thousand(), Campaign(), 25.12707469438607, 0.8405332639149958, (25.078, 0.857)),
        (thousand(), Campaign(value=100, offer_cost=30, contact_cost=5), 3.095574339994184, 0.31467598820310355,
         (2.75, None)),
    ],
)  # fmt: skip
def test_the_known_cases(rows, campaign: Campaign, profit: float, share: float, best: tuple):
    found = empc(*rows, campaign)
    assert (found.profit, found.share) == pytest.approx((profit, share), abs=1e-9)
    deterministic = mpc(*rows, campaign)
    assert deterministic.profit == pytest.approx(best[0], abs=1e-9)
    assert best[1] is None or deterministic.share == pytest.approx(best[1], abs=1e-9)


@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("costs", [(200, 10, 1, 6, 14), (100, 30, 5, 2, 3), (50, 0, 0, 1, 1), (900, 1, 20, 8, 2)])
def test_empc_is_the_integral_of_the_best_profit(costs: tuple, decimals: int):
    value, offer, contact, alpha, beta = costs
    label, score = thousand()
    label, score = label[:120], score[:120].round(decimals)
    campaign = Campaign(value=value, offer_cost=offer, contact_cost=contact, alpha=alpha, beta=beta)
    cuts = [np.inf, *np.unique(score)]
    tp = np.array([(label[score >= cut] == 1).sum() for cut in cuts]) / len(label)
    fp = np.array([(label[score >= cut] == 0).sum() for cut in cuts]) / len(label)

    def best(gamma: float) -> float:
        profit = (gamma * (value - offer) - contact) * tp - (offer + contact) * fp
        return float(profit.max() * beta_distribution.pdf(gamma, alpha, beta))

    expected = quad(best, 0, 1, limit=500, epsabs=1e-6)[0]
    assert empc(label, score, campaign).profit == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("decimals", [1, 9])
def test_all_four_agree_with_empulse(decimals: int):
    label, score = thousand()
    score = score.round(decimals)
    value = np.random.default_rng(1).lognormal(5, 1, len(label))
    assert empc(label, score).profit == pytest.approx(empc_score(label, score), abs=1e-9)
    assert empc(label, score).share == pytest.approx(empc_score.optimal_rate(label, score), abs=1e-9)
    assert mpc(label, score).profit == pytest.approx(mpc_score(label, score), abs=1e-9)
    campaign = Campaign(offer_share=0.05, contact_cost=15)
    found = empb(label, score, value, campaign)
    assert found.profit == pytest.approx(empb_score(label, score, clv=value), rel=1e-9)
    assert found.share == pytest.approx(empb_score.optimal_rate(label, score, clv=value), abs=1e-12)
    assert auepc(label, score, value, campaign) == pytest.approx(auepc_score(label, score, clv=value), rel=1e-9)


def test_with_one_value_for_all_individual_profit_is_the_mpc():
    label, score = thousand()
    assert empb(label, score) == pytest.approx(mpc(label, score))
    assert empb(label, score, np.full(1000, 200.0)) == pytest.approx(mpc(label, score))


def test_a_known_acceptance_needs_no_integral():
    label, score = thousand()
    known = Campaign(acceptance=0.3)
    assert empc(label, score, known)[:2] == mpc(label, score, known)[:2]
    nearly = Campaign(alpha=3e6, beta=7e6)
    assert empc(label, score, nearly).profit == pytest.approx(mpc(label, score, known).profit, rel=1e-4)


def test_profit_is_what_the_campaign_costs_and_brings_counted_by_hand():
    campaign = Campaign(value=100, offer_cost=20, contact_cost=5, acceptance=0.5)
    # a churner takes the offer every other time: 0.5 * 80 - 5; a stayer takes it always: -25
    assert payoffs([1, 0], 100, campaign).tolist() == [35.0, -25.0]
    found = mpc([1, 0, 1, 0], [0.9, 0.7, 0.5, 0.1], campaign)
    assert found == (pytest.approx((35 - 25 + 35) / 4), 0.75, 0.5)
    assert profit_curve([1, 0, 1, 0], [0.9, 0.7, 0.5, 0.1], [0, 0.25, 0.5, 1], campaign=campaign).tolist() == [
        0.0, 8.75, 2.5, 5.0,
    ]  # fmt: skip


def test_a_customer_is_worth_contacting_from_his_own_threshold_on():
    campaign = Campaign()
    assert value_thresholds(200.0, campaign) == pytest.approx(11 / 67)  # not one half
    value = np.array([30.0, 80.0, 200.0, 5000.0])
    threshold = value_thresholds(value, campaign)
    assert expected_gains(threshold.clip(0, 1), value, campaign)[1:] == pytest.approx([0, 0, 0], abs=1e-9)
    assert (expected_gains(threshold + 1e-6, value, campaign)[1:] > 0).all()
    assert (np.diff(threshold) < 0).all()
    truth = (np.random.default_rng(0).random((2, 100_000)) < [[0.2], [0.6]]).astype(int)  # gains are mean payoffs
    for p, label in zip((0.2, 0.6), truth, strict=True):
        expected = expected_gains([p], 200, campaign)[0]
        assert payoffs(label, 200, campaign).mean() == pytest.approx(expected, abs=0.5)


def test_customers_of_negative_or_no_value_are_left_alone():
    assert value_thresholds([-50.0, 0.0, 11.0], Campaign()).tolist() == [np.inf] * 3
    assert (expected_gains([1.0, 1.0], [-50.0, 0.0], Campaign()) < 0).all()
    label, score = thousand()
    for campaign in (Campaign(value=-10), Campaign(value=0), Campaign(value=10, offer_cost=10)):
        assert empc(label, score, campaign)[:2] == (0.0, 0.0)
        assert mpc(label, score, campaign) == (0.0, 0.0, None)
    assert empb(label, score, np.full(1000, -5.0)) == (0.0, 0.0, None)
    assert auepc(label, score, np.full(1000, -5.0)) is None
    value = np.where(score > 0.9, -1000.0, 500.0)  # those at the top cost more than they bring
    found = empb(label, score, value)
    assert found.profit >= 0 and (auepc(label, score, value) or 0) < 0
    assert Campaign(offer_share=0.1).offers([-50.0, 50.0]).tolist() == [0.0, 5.0]


@pytest.mark.parametrize(("label", "profit"), [([0, 0, 0], 0.0), ([1, 1, 1], 56.0)])
def test_rows_of_one_class_are_contacted_all_or_none(label: list, profit: float):
    assert mpc(label, [0.1, 0.2, 0.3]).profit == pytest.approx(profit)
    assert empc(label, [0.1, 0.2, 0.3]).profit == pytest.approx(profit, abs=0.01)  # gamma is hardly ever below 1 / 190
    assert empb(label, [0.1, 0.2, 0.3]).profit == pytest.approx(profit)


def test_a_single_customer_and_equal_or_certain_probabilities():
    assert mpc([1], [0.5]) == (pytest.approx(56.0), 1.0, 0.5)
    assert auepc([1], [0.5]) == 1.0
    label = [1, 0, 0, 1]
    for score in ([0.4] * 4, [0.0] * 4, [1.0] * 4):
        assert mpc(label, score).profit == pytest.approx((2 * 56 - 2 * 11) / 4)
        assert empc(label, score).profit == pytest.approx(empc_score(label, score), abs=1e-9)
    assert mpc(label, [1.0, 0.0, 0.0, 1.0]).profit == pytest.approx(2 * 56 / 4)


def test_free_offers_go_to_all():
    found = empc(*EIGHT, Campaign(offer_cost=0, contact_cost=0))
    assert found.profit == pytest.approx(0.5 * 200 * 0.3)


def test_values_that_are_missing_or_too_few_are_refused():
    with pytest.raises(ValueError, match="value must be a number in every row"):
        empb([0, 1], [0.1, 0.2], [1.0, np.nan])
    with pytest.raises(ValueError, match=r"value must be a number or \(2,\), got \(3,\)"):
        empb([0, 1], [0.1, 0.2], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="value must be a number"):
        value_thresholds([np.inf], Campaign())


@pytest.mark.parametrize(
    "wrong",
    [{"offer_cost": -1}, {"contact_cost": np.nan}, {"alpha": 0}, {"acceptance": 1.2}, {"value": np.inf},
     {"offer_share": -0.1}],
)  # fmt: skip
def test_impossible_costs_are_the_users_mistake(wrong: dict):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}|the value of a customer"):
        Campaign(**wrong)


def test_curves_have_bands_that_hold_them_and_customers_widen_them():
    label, score = thousand()
    curves = share_curves(label, score, campaign=Campaign(), replicates=100)
    for name in ("gains", "profit"):
        low, value, high = (np.array(curves[name][part]) for part in ("low", "value", "high"))
        assert (low <= value + 1e-9).mean() > 0.95 and (value <= high + 1e-9).mean() > 0.95
    assert curves["lift"]["value"][0] is None and curves["lift"]["value"][-1] == 1.0
    same = np.repeat(np.arange(250), 4)
    repeated = share_curves(label[same], score[same], campaign=Campaign(), customers=same, replicates=100)
    rows = share_curves(label[same], score[same], campaign=Campaign(), replicates=100)
    widths = [np.subtract(c["profit"]["high"], c["profit"]["low"])[50] for c in (repeated, rows)]
    assert widths[0] > 1.5 * widths[1]


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_of_drawn_rows_is_that_of_copied_ones(ties):
    rng = np.random.default_rng(4)
    n = 6_000  # more than are read one by one
    value, probability = rng.lognormal(5, 1, n), rng.random(n)
    probability = probability.round(2) if ties else probability
    label = (rng.random(n) < probability).astype(np.int64)
    rows = BinaryRows(label, probability, (probability > 0.5).astype(np.int64), value=value)
    for draw in range(3):
        drawn = np.bincount(rng.integers(0, n, n), minlength=n)
        if draw == 2:
            drawn[value > 12.0] = 0  # only customers for whom no offer pays
        some = np.repeat(np.arange(n), drawn)
        wanted = auepc(label[some], probability[some], value[some])
        found = rows.figures((PROFIT,), drawn[rows.ranking.order][None].astype(float))["auepc"][0]
        assert (np.isnan(found) and wanted is None) or found == pytest.approx(wanted, abs=1e-5)
