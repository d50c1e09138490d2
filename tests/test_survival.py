"""Hazards: what they mean, how they are learned, how times are read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy.integrate import quad

from churnlib.calibration import calibration_from_dict
from churnlib.data.customers import prepare_customers
from churnlib.data.lifetimes import LifetimeSpec, fit_lifetimes
from churnlib.errors import ConfigError, DataError
from churnlib.models.ensemble import mean_logits
from churnlib.models.hazards import HazardLoss, combine_hazards, hazard_loss
from churnlib.survival import HazardCurve
from scripts.made_lifetimes import made_lifetimes

CURVE = HazardCurve((1.0, 3.0, 6.0, 12.0), horizon=6.0)
LOGITS = np.random.default_rng(0).normal(-1.5, 1.0, (5, 4))


def plain_survival(logits: np.ndarray, time: float) -> float:
    """The product of what is left of each interval, one customer and one time."""
    share, begin = 1.0, 0.0
    for place, (end, logit) in enumerate(zip(CURVE.breaks, logits, strict=True)):
        last = place == len(logits) - 1
        part = (min(time, np.inf if last else end) - begin) / (end - begin)
        share *= (1 - 1 / (1 + np.exp(-logit))) ** max(part, 0.0)
        begin = end
    return share


# --- what hazards mean ----------------------------------------------------------------------------------------------


def test_survival_is_the_product_of_what_is_left_of_each_interval_and_goes_on_behind_the_last():
    times = np.array([0.0, 0.4, 1.0, 2.0, 3.0, 5.9, 6.0, 11.0, 12.0, 20.0])
    plain = [[plain_survival(row, time) for time in times] for row in LOGITS]
    np.testing.assert_allclose(CURVE.survival(LOGITS, times), plain, rtol=1e-12)


def test_who_has_been_there_is_known_to_have_stayed():
    elapsed = np.array([0.0, 0.5, 3.0, 11.0, 30.0])
    gone = CURVE.probabilities(LOGITS, elapsed, horizon=4.0)
    plain = [1 - plain_survival(row, t + 4.0) / plain_survival(row, t) for row, t in zip(LOGITS, elapsed, strict=True)]
    np.testing.assert_allclose(gone, plain, rtol=1e-9)
    np.testing.assert_allclose(CURVE.probabilities(LOGITS), 1 - CURVE.survival(LOGITS, [6.0])[:, 0], rtol=1e-12)


def test_the_expected_lifetime_is_the_area_under_the_curve():
    elapsed = np.array([0.0, 0.5, 3.0, 11.0, 30.0])
    found = CURVE.expected_lifetime(LOGITS, elapsed, limit=9.0)
    for row, t, value in zip(LOGITS, elapsed, found, strict=True):
        points = [b - t for b in CURVE.breaks if 0 < b - t < 9]
        area = quad(
            lambda u, row=row, t=t: plain_survival(row, t + u) / plain_survival(row, t), 0, 9, points=points or None
        )
        assert value == pytest.approx(area[0], rel=1e-7)
    sure = np.full((1, 4), -60.0)  # nobody leaves
    assert CURVE.expected_lifetime(sure, limit=9.0) == pytest.approx([9.0])


def test_the_value_of_a_customer_is_what_each_month_brings_in_todays_money():
    curve = replace(CURVE, discount_rate=0.1)
    margin, elapsed = np.array([10.0, 20.0, 30.0, 40.0, 50.0]), np.array([0.0, 0.5, 3.0, 11.0, 30.0])
    found = curve.value(LOGITS, margin, elapsed, limit=9.0)
    for row, m, t, value in zip(LOGITS, margin, elapsed, found, strict=True):
        months = [m * 1.1 ** (-k / 12) * plain_survival(row, t + k) / plain_survival(row, t) for k in range(1, 10)]
        assert value == pytest.approx(sum(months), rel=1e-9)
    by_days = HazardCurve(tuple(b * 365.25 / 12 for b in CURVE.breaks), 180.0, "days", discount_rate=0.1)
    in_days = by_days.value(LOGITS, margin, elapsed * 365.25 / 12, limit=9.0 * 365.25 / 12)
    np.testing.assert_allclose(in_days, found, rtol=1e-9)


def test_a_row_alone_has_the_answer_it_has_among_others_and_after_writing_down():
    again = calibration_from_dict(json.loads(json.dumps(CURVE.to_dict())))
    assert again == CURVE
    together = CURVE.probabilities(LOGITS, np.arange(5.0))
    assert isinstance(again, HazardCurve)
    alone = [again.probabilities(LOGITS[i : i + 1], [float(i)])[0] for i in range(5)]
    assert together.tolist() == alone


def test_a_single_interval_is_a_constant_rate():
    curve = HazardCurve((10.0,), horizon=5.0)
    assert curve.probabilities(np.array([0.0])) == pytest.approx([1 - 0.5**0.5])
    assert curve.expected_lifetime(np.array([0.0]), limit=10.0) == pytest.approx([10 * 0.5 / np.log(2)])


@pytest.mark.parametrize("breaks", [(), (0.0, 1.0), (2.0, 1.0), (1.0, float("inf"))])
def test_breaks_must_rise(breaks):
    with pytest.raises(ValueError, match="breaks must be rising"):
        HazardCurve(breaks, horizon=1.0)


@pytest.mark.parametrize("horizon", [0.0, -1.0, 12.5, float("nan")])
def test_nobody_was_followed_for_longer_than_the_last_break(horizon):
    with pytest.raises(ValueError, match="at most 12 months, for which customers were followed"):
        CURVE.probabilities(LOGITS, horizon=horizon)


# --- what is minimised ----------------------------------------------------------------------------------------------


def test_the_loss_is_the_likelihood_of_what_was_seen():
    logits = torch.tensor(LOGITS)
    hazard = 1 / (1 + np.exp(-LOGITS))
    target = torch.tensor(
        [
            [0.0, 2.0, 2.0],  # left in the third interval
            [0.0, 2.5, -1.0],  # there when lost, half way through the third
            [0.0, 0.0, 0.0],  # left in the first
            [1.5, 4.0, -1.0],  # observed from half way through the second, there at the end
            [2.25, 2.0, 2.0],  # observed from the third on, left in it
        ],
        dtype=torch.float64,
    )
    stay, plain = np.log(1 - hazard), np.log(hazard)
    expected = [
        -(stay[0, 0] + stay[0, 1] + plain[0, 2]),
        -(stay[1, 0] + stay[1, 1] + stay[1, 2] / 2),
        -plain[2, 0],
        -(stay[3, 1] / 2 + stay[3, 2] + stay[3, 3]),
        -plain[4, 2],
    ]
    np.testing.assert_allclose(hazard_loss(logits, target).numpy(), expected, rtol=1e-12)


def test_the_best_constant_hazards_are_those_of_the_life_table():
    rng = np.random.default_rng(0)
    n = 4_000
    left, lost = np.ceil(rng.exponential(4, n)), np.ceil(rng.exponential(6, n))
    duration, event = np.minimum(left, lost), left <= lost
    keep = duration <= 8
    duration, event = np.where(keep, duration, 8.0), event & keep
    times = pl.DataFrame({"duration": duration, "entry": np.zeros(n)})
    spec = LifetimeSpec(duration="t", width=1.0, horizon=2.0)
    lifetimes = fit_lifetimes(times, event, np.arange(n), spec)
    assert lifetimes.breaks.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    # In whole months the life table is Kaplan and Meier's estimator: leavers by those at risk.
    at_risk = [(duration >= t).sum() for t in range(1, 9)]
    leavers = [(event & (duration == t)).sum() for t in range(1, 9)]
    table = lifetimes.life_table(np.arange(n))
    np.testing.assert_allclose(table, (np.array(leavers) + 0.5) / (np.array(at_risk) + 1.0), rtol=1e-6)
    logits = torch.from_numpy(np.divide(leavers, at_risk)).logit().requires_grad_()
    target = torch.from_numpy(lifetimes.targets(np.arange(n))).double()
    hazard_loss(logits.expand(n, 8), target).sum().backward()  # convex: where the slope is 0, it is lowest
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), 0.0, atol=1e-9)


def test_training_starts_from_the_life_table():
    loss = HazardLoss([0.1, 0.2, 0.4])
    target = torch.tensor([[0.0, 2.0, 2.0], [0.0, 1.5, -1.0]])
    logits = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.0, 0.0]])
    offset = torch.tensor(loss.offset)
    torch.testing.assert_close(loss(logits, target), loss.held_out(logits - offset, target))
    torch.testing.assert_close((-offset).sigmoid(), torch.tensor([0.1, 0.2, 0.4]))


def test_members_are_averaged_as_survival():
    logits = np.random.default_rng(1).normal(-1, 2, (6, 3, 4))  # (n, members, K)
    mean = np.cumprod(1 - 1 / (1 + np.exp(-logits)), axis=2).mean(axis=1)
    for found in (
        mean_logits(list(logits.transpose(1, 0, 2)), hazards=True),
        combine_hazards(torch.tensor(logits)).numpy(),
    ):
        np.testing.assert_allclose(np.cumprod(1 - 1 / (1 + np.exp(-found)), axis=1), mean, rtol=1e-9)


# --- how times are read ---------------------------------------------------------------------------------------------

SIDES = {"by": "random"}


def prepared(frame: pl.DataFrame, **spec: object):
    options = {"duration": "months", **spec}
    return prepare_customers(
        frame,
        target="left",
        id="customer",
        drop=["joined", "last_seen"],
        split=SIDES,
        lifetimes=LifetimeSpec(**options),
    )


def test_counted_from_the_start_the_duration_is_no_feature_but_is_read_of_scored_rows():
    customers = prepared(made_lifetimes(300))
    assert "months" not in customers.preparation.feature_names
    assert customers.schema.elapsed == "months"
    assert "months" in customers.schema.required()


def test_counted_from_the_snapshot_nothing_is_read_of_the_duration():
    customers = prepared(made_lifetimes(300).with_columns(tenure=pl.col("months") * 2), clock="snapshot")
    assert "tenure" in customers.preparation.feature_names
    assert customers.schema.elapsed is None
    assert customers.schema["months"].role == "ignored"


def test_intervals_have_equally_many_leavers_of_the_training_rows_alone():
    frame = made_lifetimes(1_000)
    customers = prepared(frame, intervals=5)
    train, lifetimes = customers.rows("train"), customers.lifetimes
    assert lifetimes is not None
    left = lifetimes.duration[train][lifetimes.event[train]]
    counts = np.histogram(left, bins=[0, *np.nextafter(lifetimes.breaks, np.inf)])[0]
    assert counts.max() - counts.min() <= 1
    assert lifetimes.breaks[-1] == lifetimes.duration[train].max()
    others = np.setdiff1d(np.arange(1_000), train)
    moved = lifetimes.duration.copy()
    moved[others] *= 3
    times = pl.DataFrame({"duration": moved, "entry": lifetimes.entry})
    assert fit_lifetimes(times, lifetimes.event, train, lifetimes.spec).breaks.tolist() == lifetimes.breaks.tolist()
    # Beyond the last break nothing is known but that they were there.
    late = fit_lifetimes(times, lifetimes.event, train, lifetimes.spec)
    beyond = np.flatnonzero(moved > lifetimes.breaks[-1])
    assert len(beyond) and np.unique(late.targets(beyond), axis=0).tolist() == [[0.0, 5.0, -1.0]]


def test_dates_are_as_good_as_durations_and_a_missing_end_is_that_of_the_table():
    frame = made_lifetimes(300)
    by_dates = prepare_customers(
        frame.with_columns(last_seen=pl.when(pl.col("left") == "yes").then("last_seen")),
        target="left", id="customer", drop=["months"], split=SIDES,
        lifetimes=LifetimeSpec(start="joined", end="last_seen", until="2024-01-01"),
    )  # fmt: skip
    lifetimes = by_dates.lifetimes
    assert lifetimes is not None and by_dates.schema.elapsed == "elapsed"
    left = lifetimes.event
    np.testing.assert_allclose(lifetimes.duration[left], frame["months"].to_numpy()[left], atol=1.1 * 12 / 365.25)
    days = (pl.date(2024, 1, 1) - pl.col("joined")).dt.total_days()
    stay = frame.select(days).to_series().to_numpy()[~left] * 12 / 365.25
    np.testing.assert_allclose(lifetimes.duration[~left], stay, rtol=1e-9)


def test_rows_that_say_nothing_are_left_out_and_counted():
    frame = made_lifetimes(300)
    months = frame["months"].cast(pl.String).to_list()
    months[:5] = [None, "0", "-3", "soon", "inf"]
    customers = prepared(frame.with_columns(months=pl.Series(months)))
    assert len(customers.label) == 295
    assert any("5 rows without a duration above 0 left out" in line for line in customers.report.lines())
    late = frame.with_columns(since=pl.when(pl.col("customer") < "C00010").then(99.0).otherwise(0.0))
    assert len(prepared(late, entry="since").label) == 290


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ({"duration": "month"}, ConfigError, "'month'.*did you mean 'months'"),
        ({"entry": "since"}, ConfigError, "task.entry names 'since'|'since'"),
        ({"horizon": 99.0}, ConfigError, "longer than any training row was followed \\(36 months\\)"),
        ({"width": 0.01}, ConfigError, "cuts 36 months into 3,600 intervals; choose one of at least 0.0703"),
        ({"duration": "plan"}, DataError, "no row has a duration above 0 in 'plan'"),
    ],
)
def test_wrong_times_are_refused(spec, error, said):
    with pytest.raises(error, match=said):
        prepared(made_lifetimes(300), **spec)


@pytest.mark.parametrize("label", ["yes", "no"])
def test_nobody_and_everybody_left_are_refused(label):
    frame = made_lifetimes(300).with_columns(left=pl.lit(label))
    with pytest.raises(DataError, match=r"has one class only.*customers who left and customers who stayed"):
        prepared(frame)


def test_more_than_two_classes_are_refused():
    frame = made_lifetimes(300).with_columns(left=pl.Series(["a", "b", "c"] * 100))
    with pytest.raises(ConfigError, match=r"task=hazard.*has 3 classes"):
        prepared(frame)


def test_a_column_that_grows_with_time_is_named():
    frame = made_lifetimes(300).with_columns(paid=pl.col("months") * pl.col("fee"))
    said = prepared(frame).report.steps
    assert any("'paid' goes with 'months'" in line and "data.drop=[paid]" in line for line in said)
    assert not any("'fee'" in line for line in said)
    assert not prepared(frame, clock="snapshot").report.steps
