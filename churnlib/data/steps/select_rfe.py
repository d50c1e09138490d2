"""Recursive elimination: the column that is missed least goes, again and again, while held-out rows do not mind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from churnlib.data.steps.proxies import PROXIES, Proxy, make_proxy
from churnlib.data.steps.selection import FittedSelection, Ranking, Selection, ranked
from churnlib.data.steps.step import Training


@dataclass(frozen=True)
class SelectRFE(Selection):
    """Keep as many columns as give the lowest log loss in cross-validation (Guyon et al., Machine Learning 46, 2002).

    In each fold a proxy is fitted, the columns that are worth least to it go, and so on down to ``min_columns``; what
    stays are the columns that lasted longest over all folds. It is scikit-learn's ``RFECV`` but for the last point
    (which eliminates once more on all rows), and in that a category stays or goes as a whole.

    Attributes:
        proxy: ``logistic`` (a column is worth the spread of its part of the logit) or ``hist_gradient_boosting`` (the
            growth of the log loss on held-out rows when the column is dealt anew).
        folds: Of the cross-validation; rows of a customer are in the same fold.
        drop_share: Share of the columns left that goes in each round, at least one, in (0, 1).
        min_columns: Columns that stay at least.
        errors: The fewest columns are taken whose log loss lies within so many standard errors (over the folds, of the
            differences) of the lowest; 0 takes the lowest.
    """

    word = "select_rfe"
    rows: int = 20_000
    proxy: str = "logistic"
    folds: int = 5
    drop_share: float = 0.1
    min_columns: int = 1
    errors: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("proxy", PROXIES)
        self.check_range("folds", 2)
        self.check_range("drop_share", 0, 1, open_ends="low high")
        self.check_range("min_columns", 1)
        self.check_range("errors", 0)

    def rank(self, training: Training, names: tuple[str, ...]) -> Ranking:  # noqa: D102
        fold = training.folds(self.folds)
        proxy = make_proxy(self.proxy, training, names)
        sizes = self._sizes(len(names))
        runs = [self._eliminate(proxy, sizes, fold == part) for part in range(self.folds)]
        loss = np.array([losses for losses, _ in runs])
        lasted = np.mean([rounds for _, rounds in runs], axis=0)
        n_best = self._choose(sizes, loss)
        order = np.argsort(-lasted, kind="stable")
        scores = {names[place]: {"rounds": float(lasted[place])} for place in range(len(names))}
        dropped = {
            names[place]: f"lasted {lasted[place]:.1f} of {len(sizes) - 1} rounds, and {n_best} columns are enough"
            for place in order[n_best:]
        }
        best = dict(zip(sizes, loss.mean(axis=0).tolist(), strict=True))
        said = f"log loss {best[n_best]:.4f} with {n_best} columns, {best[len(names)]:.4f} with all {len(names)}"
        return Ranking(ranked(scores, {name: one["rounds"] for name, one in scores.items()}), dropped, (said,))

    def _sizes(self, n: int) -> list[int]:
        """Return how many columns each round has, from all down to the least."""
        sizes = [n]
        while sizes[-1] > min(self.min_columns, n):
            sizes.append(max(self.min_columns, sizes[-1] - max(1, int(self.drop_share * sizes[-1]))))
        return sizes

    def _eliminate(self, proxy: Proxy, sizes: list[int], held_out: np.ndarray) -> tuple[list[float], np.ndarray]:
        """Return the log loss of each round on the held-out rows, and how many rounds each column lasted."""
        train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        left = np.arange(len(proxy.blocks))
        losses, lasted = [], np.full(len(left), len(sizes) - 1)
        for number, after in enumerate([*sizes[1:], 0]):
            model = proxy.fit(left, train)
            losses.append(proxy.loss(model, proxy.inputs(left, test), test))
            if after:
                worth = proxy.importance(model, left, test)
                gone = np.argsort(worth, kind="stable")[: len(left) - after]
                lasted[left[gone]] = number
                left = np.delete(left, gone)
        return losses, lasted

    def _choose(self, sizes: list[int], loss: np.ndarray) -> int:
        """Return the number of columns, from ``(folds, sizes)`` losses."""
        best = int(loss.mean(axis=0).argmin())
        worse = loss - loss[:, [best]]
        error = worse.std(axis=0, ddof=1) / np.sqrt(len(loss))
        good = worse.mean(axis=0) <= self.errors * error
        return min(size for size, fine in zip(sizes, good, strict=True) if fine)


__all__ = ["FittedSelection", "SelectRFE"]
