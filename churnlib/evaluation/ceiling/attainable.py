"""What can be attained with the information that some model has found, and how sure that is.

From probabilities of rows that the model did not learn from: a broken line in log-odds recalibrates them, and the best
decision is that for the expected counts. (The straight line of Cox 1958 says 0.801 where boosted trees on the MLC table
reach 0.824: trees that are stopped early are too timid at the top and bold at the bottom.) Two intervals of 95 % come
with it:

- of all such customers: samples of as many customers are drawn with replacement, the line is fitted to each, and the
  best decision taken there, so that sampling and calibration are both in it;
- of a test set: each sample's line and decision are tried on a test set that is drawn from all rows, with labels from
  their probabilities. What the test set shows less what the sample promised is by how much a promise is missed; it
  holds all that sampling does on either side: to the customers from whom the estimate comes, to the line, to the cut
  that was chosen by it, and to the test set.

It is the ceiling of what this model found in these columns, and no law of nature: a better column moves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from churnlib.decision import probability_from_logits
from churnlib.evaluation.bootstrap import RANGES, customer_numbers, resampled
from churnlib.evaluation.ceiling import expected
from churnlib.evaluation.ceiling.expected import AT_CUT, BY_CUT, ESTIMATED, OF_CAMPAIGN, OF_ORDER, PROFIT
from churnlib.evaluation.inputs import Floats, Ints, check_binary
from churnlib.evaluation.probabilities import log_odds
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.evaluation.ranking import Ranking
from churnlib.logistic import fit_logistic

REPLICATES = 400
FEWEST_REPLICATES = 100
MOST_ROWS = 50_000
"""Rows from which the intervals are drawn; those of more rows would be narrower still."""
MOST_WEIGHTS = 10**7
"""Rows times replicates: seconds."""
KNOTS = (1 / 3, 2 / 3)
"""Shares of the rows below the places where the line may bend."""
LIMITS = (0.025, 0.975)
STEPS = 2
"""Of Newton's method, to the line of each sample."""
STRAIGHT = (0.0, 1.0, 0.0, 0.0)
"""The line of probabilities that are right as they are, to which few rows leave it close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What can be attained.

    Attributes:
        metric: The figure's name in ``metrics.json``.
        value: Its best value to be expected on new customers.
        low, high: 95 % interval, of all such customers.
        rows: Rows that it was estimated from.
        positives: Churners among them.
        test_rows: Customers of a test set.
        test_low, test_high: 95 % interval of what so many customers show.
        threshold: Probability to decide by; None where nothing is decided.
    """

    metric: str
    value: float
    low: float
    high: float
    rows: int
    positives: int
    test_rows: int
    test_low: float
    test_high: float
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def attainable(
    label: ArrayLike,
    probability: ArrayLike,
    *,
    metrics: Sequence[str] = ("f1",),
    threshold: float | None = None,
    campaign: Campaign | None = None,
    value: ArrayLike | None = None,
    customers: ArrayLike | None = None,
    test_rows: int | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Estimate what the best decision can show on new customers.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of class 1, of rows that the model did not learn from.
        metrics: Some of ``ESTIMATED``. Of ``f1``, ``f0_5``, ``f2``, ``accuracy``, ``balanced_accuracy``, ``mcc`` and
            ``profit`` the best of all cuts is told, by which a test set is decided; of ``mpc``, ``empc`` and ``empb``
            likewise, whose best cut on a test set is the test set's own; of ``precision``, ``recall``, ``specificity``
            and ``contacted_share``, which any cut trades for another, the value at ``threshold``.
        threshold: Probability that is decided by; the F1-optimal one when left out.
        campaign: Costs, for figures in money; those of the paper on EMPC when left out.
        value: ``(n,)`` money that each customer is worth, for figures in money.
        customers: ``(n,)`` names, where a customer may have several rows.
        test_rows: Customers of a test set; as many as there are rows when left out.
        replicates: Draws behind the intervals.
        seed: Of the draws.

    Returns:
        By name; without those that do not exist (there must be rows of both classes).

    Raises:
        ValueError: If a metric has no estimate, there is no row, or a label or probability is outside its range.

    >>> rng = np.random.default_rng(0)
    >>> p = rng.beta(1, 2, 4_000)
    >>> found = attainable(rng.random(4_000) < p, p, test_rows=500)["f1"]
    >>> found.test_low < found.low < found.value < found.high < found.test_high
    True
    """
    unknown = [metric for metric in metrics if metric not in ESTIMATED]
    if unknown:
        raise ValueError(f"there is no estimate of {unknown[0]!r}; there is one of {', '.join(ESTIMATED)}")
    truth, score = check_binary(label, probability)
    if not 0 < truth.sum() < len(truth):
        return {}
    costs, names = campaign or Campaign(), customer_numbers(customers, len(truth))
    worth = costs.values(value, len(truth))
    rows = _Rows.of(truth, score, worth, costs, names)
    chosen = np.random.default_rng(seed).permutation(len(truth))[:MOST_ROWS]
    drawn = rows if len(chosen) == len(truth) else _Rows.of(
        truth[chosen], score[chosen], worth[chosen], costs, None if names is None else names[chosen]
    )  # fmt: skip
    n_draws = int(np.clip(MOST_WEIGHTS / len(drawn.score), FEWEST_REPLICATES, replicates))
    n_test = len(truth) if test_rows is None else test_rows
    if threshold is None and not set(AT_CUT).isdisjoint(metrics):
        threshold = rows.edge(rows.own("f1", None)[1])
    sides = _draws(drawn, metrics, threshold, n_draws, n_test, seed)
    told = (_estimate(metric, rows, drawn, threshold, *sides[metric], n_test) for metric in metrics)
    return {estimate.metric: estimate for estimate in told if estimate is not None}


def _draws(
    rows: _Rows, metrics: Sequence[str], threshold: float | None, replicates: int, test_rows: int, seed: int
) -> dict[str, tuple[Floats, Floats]]:
    """Return figures of samples like these rows, and what a test set showed of each sample, by metric: ``(r,)`` both.

    A sample is resampled, recalibrated, and told its best cut, as the rows themselves were. The test set is drawn from
    the rows themselves, and decided by the sample's cut and probabilities. So the difference of the two is by how much
    a test set misses what a sample of this size has promised.
    """
    rng = np.random.default_rng((seed, 1))
    strata, found = rows.label.astype(np.int64), {metric: ([], []) for metric in metrics}
    for weights in resampled(strata, rows.customers, replicates=replicates, seed=seed, stratified=False):
        said = rows.recalibrated(weights)
        counts = _drawn(rng, len(weights), test_rows, len(rows.score))
        churned = rng.binomial(counts, rows.probability).astype(np.float64)
        for metric, (promised, shown) in found.items():
            cut = rows.cut(metric, threshold, said * weights, weights)
            value = rows.figure(metric, said * weights, weights, said, cut)
            promised.append(np.maximum(value, 0.0) if metric == PROFIT else value)
            tested = rows.figure(metric, churned, counts.astype(np.float64), said, cut)
            # Where no cut earns anything nobody is contacted.
            shown.append(np.where(promised[-1] > 0.0, tested, 0.0) if metric == PROFIT else tested)
    return {metric: (np.concatenate(one), np.concatenate(other)) for metric, (one, other) in found.items()}


def _estimate(
    metric: str, rows: _Rows, drawn: _Rows, threshold: float | None, promised: Floats, shown: Floats, test_rows: int
) -> Estimate | None:
    """Return the estimate from the rows, those of which samples were drawn, and what these samples promised and showed.

    None of a figure that does not exist.
    """
    (value, cut), (of_drawn, _) = (one.own(metric, threshold) for one in (rows, drawn))
    if not np.isfinite(value):
        return None
    # The samples come from fewer rows where there are very many: their middle is moved to that of all rows.
    low, high = np.nanquantile(promised, LIMITS) + (value - of_drawn)
    test_low, test_high = value + np.nanquantile(shown - promised, LIMITS)
    if metric == PROFIT and value <= 0.0:
        low, high, test_low, test_high = max(low, 0.0), max(high, 0.0), 0.0, 0.0
    limits = np.clip([low, high, test_low, test_high], *RANGES.get(metric, (-np.inf, np.inf))).tolist()
    return Estimate(
        metric=metric, value=value, low=limits[0], high=limits[1], rows=len(rows.label),
        positives=int(rows.label.sum()), test_rows=test_rows, test_low=limits[2], test_high=limits[3],
        threshold=rows.edge(cut) if metric in (*BY_CUT, *AT_CUT) else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows from the highest probability down, and the broken line that calibrates them.

    Attributes:
        ranking: Of the rows as they were given.
        label: ``(n,)`` in that order, as all below.
        customers: Number of each row's customer.
        score: What was said of them.
        design: ``(n, 4)`` columns of the line: one, the log-odds of that, and what they are above each knot.
        line: ``(4,)`` their weights.
        probability: Recalibrated.
        campaign: Costs.
        worth: Money that each customer is worth.
        stake: Money that contacting a churner brings more than contacting a stayer.
        cost: Money that contacting a stayer costs.
    """

    ranking: Ranking
    label: Floats
    customers: Ints | None
    score: Floats
    design: Floats
    line: Floats
    probability: Floats
    campaign: Campaign
    worth: Floats
    stake: Floats
    cost: Floats

    @classmethod
    def of(cls, label: Ints, score: Floats, worth: Floats, campaign: Campaign, customers: Ints | None) -> _Rows:
        ranking = Ranking.of(score)
        order = ranking.order
        churned, logits = label[order].astype(np.float64), log_odds(score[order])
        above = [np.maximum(logits - knot, 0.0) for knot in np.quantile(logits, KNOTS)]
        design = np.stack([np.ones_like(logits), logits, *above], axis=1)
        prior = np.array(STRAIGHT)
        line = fit_logistic(design, churned, np.ones_like(churned), start=prior, prior=prior)
        assert line is not None  # the prior sees to it
        probability = probability_from_logits(design @ line)
        offers = campaign.offers(worth)[order]
        stake = offers + campaign.expected_acceptance * (worth[order] - offers)
        own = None if customers is None else customers[order]
        cost = offers + campaign.contact_cost
        return cls(ranking, churned, own, score[order], design, line, probability, campaign, worth[order], stake, cost)

    # --- one set of expected or drawn churners ------------------------------------------------------------------------

    def counts(self, churned: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Return churners, rows and money down to each distinct probability, from ``(..., n)`` of each row."""
        earned = churned * self.stake - weights * self.cost
        return tuple(self.ranking.cumulated(values) for values in (churned, weights, earned))  # type: ignore[return-value]

    def figure(self, metric: str, churned: Floats, weights: Floats, said: Floats, cut: Ints) -> Floats:
        """Return a figure, ``(...)``.

        Args:
            metric: Its name.
            churned: ``(..., n)`` churners, expected or drawn.
            weights: ``(..., n)`` rows.
            said: ``(..., n)`` what is said of them.
            cut: ``(...)`` place of the cut that decides.
        """
        if metric in expected.OF_PROBABILITY:
            share = np.divide(churned, weights, out=np.zeros_like(churned), where=weights > 0)
            return (expected.scored(metric, said, share) * weights).sum(axis=-1) / weights.sum(axis=-1)
        hits, rows, earned = self.counts(churned, weights)
        if metric in OF_ORDER:
            return expected.ordered(metric, hits, rows)
        if metric in OF_CAMPAIGN:
            mean = (weights @ self.worth) / rows[..., -1]
            return expected.earned_at_best(metric, hits, rows, earned, self.campaign, mean)
        return expected.at(expected.decided(metric, hits, rows, earned), cut)

    def own(self, metric: str, threshold: float | None) -> tuple[float, int]:
        """Return a figure of the rows themselves, and the place of its cut."""
        ones = np.ones_like(self.probability)
        cut = self.cut(metric, threshold, self.probability, ones)
        value = float(self.figure(metric, self.probability, ones, self.probability, cut))
        return max(value, 0.0) if metric == PROFIT else value, int(cut)

    # --- cuts ---------------------------------------------------------------------------------------------------------

    def cut(self, metric: str, threshold: float | None, churned: Floats, weights: Floats) -> Ints:
        """Return the place of the cut at which a figure is told, ``(...)``, for ``(..., n)`` expected churners."""
        if metric in AT_CUT and threshold is not None:
            return np.full(churned.shape[:-1], self.place(threshold))
        if metric not in (*BY_CUT, *AT_CUT):
            return np.zeros(churned.shape[:-1], dtype=np.int64)
        return expected.best_cut("f1" if metric in AT_CUT else metric, *self.counts(churned, weights))

    def edge(self, cut: int) -> float:
        """Return the threshold of a cut, in the middle between two of the probabilities that were given."""
        score = self.ranking.score
        below = score[cut + 1] if cut + 1 < len(score) else 0.0
        middle = below + (score[cut] - below) / 2.0
        return float(middle if middle > below else score[cut])

    def place(self, threshold: float) -> int:
        """Return the place of the lowest distinct probability from a threshold on; 0 where there is none."""
        return max(int((self.ranking.score >= threshold).sum()) - 1, 0)

    # --- samples ------------------------------------------------------------------------------------------------------

    def recalibrated(self, weights: Floats) -> Floats:
        """Return the probabilities by the line of each sample, ``(b, n)``.

        Newton's method from the line of the rows themselves. After one step the promises of 100 churners come out too
        low by 0.005 in F1; after two they do not.
        """
        k = len(self.line)
        products = (self.design[:, :, None] * self.design[:, None, :]).reshape(-1, k * k)
        lines = np.tile(self.line, (len(weights), 1))
        said = np.tile(self.probability, (len(weights), 1))
        for _ in range(STEPS):
            slope = (weights * (self.label - said)) @ self.design - (lines - STRAIGHT)
            curvature = ((weights * said * (1.0 - said)) @ products).reshape(-1, k, k) + np.eye(k)
            lines = lines + np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
            said = probability_from_logits((lines @ self.design.T).ravel()).reshape(weights.shape)
        return said


def _drawn(rng: np.random.Generator, draws: int, size: int, n: int) -> Ints:
    """Draw ``size`` of ``n`` rows with replacement, so many times: ``(draws, n)`` counts."""
    places = rng.integers(n, size=(draws, size)) + (np.arange(draws) * n)[:, None]
    return np.bincount(places.ravel(), minlength=draws * n).reshape(draws, n)


__all__ = ["REPLICATES", "Estimate", "attainable"]
