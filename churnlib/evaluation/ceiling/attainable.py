"""What can be attained with the information that some model has found, and how sure that is.

From probabilities of rows that the model did not learn from: a broken line in log-odds recalibrates them, and the best
decision is that for the expected counts. (The straight line of Cox 1958 says 0.801 where boosted trees on the MLC table
reach 0.824: trees that are stopped early are too timid at the top and bold at the bottom.) Two intervals of 95 % come
with it:

- of all such customers: customers are drawn anew with replacement, the line is fitted to each draw, and the best
  decision taken there, so that sampling and calibration are both in it;
- of a test set: besides, so many rows are drawn from each of these, and labels from their probabilities; a test set of
  1,000 customers is the larger part of that spread.

It is the ceiling of what this model found in these columns, and no law of nature: a better column moves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from churnlib.decision import probability_from_logits
from churnlib.evaluation.bootstrap import customer_numbers, resampled
from churnlib.evaluation.ceiling import expected
from churnlib.evaluation.ceiling.expected import AT_CUT, BY_CUT, ESTIMATED, OF_ORDER
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
            ``profit`` the best of all cuts is told; of ``precision``, ``recall``, ``specificity`` and
            ``contacted_share``, which any cut trades for another, the value at ``threshold``. A test set is decided by
            the same cut.
        threshold: Probability that is decided by; the F1-optimal one when left out.
        campaign: Costs, for ``profit``; those of the paper on EMPC when left out.
        value: ``(n,)`` money that each customer is worth, for ``profit``.
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
    names = customer_numbers(customers, len(truth))
    worth = (campaign or Campaign()).values(value, len(truth))
    rows = _Rows.of(truth, score, worth, campaign or Campaign(), names)
    chosen = np.random.default_rng(seed).permutation(len(truth))[:MOST_ROWS]
    drawn = rows if len(chosen) == len(truth) else _Rows.of(
        truth[chosen], score[chosen], worth[chosen], campaign or Campaign(), None if names is None else names[chosen]
    )  # fmt: skip
    n_draws = int(np.clip(MOST_WEIGHTS / len(drawn.score), FEWEST_REPLICATES, replicates))
    n_test = len(truth) if test_rows is None else test_rows
    cuts = {metric: rows.cut(metric, threshold) for metric in metrics}
    own = {metric: rows.figure(metric, rows.probability, cuts[metric]) for metric in metrics}
    edges = {metric: rows.edge(cut) for metric, cut in cuts.items() if metric in (*BY_CUT, *AT_CUT)}
    at_draws = {metric: drawn.place(edges[metric]) if metric in edges else 0 for metric in metrics}
    draws = list(drawn.draws(metrics, at_draws, n_draws, n_test, seed))
    found = {}
    for metric in metrics:
        spread = [np.concatenate([one[kind][metric] for one in draws]) for kind in (0, 1)]
        if not np.isfinite(own[metric]):
            continue
        # The draws come from fewer rows where there are very many: their middle is moved to that of all rows.
        moved = float(own[metric] - drawn.figure(metric, drawn.probability, at_draws[metric]))
        if metric == "profit" and own[metric] <= 0.0:  # no cut earns anything: nobody is contacted
            own[metric], moved, spread[1] = np.zeros(()), 0.0, np.zeros(1)
        limits = [float(limit + moved) for part in spread for limit in np.nanquantile(part, [0.025, 0.975])]
        found[metric] = Estimate(
            metric=metric, value=float(own[metric]), low=limits[0], high=limits[1], rows=len(truth),
            positives=int(truth.sum()), test_rows=n_test, test_low=limits[2], test_high=limits[3],
            threshold=edges.get(metric),
        )  # fmt: skip
    return found


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
        return cls(ranking, churned, own, score[order], design, line, probability, stake, cost)

    # --- one set of expected or drawn churners ------------------------------------------------------------------------

    def counts(self, churned: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Return churners, rows and money down to each distinct probability, from ``(..., n)`` of each row."""
        earned = churned * self.stake - weights * self.cost
        return tuple(self.ranking.cumulated(values) for values in (churned, weights, earned))  # type: ignore[return-value]

    def figure(self, metric: str, probability: Floats, cut: Ints | int, weights: Floats | None = None) -> Floats:
        """Return a figure for ``(..., n)`` probabilities; of cuts that of ``cut``, or the best where it is -1."""
        drawn = np.ones_like(probability) if weights is None else weights
        return self._figure(metric, probability * drawn, drawn, probability, cut)

    def _figure(self, metric: str, churned: Floats, weights: Floats, said: Floats, cut: Ints | int) -> Floats:
        if metric in expected.OF_PROBABILITY:
            share = np.divide(churned, weights, out=np.zeros_like(churned), where=weights > 0)
            return (expected.scored(metric, said, share) * weights).sum(axis=-1) / weights.sum(axis=-1)
        hits, rows, earned = self.counts(churned, weights)
        if metric in OF_ORDER:
            return expected.ordered(metric, hits, rows)
        values = expected.decided(metric, hits, rows, earned)
        found = values.max(axis=-1) if np.ndim(cut) == 0 and cut == -1 else expected.at(values, cut)
        return np.maximum(found, 0.0) if metric == "profit" and np.ndim(cut) == 0 and cut == -1 else found

    # --- cuts ---------------------------------------------------------------------------------------------------------

    def cut(self, metric: str, threshold: float | None) -> int:
        """Return the place of the cut at which a figure is told."""
        if metric in AT_CUT and threshold is not None:
            return self.place(threshold)
        if metric not in (*BY_CUT, *AT_CUT):
            return 0
        wanted = "f1" if metric in AT_CUT else metric
        counts = self.counts(self.probability, np.ones_like(self.probability))
        return int(expected.best_cut(wanted, *counts))

    def edge(self, cut: int) -> float:
        """Return the threshold of a cut, in the middle between two of the probabilities that were given."""
        score = self.ranking.score
        below = score[cut + 1] if cut + 1 < len(score) else 0.0
        middle = below + (score[cut] - below) / 2.0
        return float(middle if middle > below else score[cut])

    def place(self, threshold: float) -> int:
        """Return the place of the lowest distinct probability from a threshold on; 0 where there is none."""
        return max(int((self.ranking.score >= threshold).sum()) - 1, 0)

    # --- draws --------------------------------------------------------------------------------------------------------

    def draws(
        self, metrics: Sequence[str], cuts: dict[str, int], replicates: int, test_rows: int, seed: int
    ) -> Iterator[tuple[dict[str, Floats], dict[str, Floats]]]:
        """Yield figures of all such customers, and of a test set, by metric: ``(some,)`` each."""
        rng = np.random.default_rng((seed, 1))
        n = len(self.score)
        strata = self.label.astype(np.int64)
        for weights in resampled(strata, self.customers, replicates=replicates, seed=seed, stratified=False):
            probability = self._recalibrated(weights)
            counts = _drawn(rng, len(weights), test_rows, n)
            churned = rng.binomial(counts, probability).astype(np.float64)
            counts = counts.astype(np.float64)
            of_all, of_test = {}, {}
            for metric in metrics:
                free = -1 if metric in BY_CUT else cuts[metric]
                of_all[metric] = self.figure(metric, probability, free, weights)
                of_test[metric] = self._figure(metric, churned, counts, self.probability, cuts[metric])
            yield of_all, of_test

    def _recalibrated(self, weights: Floats) -> Floats:
        """Return the probabilities by the line of each draw, ``(b, n)``: one step of Newton's method away."""
        gap, curve = self.label - self.probability, self.probability * (1.0 - self.probability)
        k = len(self.line)
        slope = (weights * gap) @ self.design - (self.line - STRAIGHT)
        products = (self.design[:, :, None] * self.design[:, None, :]).reshape(-1, k * k)
        curvature = ((weights * curve) @ products).reshape(-1, k, k) + np.eye(k)
        lines = self.line + np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
        return probability_from_logits((lines @ self.design.T).ravel()).reshape(weights.shape)


def _drawn(rng: np.random.Generator, draws: int, size: int, n: int) -> Ints:
    """Draw ``size`` of ``n`` rows with replacement, so many times: ``(draws, n)`` counts."""
    places = rng.integers(n, size=(draws, size)) + (np.arange(draws) * n)[:, None]
    return np.bincount(places.ravel(), minlength=draws * n).reshape(draws, n)


__all__ = ["REPLICATES", "Estimate", "attainable"]
