"""Columns that a model would not miss on rows it has not seen go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from churnlib.data.steps.proxies import PROXIES, make_proxy
from churnlib.data.steps.selection import FittedSelection, Ranking, Selection, ranked
from churnlib.data.steps.step import Training


@dataclass(frozen=True)
class SelectPermutation(Selection):
    """Keep the columns without whose order a proxy's log loss on held-out rows grows.

    The rows are a part of the training rows, and those of a customer are on one side. Two columns that say the same
    stand in for each other, and both look as if they were not missed: run ``select_correlated`` first.

    Attributes:
        proxy: ``hist_gradient_boosting`` or ``logistic``.
        folds: One of so many parts of the rows is held out.
        repeats: How often the values of a column are dealt anew.
        min_growth: Growth of the log loss in nats that a column needs to stay, in any case.
        errors: Standard errors (of the repeats) by which the growth must lie above ``min_growth``.
    """

    word = "select_permutation"
    proxy: str = "hist_gradient_boosting"
    folds: int = 4
    repeats: int = 5
    min_growth: float = 0.0
    errors: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("proxy", PROXIES)
        self.check_range("folds", 2)
        self.check_range("repeats", 2)
        self.check_range("min_growth", 0)
        self.check_range("errors", 0)

    def rank(self, training: Training, names: tuple[str, ...]) -> Ranking:  # noqa: D102
        fold = training.folds(self.folds)
        proxy, places = make_proxy(self.proxy, training, names), range(len(names))
        model = proxy.fit(places, np.flatnonzero(fold != 0))
        growth = proxy.permuted(model, places, np.flatnonzero(fold == 0), self.repeats)
        mean, error = growth.mean(axis=1), growth.std(axis=1, ddof=1) / np.sqrt(self.repeats)
        scores = {
            name: {"growth": float(mean[place]), "error": float(error[place])} for place, name in enumerate(names)
        }
        dropped = {
            name: f"dealt anew, the log loss of held-out rows grows by {one['growth']:.5f} +- {one['error']:.5f} only"
            for name, one in scores.items()
            if one["growth"] - self.errors * one["error"] <= self.min_growth
        }
        return Ranking(ranked(scores, {name: one["growth"] for name, one in scores.items()}), dropped)


__all__ = ["FittedSelection", "SelectPermutation"]
