"""Figures of survival curves are those of scikit-survival, and of plain loops over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from sksurv.metrics import (
    brier_score,
    concordance_index_censored,
    concordance_index_ipcw,
    integrated_brier_score,
)
from sksurv.nonparametric import kaplan_meier_estimator
from sksurv.util import Surv

from churnlib.evaluation.survival import (
    KaplanMeier,
    brier_rows,
    brier_scores,
    calibration_at,
    integrated,
    last_time,
)
from churnlib.evaluation.survival_ranking import (
    concordance,
    concordance_ipcw,
    concordance_over_time,
    count_below,
)


def made(n: int = 400, *, seed: int = 0, whole: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Durations, events and risks; in whole months with many ties if asked for."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n).round(1)
    left, lost = rng.exponential(10 * np.exp(-risk)), rng.exponential(12, n)
    duration = np.minimum(left, lost) + 0.01
    return (np.ceil(duration) if whole else duration), left <= lost, risk


def plain_concordance(duration, event, risk, weight=None) -> float:
    won = total = 0.0
    for i in np.flatnonzero(event):
        for j in range(len(duration)):
            if duration[j] > duration[i] or (duration[j] == duration[i] and not event[j]):
                counts = 1.0 if weight is None else weight[i]
                total += counts
                won += counts * ((risk[j] < risk[i]) + (risk[j] == risk[i]) / 2)
    return won / total


@pytest.mark.parametrize("whole", [False, True], ids=["continuous", "tied"])
def test_harrells_concordance(whole):
    duration, event, risk = made(whole=whole)
    found = concordance(duration, event, risk)
    theirs = concordance_index_censored(event, duration, risk)
    assert found.value == pytest.approx(theirs[0], abs=1e-12)
    assert found.pairs == sum(theirs[1:4])
    assert found.value == pytest.approx(plain_concordance(duration, event, risk), abs=1e-12)


def test_the_interval_of_concordance_covers_as_the_spread_over_samples_says():
    values, reaches = [], []
    for seed in range(60):
        found = concordance(*made(150, seed=seed))
        values.append(found.value)
        reaches.append((found.interval[1] - found.interval[0]) / 2)
    assert np.mean(reaches) == pytest.approx(1.96 * np.std(values), rel=0.25)


def test_unos_concordance():
    duration, event, risk = made()
    censoring = KaplanMeier.of_censoring(duration, event)
    both = Surv.from_arrays(event, duration)
    for until in (None, 15.0):
        theirs = concordance_index_ipcw(both, both, risk, tau=until)[0]
        assert concordance_ipcw(duration, event, risk, censoring, until=until) == pytest.approx(theirs, abs=1e-12)


def test_concordance_over_time_compares_curves_where_one_left():
    duration, event, risk = made(150, whole=True)
    breaks = np.arange(1.0, duration.max() + 1)
    # Curves that cross: the risk of some is early, that of others late.
    gone = 1 - np.exp(-(np.outer(np.exp(risk / 2), breaks / 10) ** np.where(risk > 0, 0.5, 2.0)[:, None]))
    won = total = 0.0
    for i in np.flatnonzero(event):
        place = int(duration[i]) - 1
        for j in range(len(duration)):
            if duration[j] > duration[i] or (duration[j] == duration[i] and not event[j]):
                total += 1
                won += (gone[j, place] < gone[i, place]) + (gone[j, place] == gone[i, place]) / 2
    assert concordance_over_time(duration, event, gone, breaks) == pytest.approx(won / total, abs=1e-12)
    fixed = np.tile(np.argsort(np.argsort(risk))[:, None] / 1e3, (1, len(breaks)))
    ranked = concordance(duration, event, np.argsort(np.argsort(risk))).value
    assert concordance_over_time(duration, event, fixed, breaks) == pytest.approx(ranked, abs=1e-12)


def test_brier_scores():
    duration, event, risk = made()
    both, censoring = Surv.from_arrays(event, duration), KaplanMeier.of_censoring(duration, event)
    times = np.linspace(0.5, 15, 12)
    survival = np.exp(-np.outer(np.exp(risk), times / 10))
    rows = brier_rows(survival, duration, event, times, censoring)
    np.testing.assert_allclose(rows.mean(axis=0), brier_score(both, both, survival, times)[1], atol=1e-12)
    theirs = integrated_brier_score(both, both, survival, times)
    assert integrated(rows, times).mean() == pytest.approx(theirs, abs=1e-12)


def test_who_leaves_is_in_sight_when_others_are_lost_at_the_same_time():
    # Two leave and two are lost at 1, of four: nobody was lost before, so each leaver counts once.
    duration, event = np.array([1.0, 1.0, 1.0, 1.0]), np.array([1, 1, 0, 0])
    censoring = KaplanMeier.of_censoring(np.append(duration, [2.0, 2.0]), np.append(event, [1, 0]))
    scores = brier_scores(np.full((4, 1), 0.5), duration, event, [1.0], censoring)
    assert scores == pytest.approx([2 * 0.25 / 4])


def test_kaplan_meier():
    duration, event, _ = made(whole=True)
    curve = KaplanMeier.fit(duration, event)
    times, theirs, bounds = kaplan_meier_estimator(event, duration, conf_type="log-log")  # type: ignore[reportAssignmentType]
    np.testing.assert_allclose(curve.at(times), theirs, atol=1e-12)
    for place in (0, 3, 9):
        np.testing.assert_allclose(curve.interval(times[place]), bounds[:, place], atol=1e-12)
    losing, lost = kaplan_meier_estimator(event, duration, reverse=True)  # type: ignore[reportAssignmentType]
    np.testing.assert_allclose(KaplanMeier.of_censoring(duration, event).at(losing), lost, atol=1e-12)
    assert curve.before([times[0]]) == 1.0


def test_calibration_compares_with_what_happened_and_finds_what_is_off():
    rng = np.random.default_rng(1)
    rate = np.exp(rng.normal(size=20_000)) / 10
    left, lost = rng.exponential(1 / rate), rng.exponential(15, 20_000)
    duration, event = np.minimum(left, lost), left <= lost
    true = 1 - np.exp(-6 * rate)
    good, bad = (calibration_at(p, duration, event, horizon=6.0) for p in (true, true**2))
    assert good["error"] < 0.015 < 0.08 < bad["error"]
    inside = [one["interval"][0] <= one["predicted"] <= one["interval"][1] for one in good["groups"]]
    assert sum(inside) >= 8
    assert sum(one["n"] for one in good["groups"]) == 20_000


def test_counts_in_quadrants():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 37, 200)
    low = rng.integers(0, 200, 300)
    high = np.minimum(200, low + rng.integers(0, 90, 300))
    bound = rng.integers(0, 40, 300)
    plain = [int((values[a:b] < c).sum()) for a, b, c in zip(low, high, bound, strict=True)]
    assert count_below(values, low, high, bound).tolist() == plain


def test_figures_end_where_hardly_anybody_is_in_sight():
    duration, event, _ = made(2_000)
    censoring = KaplanMeier.of_censoring(duration, event)
    until = last_time(duration, event, censoring)
    assert censoring.at([until])[0] >= 1 / 20
    later = duration[event & (duration > until)]
    assert len(later) and (censoring.at(later) < 1 / 20).all()


@pytest.mark.parametrize(
    ("duration", "event", "said"),
    [
        ([], [], "above 0"),
        ([1.0, 0.0], [1, 0], "every duration must be a number above 0"),
        ([1.0, np.nan], [1, 0], "every duration must be a number above 0"),
        ([1.0, 2.0], [1, 2], "event must hold 0"),
        ([1.0, 2.0], [1], "must be"),
    ],
)
def test_bad_times_are_refused(duration, event, said):
    with pytest.raises(ValueError, match=said):
        KaplanMeier.fit(duration, event)


def test_extremes():
    none = concordance([1.0, 2.0], [0, 0], [0.1, 0.2])
    assert np.isnan(none.value) and none.pairs == 0
    everybody = KaplanMeier.of_censoring([1.0, 2.0], [1, 1])
    assert everybody.at([5.0]).tolist() == [1.0]
    assert KaplanMeier.fit([1.0, 2.0], [0, 0]).at([5.0]).tolist() == [1.0]
    with pytest.raises(ValueError, match="nobody is in sight at 2"):
        brier_scores(np.ones((2, 1)), [1.0, 2.0], [1, 0], [2.0], KaplanMeier.of_censoring([1.0, 2.0], [1, 0]))
