"""How much a term of two columns lowers the log loss of a logistic regression on rows that it was not fitted to.

In each fold a ridge regression of all columns (numbers in bins too, so that a curve is no interaction) gives every row
its log-odds. A term of numbers, less what the columns say of it already, gets one coefficient on top of them; crossed
categories get one for each pair of values, shrunk towards 0. The best term joins the log-odds, and the others are
judged again beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from churnlib.data.steps.polynomial import Term

BINS = 8
SHORTLIST = 40
"""Terms that are judged again after each that was kept."""
CHUNK = 64
CELL_PENALTY = 5.0
NEWTON_STEPS = 3


@dataclass(frozen=True, slots=True)
class Candidates:
    """What is judged.

    Attributes:
        rows: Training rows.
        numbers: Their columns of numbers.
        categories: Their columns of categories.
        terms: What is made of them.
        made: One column for each term.
    """

    rows: pl.DataFrame
    numbers: Sequence[str]
    categories: Sequence[str]
    terms: Sequence[Term]
    made: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Gain:
    """By how much a term lowers the log loss, in nats per row, with its standard error."""

    term: Term
    mean: float
    error: float


def fold_numbers(groups: np.ndarray | None, n: int, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each row, ``(n,)``; rows of one group are in one fold."""
    group = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    return (rng.permutation(int(group.max(initial=-1)) + 1) % folds)[group]


def ranked_gains(
    candidates: Candidates, label: np.ndarray, n_classes: int, fold: np.ndarray, *, top: int, significance: float
) -> list[Gain]:
    """Return up to ``top`` terms, each the best beside those before it, while their gain is significant."""
    if not candidates.terms or not len(label):
        return []
    design = _design(candidates)
    targets = [label == one for one in (range(n_classes) if n_classes > 2 else (1,))]
    rounds = [_Fold(design, target, fold == number) for target in targets for number in np.unique(fold)]
    left, kept = list(range(len(candidates.terms))), []
    while left and len(kept) < top:
        gains = np.zeros((len(label), len(left)))
        for one in rounds:
            gains[one.out] += one.gains(candidates, left)
        means, errors = gains.mean(0), gains.std(0) / np.sqrt(len(label))
        best = int(np.argmax(means))
        if not means[best] > max(0.0, significance * errors[best]):
            break
        kept.append(Gain(candidates.terms[left[best]], float(means[best]), float(errors[best])))
        for one in rounds:
            one.keep(candidates, left[best])
        order = [place for place in np.argsort(-means, kind="stable")[: SHORTLIST + 1] if place != best]
        left = [left[place] for place in order]
    return kept


def _design(candidates: Candidates) -> np.ndarray:
    """Return the columns as a regression reads them, ``(n, d)``: an intercept, numbers, their bins, categories."""
    parts = [np.ones((len(candidates.rows), 1))]
    for name in candidates.numbers:
        value = _scaled(candidates.rows[name].to_numpy())
        edges = np.unique(np.quantile(value, np.arange(1, BINS) / BINS))
        parts += [value[:, None], np.eye(len(edges) + 1)[np.searchsorted(edges, value)][:, 1:]]
        parts.append(candidates.rows[name].is_null().to_numpy()[:, None].astype(float))
    for name in candidates.categories:
        codes = _codes(candidates.rows[name])
        parts.append(np.eye(codes.max() + 1)[codes][:, 1:])
    return np.concatenate(parts, axis=1)


def _scaled(value: np.ndarray) -> np.ndarray:
    """Return a number with mean 0 and deviation 1, its extremes cut off, missing ones in the middle."""
    given = value[np.isfinite(value)]
    if not len(given):
        return np.zeros(len(value))
    low, high = np.quantile(given, [0.005, 0.995])
    value = np.clip(np.where(np.isfinite(value), value, np.median(given)), low, high)
    return (value - value.mean()) / (value.std() or 1.0)


def _codes(values: pl.Series) -> np.ndarray:
    return np.unique(values.fill_null("\0").to_numpy().astype(str), return_inverse=True)[1]


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logit, -30, 30)))


def _loss(logit: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, logit) - target * logit


class _Fold:
    """One fold of one class: log-odds of all rows by what the others say."""

    def __init__(self, design: np.ndarray, target: np.ndarray, out: np.ndarray) -> None:
        self.out = np.flatnonzero(out)
        self._in = np.flatnonzero(~out)
        self._design, self._target = design, target.astype(float)
        penalty = np.ones(design.shape[1])
        penalty[0] = 1e-6
        inside, weights = design[self._in], np.zeros(design.shape[1])
        for _ in range(8):
            p = _sigmoid(inside @ weights)
            hessian = inside.T @ (inside * (p * (1 - p))[:, None]) + np.diag(penalty)
            weights += np.linalg.solve(hessian, inside.T @ (self._target[self._in] - p) - penalty * weights)
        self.logit = design @ weights
        self._weight: np.ndarray = np.asarray(p * (1 - p))
        self._hessian = hessian

    def gains(self, candidates: Candidates, places: Sequence[int]) -> np.ndarray:
        """Return how much lower the loss of each row outside is with each term, ``(n_out, n_places)``."""
        before = _loss(self.logit[self.out], self._target[self.out])
        after = np.empty((len(self.out), len(places)))
        for start in range(0, len(places), CHUNK):
            part = places[start : start + CHUNK]
            shift = self._shifts(candidates, part)[self.out]
            after[:, start : start + len(part)] = _loss(
                self.logit[self.out][:, None] + shift, self._target[self.out][:, None]
            )
        return before[:, None] - after

    def keep(self, candidates: Candidates, place: int) -> None:
        """Add a term to the log-odds."""
        self.logit = self.logit + self._shifts(candidates, [place])[:, 0]

    def _shifts(self, candidates: Candidates, places: Sequence[int]) -> np.ndarray:
        shifts = np.empty((len(self.logit), len(places)))
        numeric = [at for at, place in enumerate(places) if candidates.terms[place][0] != "cross"]
        for at in sorted(set(range(len(places))) - set(numeric)):
            shifts[:, at] = self._cells(_codes(candidates.made.to_series(places[at])))
        if numeric:
            values = [_scaled(candidates.made.to_series(places[at]).to_numpy()) for at in numeric]
            shifts[:, numeric] = self._slopes(np.stack(values, axis=1))
        return shifts

    def _slopes(self, values: np.ndarray) -> np.ndarray:
        inside = self._design[self._in]
        known = np.linalg.solve(self._hessian, inside.T @ (values[self._in] * self._weight[:, None]))
        rest = values - self._design @ known
        slope = np.zeros(values.shape[1])
        for _ in range(NEWTON_STEPS):
            p = _sigmoid(self.logit[self._in][:, None] + rest[self._in] * slope)
            gradient = (rest[self._in] * (self._target[self._in][:, None] - p)).sum(0) - slope
            slope += gradient / ((rest[self._in] ** 2 * p * (1 - p)).sum(0) + 1.0)
        return rest * slope

    def _cells(self, codes: np.ndarray) -> np.ndarray:
        effect, inside, n = np.zeros(codes.max() + 1), codes[self._in], codes.max() + 1
        for _ in range(NEWTON_STEPS):
            p = _sigmoid(self.logit[self._in] + effect[inside])
            gradient = np.bincount(inside, self._target[self._in] - p, n) - CELL_PENALTY * effect
            effect += gradient / (np.bincount(inside, p * (1 - p), n) + CELL_PENALTY)
        return effect[codes]


__all__ = ["Candidates", "Gain", "fold_numbers", "ranked_gains"]
