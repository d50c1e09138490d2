"""LightGBM: its own fit, kept as its own text."""

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
class LightGBMModel(FittedBaseline):
    """A LightGBM booster.

    Attributes:
        text: The model in LightGBM's own format.
    """

    kind: ClassVar[str] = "lightgbm"
    state_name: ClassVar[str] = "model.txt"
    text: str

    @cached_property
    def booster(self) -> Any:
        """LightGBM's object; read from the text on first use."""
        package = library("lightgbm")
        try:
            return package.Booster(model_str=self.text)
        except package.basic.LightGBMError as error:
            raise ValueError(f"model.txt is no LightGBM model ({error})") from error

    def scores(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:  # noqa: D102
        return self.booster.predict(raw_matrix(numeric, codes), raw_score=True, num_threads=1)

    def draw_scores(self, graph: Graph, rows: EncodedRows) -> str:  # noqa: D102
        from churnlib.models.baselines.boosted_trees import lightgbm_trees
        from churnlib.models.onnx.trees import draw_trees

        return draw_trees(graph, lightgbm_trees(self.text, rows.n_numeric, rows.cardinalities), rows)

    def values(self) -> dict[str, Any]:  # noqa: D102
        return {}

    def state(self) -> bytes:  # noqa: D102
        return self.text.encode()

    @classmethod
    def from_kept(cls, values: Mapping[str, Any], state: bytes, *, n_classes: int) -> LightGBMModel:  # noqa: D102
        model = cls(head=Head.from_values(values["head"], n_classes=n_classes), text=state.decode())
        if model.booster.num_model_per_iteration() != len(model.head.shift):
            raise ValueError(f"model.txt is no model of {n_classes} classes")
        return model


@dataclass(frozen=True, kw_only=True)
class LightGBM(Baseline):
    """LightGBM on raw numbers and category codes, stopped by the log loss of validation rows.

    Args:
        learning_rate: Share of each tree that is added.
        n_estimators: Rounds at most; a round is a tree per class, one for two classes.
        num_leaves: Leaves of a tree.
        min_child_samples: Rows in a leaf at least.
        subsample: Share of the rows that each tree sees, in (0, 1].
        colsample_bytree: Share of the columns that each tree sees, in (0, 1].
        reg_lambda: Pull of the leaves towards 0.
        patience: Rounds without a better validation log loss until the end; the best round is kept.
    """

    packages: ClassVar[tuple[str, ...]] = ("lightgbm",)
    learning_rate: float = 0.04
    n_estimators: int = 1000
    num_leaves: int = 8
    min_child_samples: int = 20
    subsample: float = 0.75
    colsample_bytree: float = 0.5
    reg_lambda: float = 0.0
    patience: int = 100

    def fit(self, train: Rows, validation: Rows, task: Task) -> LightGBMModel:  # noqa: D102
        package = library("lightgbm")
        n_numeric = train.numeric.shape[1]
        categories = [n_numeric + i for i in range(train.codes.shape[1])]
        parameters = self._parameters(task)
        rows = [
            package.Dataset(
                raw_matrix(side.numeric, side.codes),
                side.label,
                weight=task.row_weights(side.label, held_out=side is validation),
                categorical_feature=categories,
                params=parameters,
            )
            for side in (train, validation)
        ]
        rows[1].reference = rows[0]
        booster = package.train(
            parameters,
            rows[0],
            self.n_estimators,
            valid_sets=[rows[1]],
            callbacks=[package.early_stopping(self.patience, verbose=False)],
        )
        text = booster.model_to_string(num_iteration=booster.best_iteration)
        return LightGBMModel(head=task.head(), text=text)

    def _parameters(self, task: Task) -> dict[str, Any]:
        classes = (
            {"objective": "binary"} if task.n_classes == 2 else {"objective": "multiclass", "num_class": task.n_classes}
        )
        return {
            **classes,
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_child_samples": self.min_child_samples,
            "subsample": self.subsample,
            "subsample_freq": int(self.subsample < 1),
            "colsample_bytree": self.colsample_bytree,
            "reg_lambda": self.reg_lambda,
            "num_threads": task.threads or 0,
            "seed": task.seed,
            # The same numbers whatever the machine thinks is fastest.
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
