"""CatBoost: its own fit, kept as its own JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from churnlib.models.baselines.baseline import Baseline, FittedBaseline, Head, Rows, Task
from churnlib.models.baselines.packages import library

if TYPE_CHECKING:
    from churnlib.models.onnx.graph import Graph
    from churnlib.models.onnx.writing import EncodedRows


@dataclass(frozen=True, kw_only=True)
class CatBoostModel(FittedBaseline):
    """A CatBoost model.

    Attributes:
        json: The model in CatBoost's own format, without what says when and with which settings it was fitted.
        cardinalities: Codes of each categorical column, missing and unseen included.
    """

    kind: ClassVar[str] = "catboost"
    state_name: ClassVar[str] = "model.json"
    json: bytes
    cardinalities: tuple[int, ...]

    @cached_property
    def model(self) -> Any:
        """CatBoost's object; read from the JSON on first use."""
        package = library("catboost")
        try:
            # The library reads JSON from files alone.
            with TemporaryDirectory() as folder:
                path = Path(folder) / "model.json"
                path.write_bytes(self.json)
                return package.CatBoost().load_model(str(path), format="json")
        except package.CatBoostError as error:
            raise ValueError(f"model.json is no CatBoost model ({error})") from error

    def scores(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:  # noqa: D102
        rows = _rows(numeric, codes, self.cardinalities)
        return self.model.predict(rows, prediction_type="RawFormulaVal", thread_count=1)

    def leaves(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the leaf of each row in each tree, ``(n, n_trees)`` uint32."""
        return self.model.calc_leaf_indexes(_rows(numeric, codes, self.cardinalities), thread_count=1)

    def draw_scores(self, graph: Graph, rows: EncodedRows) -> str:  # noqa: D102
        from churnlib.models.baselines.catboost_trees import catboost_trees
        from churnlib.models.onnx.graph import CannotExport
        from churnlib.models.onnx.trees import draw_combined

        try:
            combined = catboost_trees(self.json, self.leaves, rows.n_numeric, self.cardinalities)
        except ValueError as error:
            raise CannotExport(str(error)) from error
        return draw_combined(graph, combined, rows)

    def values(self) -> dict[str, Any]:  # noqa: D102
        return {"cardinalities": list(self.cardinalities)}

    def state(self) -> bytes:  # noqa: D102
        return self.json

    @classmethod
    def from_kept(cls, values: Mapping[str, Any], state: bytes, *, n_classes: int) -> CatBoostModel:  # noqa: D102
        head = Head.from_values(values["head"], n_classes=n_classes)
        model = cls(head=head, json=state, cardinalities=tuple(values["cardinalities"]))
        _ = model.model  # a broken file is refused now, not when a customer waits
        return model


@dataclass(frozen=True, kw_only=True)
class CatBoost(Baseline):
    """CatBoost on raw numbers and categories, stopped by the log loss of validation rows.

    Args:
        learning_rate: Share of each tree that is added; chosen by CatBoost when None.
        n_estimators: Rounds at most.
        depth: Steps from root to leaf; all nodes of a step ask the same question.
        l2_leaf_reg: Pull of the leaves towards 0.
        patience: Rounds without a better validation log loss until the end; the best round is kept.
    """

    packages: ClassVar[tuple[str, ...]] = ("catboost",)
    learning_rate: float | None = 0.06
    n_estimators: int = 1000
    depth: int = 6
    l2_leaf_reg: float = 3.0
    patience: int = 100

    def fit(self, train: Rows, validation: Rows, task: Task) -> CatBoostModel:  # noqa: D102
        package = library("catboost")
        cardinalities = tuple(task.input_spec["cardinalities"])
        sides = [
            package.Pool(
                _rows(side.numeric, side.codes, cardinalities),
                label=side.label,
                weight=task.row_weights(side.label, held_out=side is validation),
            )
            for side in (train, validation)
        ]
        model = package.CatBoost(
            {
                "loss_function": "Logloss" if task.n_classes == 2 else "MultiClass",
                "iterations": self.n_estimators,
                "learning_rate": self.learning_rate,
                "depth": self.depth,
                "l2_leaf_reg": self.l2_leaf_reg,
                "od_type": "Iter",
                "od_wait": self.patience,
                "random_seed": task.seed,
                "thread_count": task.threads or -1,
                "allow_writing_files": False,
                "logging_level": "Silent",
            }
        )
        model.fit(sides[0], eval_set=sides[1], use_best_model=True)
        return CatBoostModel(head=task.head(), json=_to_json(model), cardinalities=cardinalities)


def _to_json(model: Any) -> bytes:
    """Return the model as CatBoost writes it, but for the time, a random name and the settings of the fit."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        content = json.loads(path.read_bytes())
    for name in ("train_finish_time", "model_guid", "params", "training", "output_options"):
        content["model_info"].pop(name, None)
    return json.dumps(content).encode()


def _rows(numeric: np.ndarray, codes: np.ndarray, cardinalities: tuple[int, ...]) -> Any:
    """Return the rows as CatBoost reads them: numbers, and codes as words."""
    package = library("catboost")
    words = np.array([str(code).encode() for code in range(max(cardinalities, default=0))], dtype=object)
    return package.FeaturesData(
        num_feature_data=np.ascontiguousarray(numeric) if numeric.shape[1] else None,
        cat_feature_data=words[codes] if codes.shape[1] else None,
    )
