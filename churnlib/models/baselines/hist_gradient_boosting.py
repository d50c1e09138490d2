"""Histogram gradient boosting: scikit-learn's fit, our arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from churnlib.models.baselines.baseline import Baseline, Rows, Task
from churnlib.models.baselines.inputs import raw_matrix
from churnlib.models.baselines.trees import Trees, TreesBuilder, TreesModel

MOST_CODES = 255
"""Codes of a categorical column that scikit-learn splits as sets; larger columns are read in code order."""


@dataclass(frozen=True, kw_only=True)
class HistGradientBoosting(Baseline):
    """scikit-learn's histogram gradient boosting, stopped by the log loss of validation rows.

    Args:
        learning_rate: Share of each tree that is added.
        n_estimators: Rounds at most; a round is a tree per class, one for two classes.
        max_leaf_nodes: Leaves of a tree.
        min_samples_leaf: Rows in a leaf at least.
        l2_regularization: Pull of the leaves towards 0.
        max_features: Share of the columns that each split looks at, in (0, 1].
        patience: Rounds without a better validation log loss until the end; the best round is kept.
    """

    packages: ClassVar[tuple[str, ...]] = ("sklearn.ensemble",)
    learning_rate: float = 0.05
    n_estimators: int = 1000
    max_leaf_nodes: int = 8
    min_samples_leaf: int = 20
    l2_regularization: float = 0.0
    max_features: float = 0.5
    patience: int = 50

    def fit(self, train: Rows, validation: Rows, task: Task) -> TreesModel:  # noqa: D102
        model = self.fit_library(train, validation, task)
        best = int(np.argmax(model.validation_score_))  # place 0 is the score without trees
        return TreesModel(head=task.head(), trees=to_trees(model, task, rounds=best))

    def fit_library(self, train: Rows, validation: Rows, task: Task) -> Any:
        """Return scikit-learn's own fitted model, with the rounds after the best one."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(**self._settings(task)).fit(
            raw_matrix(train.numeric, train.codes),
            train.label,
            sample_weight=task.row_weights(train.label),
            X_val=raw_matrix(validation.numeric, validation.codes),
            y_val=validation.label,
            sample_weight_val=task.row_weights(validation.label, held_out=True),
        )

    def regressor(self, task: Task) -> Any:
        """Return the same for numbers in place of classes, not fitted yet."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(**self._settings(task))

    def _settings(self, task: Task) -> dict[str, Any]:
        cardinalities = task.input_spec["cardinalities"]
        as_sets = [False] * len(task.input_spec["fill"]) + [n_codes <= MOST_CODES for n_codes in cardinalities]
        return {
            "learning_rate": self.learning_rate,
            "max_iter": self.n_estimators,
            "max_leaf_nodes": self.max_leaf_nodes,
            "min_samples_leaf": self.min_samples_leaf,
            "l2_regularization": self.l2_regularization,
            "max_features": self.max_features,
            "categorical_features": as_sets if any(as_sets) else None,
            "early_stopping": True,
            "scoring": "loss",
            "n_iter_no_change": self.patience,
            "tol": 0.0,
            "random_state": task.seed,
        }


def to_trees(model: Any, task: Task, *, rounds: int) -> Trees:
    """Return the first rounds of scikit-learn's model as arrays."""
    n_numeric = len(task.input_spec["fill"])
    cardinalities = task.input_spec["cardinalities"]
    as_sets = model.is_categorical_
    encoded: dict[int, np.ndarray] = {}
    order = list(range(n_numeric + len(cardinalities)))
    if as_sets is not None:
        # scikit-learn puts these columns first and counts the codes that came in training: 0, 1, 2, ...
        encoder = model._preprocessor.named_transformers_["encoder"]
        sets = np.flatnonzero(as_sets).tolist()
        encoded = {place: known.astype(int) for place, known in enumerate(encoder.categories_)}
        order = [*sets, *np.flatnonzero(~as_sets).tolist()]
    builder = TreesBuilder(n_numeric, cardinalities)
    for predictors in model._predictors[:rounds]:
        for output, predictor in enumerate(predictors):
            _add(builder, predictor, order, encoded, output=output)
    return builder.build(np.ravel(model._baseline_prediction).tolist())


def _add(
    builder: TreesBuilder, predictor: Any, order: list[int], encoded: dict[int, np.ndarray], *, output: int
) -> None:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    own = np.arange(len(nodes))
    column = np.zeros(len(nodes), dtype=np.int64)
    threshold = np.where(is_leaf, 0.0, nodes["num_threshold"])
    for node in np.flatnonzero(~is_leaf).tolist():
        place = int(nodes["feature_idx"][node])
        feature, missing_left = order[place], bool(nodes["missing_go_to_left"][node])
        if feature < builder.n_numeric:
            column[node] = builder.number(feature, missing_left=missing_left)
            continue
        feature -= builder.n_numeric
        n_codes = builder.cardinalities[feature]
        if nodes["is_categorical"][node]:
            # A code that did not come in training counts as missing.
            right = np.full(n_codes, not missing_left)
            bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
            right[encoded[place]] = [
                not (int(bits[value // 32]) >> value % 32) & 1 for value in range(len(encoded[place]))
            ]
        else:
            right = np.arange(n_codes) > threshold[node]
        column[node] = builder.categories(feature, right)
        threshold[node] = 0.5
    children = np.stack([np.where(is_leaf, own, nodes[side]) for side in ("left", "right")], axis=1)
    builder.add(column, threshold, children, np.where(is_leaf, nodes["value"], 0.0)[:, None], output=output)
