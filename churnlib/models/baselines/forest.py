"""Random forest: scikit-learn's fit, our arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from churnlib.models.baselines.baseline import Baseline, Rows, Task
from churnlib.models.baselines.trees import TreesBuilder, TreesModel
from churnlib.models.input_layer import FIRST_KNOWN, MISSING

MOST_ONE_HOT = 256
"""Codes of a categorical column up to which each gets an input of its own; larger columns are read in code order."""


@dataclass(frozen=True, kw_only=True)
class RandomForest(Baseline):
    """scikit-learn's random forest on raw numbers, missing values as they are, and one-hot categories.

    Args:
        n_estimators: Trees.
        max_features: Share of the inputs that each split looks at, in (0, 1]; their square root when None.
        max_depth: Most steps from root to leaf; None for no limit.
        min_samples_leaf: Rows in a leaf at least.
    """

    packages: ClassVar[tuple[str, ...]] = ("sklearn.ensemble",)
    n_estimators: int = 300
    max_features: float | None = None
    max_depth: int | None = None
    min_samples_leaf: int = 5

    def fit(self, train: Rows, validation: Rows, task: Task) -> TreesModel:  # noqa: D102
        from sklearn.ensemble import RandomForestClassifier

        cardinalities = task.input_spec["cardinalities"]
        sets = _sets(cardinalities, task.input_spec["has_missing"])
        forest = RandomForestClassifier(
            self.n_estimators,
            max_features=self.max_features or "sqrt",  # pyright: ignore[reportArgumentType]
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            n_jobs=task.threads,
            random_state=task.seed,
        )
        forest.fit(forest_inputs(train, sets), train.label, sample_weight=task.row_weights(train.label))
        n_numeric = train.numeric.shape[1]
        builder = TreesBuilder(n_numeric, cardinalities)
        for estimator in forest.estimators_:
            _add(builder, estimator.tree_, sets, binary=task.n_classes == 2)
        start = [0.0] * (1 if task.n_classes == 2 else task.n_classes)
        return TreesModel(head=task.head(), trees=builder.build(start), votes=self.n_estimators)


def _sets(cardinalities: list[int], has_missing: list[bool]) -> list[tuple[int, np.ndarray]]:
    """Return for each input made from a category its column and ``(cardinality,)`` float32 what it is for each code."""
    sets: list[tuple[int, np.ndarray]] = []
    for feature, (n_codes, missing) in enumerate(zip(cardinalities, has_missing, strict=True)):
        if n_codes > MOST_ONE_HOT:
            sets.append((feature, np.arange(n_codes, dtype=np.float32)))
        else:
            known = [*([MISSING] if missing else []), *range(FIRST_KNOWN, n_codes)]
            sets += [(feature, (np.arange(n_codes) == code).astype(np.float32)) for code in known]
    return sets


def forest_inputs(rows: Rows, sets: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Return numbers and what :func:`_sets` says, side by side, ``(n, n_inputs)`` float32."""
    made = [values[rows.codes[:, feature]] for feature, values in sets]
    return np.concatenate([rows.numeric, np.array(made, dtype=np.float32).reshape(len(made), len(rows)).T], axis=1)


def _add(builder: TreesBuilder, tree: object, sets: list[tuple[int, np.ndarray]], *, binary: bool) -> None:
    """Add one of scikit-learn's trees; its leaves hold the shares of the classes."""
    nodes = tree.__getstate__()["nodes"]  # type: ignore[attr-defined]
    values = tree.value[:, 0, :]  # type: ignore[attr-defined]
    left, right = nodes["left_child"], nodes["right_child"]
    own = np.arange(len(nodes))
    is_leaf = left == -1
    column = np.zeros(len(nodes), dtype=np.int64)
    threshold = nodes["threshold"].copy()
    for node in np.flatnonzero(~is_leaf).tolist():
        feature = int(nodes["feature"][node])
        if feature < builder.n_numeric:
            column[node] = builder.number(feature, missing_left=bool(nodes["missing_go_to_left"][node]))
        else:
            which, inputs = sets[feature - builder.n_numeric]
            column[node] = builder.categories(which, inputs > threshold[node])
            threshold[node] = 0.5
    threshold[is_leaf] = 0.0
    children = np.stack([np.where(is_leaf, own, left), np.where(is_leaf, own, right)], axis=1)
    shares = values / values.sum(axis=1, keepdims=True)
    builder.add(column, threshold, children, shares[:, 1:] if binary else shares)
