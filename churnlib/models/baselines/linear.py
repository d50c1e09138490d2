"""Logistic regression and the linear support vector machine: one coefficient per input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from churnlib.logistic import fit_platt
from churnlib.models.baselines.arrays import read_arrays, write_arrays
from churnlib.models.baselines.baseline import Baseline, FittedBaseline, Head, Rows, Task
from churnlib.models.baselines.inputs import FlatBaseline, FlatInputs

if TYPE_CHECKING:
    from churnlib.models.onnx.graph import Graph
    from churnlib.models.onnx.writing import EncodedRows

MAX_ITERATIONS = 1_000
"""Of the solvers; they need some dozens on scaled inputs."""

Scaled = TypeVar("Scaled", bound=FittedBaseline)


@dataclass(frozen=True, kw_only=True)
class LinearModel(FlatBaseline):
    """Scores ``inputs @ coefficients + intercepts``.

    Attributes:
        coefficients: ``(in_features, n_outputs)`` float64, one output for two classes.
        intercepts: ``(n_outputs,)`` float64.
    """

    kind: ClassVar[str] = "linear"
    coefficients: np.ndarray
    intercepts: np.ndarray

    def scores(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:  # noqa: D102
        scores = self.inputs(numeric, codes) @ self.coefficients + self.intercepts
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def draw_scores(self, graph: Graph, rows: EncodedRows) -> str:  # noqa: D102
        from churnlib.models.onnx.blending import draw_affine

        return draw_affine(graph, self.inputs.draw(graph, rows), self.coefficients, self.intercepts)

    def state(self) -> bytes:  # noqa: D102
        return write_arrays({"coefficients": self.coefficients, "intercepts": self.intercepts})

    @classmethod
    def from_kept(cls, values: Mapping[str, Any], state: bytes, *, n_classes: int) -> LinearModel:  # noqa: D102
        arrays = read_arrays(state, {"coefficients": ("f", 2), "intercepts": ("f", 1)})
        head = Head.from_values(values["head"], n_classes=n_classes)
        model = cls(head=head, input_spec=values["input"], **arrays)
        shape = (model.inputs.width, len(head.shift))
        if model.coefficients.shape != shape or model.intercepts.shape != shape[1:]:
            raise ValueError(f"a linear model of {shape[0]} inputs cannot have {model.coefficients.shape} coefficients")
        return model


@dataclass(frozen=True, kw_only=True)
class LogisticRegression(Baseline):
    """scikit-learn's logistic regression with an L2 penalty.

    Args:
        C: Inverse strength of the penalty.
    """

    packages: ClassVar[tuple[str, ...]] = ("sklearn.linear_model",)
    C: float = 1.0

    def fit(self, train: Rows, validation: Rows, task: Task) -> LinearModel:  # noqa: D102
        from sklearn import linear_model

        model = linear_model.LogisticRegression(C=self.C, max_iter=MAX_ITERATIONS)
        return _fitted(model, train, task, head=task.head())


@dataclass(frozen=True, kw_only=True)
class LinearSVM(Baseline):
    """scikit-learn's linear support vector machine (squared hinge); its margin becomes log-odds on validation rows.

    Args:
        C: Inverse strength of the penalty.
    """

    packages: ClassVar[tuple[str, ...]] = ("sklearn.svm",)
    C: float = 1.0

    def fit(self, train: Rows, validation: Rows, task: Task) -> LinearModel:  # noqa: D102
        from sklearn.svm import LinearSVC

        # The primal problem: there are more rows than inputs, and its solver needs no random order.
        model = LinearSVC(C=self.C, dual=False, max_iter=MAX_ITERATIONS)  # pyright: ignore[reportArgumentType]
        return platt_scaled(_fitted(model, train, task, head=Head.undoing([1.0] * task.n_classes)), validation)


def _fitted(model: Any, train: Rows, task: Task, *, head: Head) -> LinearModel:
    inputs = FlatInputs(task.input_spec)(train.numeric, train.codes)
    model.fit(inputs, train.label, sample_weight=task.row_weights(train.label))
    return LinearModel(
        head=head,
        input_spec=task.input_spec,
        coefficients=np.ascontiguousarray(model.coef_.T),
        intercepts=np.asarray(model.intercept_, dtype=np.float64),
    )


def platt_scaled(model: Scaled, validation: Rows) -> Scaled:
    """Return the fitted model with the head that validation rows suggest."""
    margins = model.scores(validation.numeric, validation.codes)
    return replace(model, head=Head(*fit_platt(margins, validation.label, unit=float(margins.std()) or 1.0)))
