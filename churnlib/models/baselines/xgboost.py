"""XGBoost: its own fit, kept as its own JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from churnlib.models.baselines.baseline import Baseline, FittedBaseline, Head, Rows, Task
from churnlib.models.baselines.inputs import raw_matrix
from churnlib.models.baselines.packages import library

if TYPE_CHECKING:
    from churnlib.models.onnx.graph import Graph
    from churnlib.models.onnx.writing import EncodedRows


@dataclass(frozen=True, kw_only=True)
class XGBoostModel(FittedBaseline):
    """An XGBoost booster.

    Attributes:
        json: The model in XGBoost's own format.
    """

    kind: ClassVar[str] = "xgboost"
    state_name: ClassVar[str] = "model.json"
    json: bytes

    @cached_property
    def booster(self) -> Any:
        """XGBoost's object; read from the JSON on first use."""
        booster = library("xgboost").Booster()
        booster.load_model(bytearray(self.json))
        booster.set_param({"nthread": 1})
        return booster

    def scores(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:  # noqa: D102
        margins = self.booster.inplace_predict(raw_matrix(numeric, codes), predict_type="margin", strict_shape=True)
        margins = margins.astype(np.float64)
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def draw_scores(self, graph: Graph, rows: EncodedRows) -> str:  # noqa: D102
        from churnlib.models.baselines.boosted_trees import xgboost_trees
        from churnlib.models.onnx.trees import draw_trees

        return draw_trees(graph, xgboost_trees(self.json, rows.n_numeric, rows.cardinalities), rows)

    def values(self) -> dict[str, Any]:  # noqa: D102
        return {}

    def state(self) -> bytes:  # noqa: D102
        return self.json

    @classmethod
    def from_kept(cls, values: Mapping[str, Any], state: bytes, *, n_classes: int) -> XGBoostModel:  # noqa: D102
        model = cls(head=Head.from_values(values["head"], n_classes=n_classes), json=state)
        _ = model.booster  # a broken file is refused now, not when a customer waits
        return model


@dataclass(frozen=True, kw_only=True)
class XGBoost(Baseline):
    """XGBoost on raw numbers and category codes, stopped by the log loss of validation rows.

    Args:
        learning_rate: Share of each tree that is added.
        n_estimators: Rounds at most; a round is a tree per class, one for two classes.
        max_depth: Steps from root to leaf.
        min_child_weight: Sum of the rows' curvature in a leaf at least.
        subsample: Share of the rows that each tree sees, in (0, 1].
        colsample_bylevel: Share of the columns that each level sees, in (0, 1].
        reg_lambda: Pull of the leaves towards 0.
        patience: Rounds without a better validation log loss until the end; the best round is kept.
    """

    packages: ClassVar[tuple[str, ...]] = ("xgboost",)
    learning_rate: float = 0.05
    n_estimators: int = 1000
    max_depth: int = 4
    min_child_weight: float = 1.0
    subsample: float = 0.75
    colsample_bylevel: float = 0.5
    reg_lambda: float = 1.0
    patience: int = 100

    def fit(self, train: Rows, validation: Rows, task: Task) -> XGBoostModel:  # noqa: D102
        package = library("xgboost")
        kinds = ["q"] * train.numeric.shape[1] + ["c"] * train.codes.shape[1]
        sides = [
            package.DMatrix(
                raw_matrix(side.numeric, side.codes),
                side.label,
                weight=task.row_weights(side.label, held_out=side is validation),
                feature_types=kinds,
                enable_categorical=True,
                nthread=task.threads,
            )
            for side in (train, validation)
        ]
        booster = package.train(
            self._parameters(task),
            sides[0],
            self.n_estimators,
            evals=[(sides[1], "validation")],
            early_stopping_rounds=self.patience,
            verbose_eval=False,
        )
        best = booster[: booster.best_iteration + 1]
        best.set_attr(best_iteration=None, best_score=None)
        return XGBoostModel(head=task.head(), json=bytes(best.save_raw("json")))

    def _parameters(self, task: Task) -> dict[str, Any]:
        if task.n_classes == 2:
            classes = {"objective": "binary:logistic", "eval_metric": "logloss"}
        else:
            classes = {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": task.n_classes}
        return {
            **classes,
            "learning_rate": self.learning_rate,
            "max_depth": self.max_depth,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "colsample_bylevel": self.colsample_bylevel,
            "reg_lambda": self.reg_lambda,
            "tree_method": "hist",
            "seed": task.seed,
            "nthread": task.threads or 0,
            "verbosity": 0,
        }
