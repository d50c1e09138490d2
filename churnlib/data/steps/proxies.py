"""Quick models that stand in for the real one while columns are chosen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from churnlib.data.steps.associations import as_numbers, frequent_codes, is_category
from churnlib.data.steps.step import Training

PROXIES = ("hist_gradient_boosting", "logistic")

Places = Sequence[int] | np.ndarray
"""Columns of a proxy, by their numbers."""


def column_codes(training: Training, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return columns as numbers, categories as codes, and which of them are categories.

    Returns:
        ``(n, names)`` float64, missing NaN; ``(names,)`` bool.
    """
    categories = np.array([is_category(training, name) for name in names])
    table = np.empty((len(training.rows), len(names)))
    table[:, ~categories] = as_numbers(training, [name for name, c in zip(names, categories, strict=True) if not c])
    for place in np.flatnonzero(categories).tolist():
        code = frequent_codes(training.rows.get_column(names[place])).astype(np.float64)
        table[:, place] = np.where(code < 0, np.nan, code)
    return table, categories


class Proxy(ABC):
    """A quick model over any of the columns; what a column becomes (one number or several) stays together.

    Args:
        training: The rows.
        names: The columns; later on they are called by their places here.
    """

    blocks: list[np.ndarray]

    def __init__(self, training: Training, names: Sequence[str]) -> None:
        self.label, self.seed = training.label, training.seed
        self.table, self.categories = column_codes(training, names)

    @abstractmethod
    def fit(self, places: Places, rows: np.ndarray) -> Any:
        """Return a model of some columns, fitted to some rows."""

    @abstractmethod
    def importance(self, model: Any, places: Places, rows: np.ndarray) -> np.ndarray:
        """Return what each column is worth to a model, ``(places,)``; rows are held out ones."""

    def inputs(self, places: Places, rows: np.ndarray) -> np.ndarray:
        """Return the model's inputs, ``(rows, inputs)``."""
        return np.concatenate([self.blocks[place][rows] for place in places], axis=1)

    def loss(self, model: Any, inputs: np.ndarray, rows: np.ndarray) -> float:
        """Return the log loss of a model on its inputs in nats; a class it has not seen has probability 1e-7."""
        probability = np.full((len(rows), int(self.label.max()) + 1), 1e-7)
        probability[:, model.classes_] = model.predict_proba(inputs).clip(1e-7, 1)
        return float(-np.log(probability[np.arange(len(rows)), self.label[rows]]).mean())

    def permuted(self, model: Any, places: Places, rows: np.ndarray, repeats: int) -> np.ndarray:
        """Return how much the log loss grows when the values of one column are dealt anew, ``(places, repeats)``."""
        rng = np.random.default_rng(self.seed)
        inputs = self.inputs(places, rows)
        before = self.loss(model, inputs, rows)
        ends = np.cumsum([0, *(self.blocks[place].shape[1] for place in places)])
        growth = np.empty((len(places), repeats))
        for number, (start, end) in enumerate(pairwise(ends.tolist())):
            own = inputs[:, start:end].copy()
            for repeat in range(repeats):
                inputs[:, start:end] = own[rng.permutation(len(rows))]
                growth[number, repeat] = self.loss(model, inputs, rows) - before
            inputs[:, start:end] = own
        return growth


class Boosted(Proxy):
    """Gradient-boosted trees, which take gaps and categories as they are."""

    def __init__(self, training: Training, names: Sequence[str]) -> None:
        super().__init__(training, names)
        self.blocks = list(self.table.T[:, :, None])

    def fit(self, places: Places, rows: np.ndarray) -> Any:  # noqa: D102
        from sklearn.ensemble import HistGradientBoostingClassifier

        # Small trees and few rounds: which columns matter is known long before the last digit of the loss.
        options: dict[str, Any] = {"max_iter": 60, "max_leaf_nodes": 15, "early_stopping": False}
        options["categorical_features"] = self.categories[list(places)]
        model = HistGradientBoostingClassifier(**options, random_state=self.seed)
        inputs = self.inputs(places, rows)
        inputs[:, np.isnan(inputs).all(axis=0)] = 0.0  # scikit-learn cannot bin a column of nothing
        return model.fit(inputs, self.label[rows])

    def importance(self, model: Any, places: Places, rows: np.ndarray) -> np.ndarray:  # noqa: D102
        return self.permuted(model, places, rows, repeats=2).mean(axis=1)


class Logistic(Proxy):
    """Logistic regression on standardised numbers (missing: the mean, and a column that says so) and 0/1 columns."""

    MOST_VALUES = 20

    def __init__(self, training: Training, names: Sequence[str]) -> None:
        super().__init__(training, names)
        self.blocks = [
            self._indicated(codes) if category else self._standardised(codes)
            for codes, category in zip(self.table.T, self.categories, strict=True)
        ]

    def _indicated(self, codes: np.ndarray) -> np.ndarray:
        codes = np.where(np.isnan(codes), -1, np.minimum(codes, self.MOST_VALUES - 1))
        return (codes[:, None] == np.unique(codes)).astype(np.float64)

    def _standardised(self, numbers: np.ndarray) -> np.ndarray:
        given = ~np.isnan(numbers)
        mean, spread = (numbers[given].mean(), numbers[given].std()) if given.any() else (0.0, 0.0)
        scaled = np.where(given, (numbers - mean) / (spread or 1.0), 0.0)
        return scaled[:, None] if given.all() else np.stack([scaled, ~given], axis=1)

    def fit(self, places: Places, rows: np.ndarray) -> Any:  # noqa: D102
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=1000).fit(self.inputs(places, rows), self.label[rows])

    def importance(self, model: Any, places: Places, rows: np.ndarray) -> np.ndarray:
        """Return how far the column's part of the logits spreads over the rows: |coefficient| for a number."""
        ends = np.cumsum([self.blocks[place].shape[1] for place in places])[:-1]
        parts = np.split(model.coef_, ends, axis=1)
        return np.array(
            [
                float((self.blocks[place][rows] @ part.T).std(axis=0).sum())
                for place, part in zip(places, parts, strict=True)
            ]
        )


def make_proxy(name: str, training: Training, names: Sequence[str]) -> Proxy:
    """Return a proxy by its name in :data:`PROXIES`."""
    return {"hist_gradient_boosting": Boosted, "logistic": Logistic}[name](training, names)
