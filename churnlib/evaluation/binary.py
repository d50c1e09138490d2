"""All figures of two classes at once, for the rows as they are or as resampled: one sort, and weights on its places.

A weight says how often a row counts. All ones give the figures of ``metrics.json``, the draws of
:mod:`churnlib.evaluation.bootstrap` their intervals, from the same lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from churnlib.evaluation import ranking as ranks
from churnlib.evaluation.bootstrap import resampled
from churnlib.evaluation.decisions import decision_figures, f_beta, ratio
from churnlib.evaluation.hull import corners, roc_hull
from churnlib.evaluation.inputs import Floats, Ints
from churnlib.evaluation.probabilities import (
    ECE_BINS,
    CalibrationLine,
    bin_starts,
    brier_parts_of,
    calibration_line,
    log_odds,
    row_losses,
)
from churnlib.evaluation.profit.campaign import Campaign, payoffs
from churnlib.evaluation.profit.individual import at_counts, auepc_of, auepc_of_drawn, blocks_of
from churnlib.evaluation.profit.maximum import empc_of, mpc_sums

DECISIONS, RANKING, CALIBRATION, PROFIT = "decisions", "ranking", "calibration", "profit"
LAYERS = (DECISIONS, RANKING, CALIBRATION, PROFIT)
"""What can be asked for beyond the figures of every run; see :func:`churnlib.evaluation.metrics.evaluate`."""

TOGETHER = 8
"""Blocks of replicates whose sums are computed at a time."""


@dataclass(eq=False)
class BinaryRows:
    """Rows in falling order of probability, with all that figures need of them.

    Args:
        label: ``(n,)`` 0 or 1.
        probability: ``(n,)`` of class 1.
        decision: ``(n,)`` 0 or 1.
        campaign: Costs; needed for the layer profit.
        value: ``(n,)`` money; ``campaign.value`` for all when left out.
        customers: ``(n,)`` number of the customer of each row; None where each row is its own.
    """

    label: Ints
    probability: Floats
    decision: Ints
    campaign: Campaign = field(default_factory=Campaign)
    value: Floats | None = None
    customers: Ints | None = None

    def __post_init__(self) -> None:
        # MPC and EMPC know one value for all, which is the mean where each has his own
        alike = self.campaign.value if self.value is None else float(self.value.mean())
        self.alike = replace(self.campaign, value=alike)
        self.ranking = ranks.Ranking.of(self.probability)
        order = self.ranking.order
        self._churned, self._score = self.label[order].astype(np.float64), self.probability[order]
        self._decided = self.decision[order].astype(np.float64)
        self._prepared: tuple[str, ...] | None = None
        self.bins = np.zeros(1, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.label)

    def _prepare(self, layers: tuple[str, ...]) -> None:
        """Compute what the layers need of each row, once for all replicates."""
        order, n = self.ranking.order, len(self)
        tp = self.ranking.cumulated(self._churned)
        self._corners = corners(tp, self.ranking.rows - tp)
        columns = {
            "tp": self._decided * self._churned,
            "fp": self._decided * (1.0 - self._churned),
            "positives": self._churned,
            "n": np.ones(n),
            "log_loss": row_losses(self._churned, self._score),
            "brier": (self._score - self._churned) ** 2,
        }
        if CALIBRATION in layers:
            self.bins = bin_starts(self.ranking, ECE_BINS)
            self.line = calibration_line(self.label, self.probability)
            columns |= _line_columns(self.line, log_odds(self._score), self._churned)
        if PROFIT in layers:
            paid = payoffs(self.label, self.campaign.values(self.value, n), self.campaign)
            self._paid = paid[order]
            columns["profit"] = self._paid * self._decided
            if self.value is not None:
                best = np.argsort(self._paid)[::-1]
                self._best_paid = self._paid[best]
                self._blocks = np.empty(n, dtype=np.int64)
                self._blocks[best] = blocks_of(n)
        self._prepared = layers
        self._names, self._columns = list(columns), np.stack(list(columns.values()), axis=1)

    def figures(
        self, layers: tuple[str, ...], weights: Floats | None = None, totals: Floats | None = None
    ) -> dict[str, Floats]:
        """Return ``(b,)`` of each figure.

        Args:
            layers: Beyond the figures of every run.
            weights: ``(b, n)`` in ranked order; 1 when left out.
            totals: ``(b, c)`` sums of the columns, if they are known.
        """
        if self._prepared != layers:
            self._prepare(layers)
        drawn = np.ones((1, len(self))) if weights is None else weights
        sums = dict(zip(self._names, (drawn @ self._columns if totals is None else totals).T, strict=True))
        tp = self.ranking.cumulated(drawn * self._churned)
        fp = self.ranking.cumulated(drawn) - tp
        found = {
            "roc_auc": ranks.roc_auc_of(tp, fp),
            "average_precision": ranks.average_precision_of(tp, fp),
            "log_loss": sums["log_loss"] / sums["n"],
            "brier": sums["brier"] / sums["n"],
            **_decisions(sums, detailed=DECISIONS in layers),
        }
        if RANKING in layers:
            found |= _ranking(tp, fp, found["roc_auc"])
        hulls = [roc_hull(t[self._corners], f[self._corners]) for t, f in zip(tp, fp, strict=True)]
        if CALIBRATION in layers:
            parts = np.array([brier_parts_of(b, hull) for b, hull in zip(found["brier"].tolist(), hulls, strict=True)])
            found |= dict(zip(("reliability", "resolution", "uncertainty"), parts.T, strict=True))
            found["brier_skill"] = np.where(
                parts[:, 2] > 0, 1.0 - found["brier"] / np.where(parts[:, 2] > 0, parts[:, 2], 1.0), np.nan
            )
            found["ece"] = self._calibration_error(drawn) / sums["n"]
            found |= _one_step(self.line, sums)
        if PROFIT in layers:
            found |= self._profit(drawn, tp, fp, sums)
            if self.campaign.acceptance is None:
                best = np.array([empc_of(hull, self.alike)[:2] for hull in hulls])
                found |= {"empc": best[:, 0], "empc_share": best[:, 1]}
            else:
                found |= {"empc": found["mpc"], "empc_share": found["mpc_share"]}
        return found

    def replicates(
        self, layers: tuple[str, ...], *, replicates: int, seed: int, stratified: bool = True
    ) -> dict[str, Floats]:
        """Return ``(replicates,)`` of each figure, from resampled customers."""
        order = self.ranking.order
        customers = None if self.customers is None else self.customers[order]
        drawn = resampled(self.label[order], customers, replicates=replicates, seed=seed, stratified=stratified)
        parts = []
        while blocks := list(islice(drawn, TOGETHER)):
            if self._prepared != layers:
                self._prepare(layers)
            # All columns are read from memory once for several replicates; everything else stays in a cache.
            sums = np.concatenate(blocks) @ self._columns
            ends = np.cumsum([len(weights) for weights in blocks])[:-1]
            parts += [
                self.figures(layers, weights, own) for weights, own in zip(blocks, np.split(sums, ends), strict=True)
            ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _calibration_error(self, drawn: Floats) -> Floats:
        gaps = np.add.reduceat(drawn * (self._score - self._churned), self.bins, axis=-1)
        return np.abs(gaps).sum(axis=-1)

    def _profit(self, drawn: Floats, tp: Floats, fp: Floats, sums: dict[str, Floats]) -> dict[str, Floats]:
        at = (tp[:, self._corners], fp[:, self._corners])
        found = {"profit": sums["profit"] / sums["n"], **_best("mpc", mpc_sums(*at, self.alike), at[0] + at[1])}
        if self.value is None:
            return found
        earned, rows = self.ranking.cumulated(drawn * self._paid), tp + fp
        found |= _best("empb", earned, rows)
        if len(drawn) == 1 and (drawn == 1.0).all():  # the rows as they are
            areas = [auepc_of(at_counts(earned[0], rows[0]), np.cumsum(self._best_paid))]
        else:
            areas = [auepc_of_drawn(*one, *self._perfect(each)) for one, each in zip(
                zip(earned, rows, strict=True), drawn, strict=True
            )]  # fmt: skip
        found["auepc"] = np.array([np.nan if area is None else area for area in areas])
        return found

    def _perfect(self, drawn: Floats) -> tuple[Floats, Floats]:
        """Return money and customers down to the end of each block of the perfect order."""
        weights = (drawn * self._paid, drawn)
        earned, rows = (np.cumsum(np.bincount(self._blocks, weights=each), dtype=np.float64) for each in weights)
        return earned, rows


def _decisions(sums: dict[str, Floats], *, detailed: bool) -> dict[str, Any]:
    tp, fp = sums["tp"], sums["fp"]
    fn = sums["positives"] - tp
    found = decision_figures(tn=sums["n"] - sums["positives"] - fp, fp=fp, fn=fn, tp=tp)
    if not detailed:
        return {name: found[name] for name in ("f1", "precision", "recall", "accuracy", "mcc", "balanced_accuracy")}
    extra = {"f0_5": f_beta(fp, fn, tp, 0.5), "f2": f_beta(fp, fn, tp, 2.0)}
    return {**found, **extra, "contacted_share": ratio(tp + fp, sums["n"])}


def _ranking(tp: Floats, fp: Floats, area: Floats) -> dict[str, Floats]:
    lift = ranks.lift_of(tp, fp, ranks.TOP_DECILE)
    n = (tp + fp)[:, -1]
    top = np.array([ranks.first(rows, ranks.TOP_DECILE) for rows in n])
    return {
        "gini": 2.0 * area - 1.0,
        "ks": ranks.kolmogorov_smirnov_of(tp, fp),
        "top_decile_lift": lift,
        "top_decile_capture": lift * top / n,
    }


def _best(name: str, earned: Floats, rows: Floats) -> dict[str, Floats]:
    """Return the best of ``(b, m)`` cuts, or contacting nobody, per customer of the base."""
    best = earned.argmax(axis=-1)[:, None]
    most, contacted = np.take_along_axis(earned, best, -1)[:, 0], np.take_along_axis(rows, best, -1)[:, 0]
    n = rows[:, -1]
    return {name: np.maximum(most, 0.0) / n, f"{name}_share": np.where(most > 0, contacted, 0.0) / n}


def _line_columns(line: CalibrationLine, logits: Floats, churned: Floats) -> dict[str, Floats]:
    """Return the sums that one step of Newton's method needs, from the line of the rows themselves."""
    found = {}
    if line.in_the_large is not None:
        rate = 1.0 / (1.0 + np.exp(-np.clip(logits + line.in_the_large, -700, 700)))
        found |= {"large_slope": churned - rate, "large_curvature": rate * (1.0 - rate)}
    if line.intercept is not None and line.slope is not None:
        rate = 1.0 / (1.0 + np.exp(-np.clip(line.intercept + line.slope * logits, -700, 700)))
        curve = rate * (1.0 - rate)
        found |= {"g0": churned - rate, "g1": (churned - rate) * logits}
        found |= {"h00": curve, "h01": curve * logits, "h11": curve * logits**2}
    return found


def _one_step(line: CalibrationLine, sums: dict[str, Floats]) -> dict[str, Floats]:
    """Move the line one step of Newton's method towards that of the resampled rows: a second would change little."""
    found = {}
    if line.in_the_large is not None:
        found["calibration_in_the_large"] = line.in_the_large + ratio(sums["large_slope"], sums["large_curvature"])
    if line.intercept is not None and line.slope is not None:
        determinant = sums["h00"] * sums["h11"] - sums["h01"] ** 2
        found["calibration_intercept"] = line.intercept + ratio(
            sums["h11"] * sums["g0"] - sums["h01"] * sums["g1"], determinant
        )
        found["calibration_slope"] = line.slope + ratio(
            sums["h00"] * sums["g1"] - sums["h01"] * sums["g0"], determinant
        )
    return found
