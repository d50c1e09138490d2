"""The support vector machine with a radial kernel, on landmarks (Nystroem's approximation).

Landmarks are means of similar customers, as k-means finds them, and not customers: they say more than as many random
rows (Zhang, Tsang and Kwok 2008, "Improved Nystroem low-rank approximation"), and a bundle must hold no customer's row,
which the support vectors of the exact machine are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from churnlib.models.baselines.arrays import read_arrays, write_arrays
from churnlib.models.baselines.baseline import Baseline, Head, Rows, Task
from churnlib.models.baselines.inputs import FlatBaseline, FlatInputs
from churnlib.models.baselines.linear import MAX_ITERATIONS, platt_scaled

if TYPE_CHECKING:
    from churnlib.models.onnx.graph import Graph
    from churnlib.models.onnx.writing import EncodedRows

FEWEST = 5
"""Rows behind each landmark at least."""

MOST_CLUSTERED = 20_000
"""Training rows that landmarks are looked for in; more change little and cost time."""

SMALLEST_DIRECTION = 1e-8
"""Share of the largest below which a direction of the kernel is rounding error."""


@dataclass(frozen=True, kw_only=True)
class KernelModel(FlatBaseline):
    """Scores ``exp(-gamma * |inputs - landmark|^2) @ weights + intercepts``.

    Attributes:
        gamma: Inverse squared width of the kernel.
        landmarks: ``(n_landmarks, in_features)`` float64. Each is a mean of inputs.
        weights: ``(n_landmarks, n_outputs)`` float64, one output for two classes.
        intercepts: ``(n_outputs,)`` float64.
    """

    kind: ClassVar[str] = "kernel"
    gamma: float
    landmarks: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray

    def scores(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:  # noqa: D102
        inputs = self.inputs(numeric, codes)
        scores = _kernel(inputs, self.landmarks, self.gamma) @ self.weights + self.intercepts
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def draw_scores(self, graph: Graph, rows: EncodedRows) -> str:  # noqa: D102
        from churnlib.models.onnx.blending import draw_affine

        inputs = self.inputs.draw(graph, rows)
        own = graph.reduce("ReduceSum", graph.add("Mul", inputs, inputs), [1], keepdims=True)
        offsets = (self.landmarks**2).sum(1)
        crossed = draw_affine(graph, inputs, -2 * self.landmarks.T, offsets, squeeze=False)
        squared = graph.add("Max", graph.add("Add", own, crossed), graph.constant(0, np.float64))
        likeness = graph.add("Exp", graph.add("Mul", squared, graph.constant(-self.gamma, np.float64)))
        return draw_affine(graph, likeness, self.weights, self.intercepts)

    def values(self) -> dict[str, Any]:  # noqa: D102
        return {**super().values(), "gamma": self.gamma}

    def state(self) -> bytes:  # noqa: D102
        arrays = {"landmarks": self.landmarks, "weights": self.weights, "intercepts": self.intercepts}
        return write_arrays(arrays)

    @classmethod
    def from_kept(cls, values: Mapping[str, Any], state: bytes, *, n_classes: int) -> KernelModel:  # noqa: D102
        arrays = read_arrays(state, {"landmarks": ("f", 2), "weights": ("f", 2), "intercepts": ("f", 1)})
        head = Head.from_values(values["head"], n_classes=n_classes)
        model = cls(head=head, input_spec=values["input"], gamma=float(values["gamma"]), **arrays)
        n_landmarks, width = model.landmarks.shape
        shapes = (model.weights.shape, model.intercepts.shape)
        if width != model.inputs.width or shapes != ((n_landmarks, len(head.shift)), (len(head.shift),)):
            raise ValueError(f"a kernel model of {model.inputs.width} inputs cannot have landmarks of {width}")
        return model


@dataclass(frozen=True, kw_only=True)
class RBFSVM(Baseline):
    """A linear support vector machine (scikit-learn's, squared hinge) on the features of a radial kernel.

    Args:
        C: Inverse strength of the penalty.
        gamma: Inverse squared width of the kernel; ``1 / (inputs * their variance)`` when None, as scikit-learn's
            "scale".
        n_landmarks: Means of customers that the kernel compares with, at most.
    """

    packages: ClassVar[tuple[str, ...]] = ("sklearn.cluster", "sklearn.svm")
    C: float = 1.0
    gamma: float | None = None
    n_landmarks: int = 300

    def fit(self, train: Rows, validation: Rows, task: Task) -> KernelModel:  # noqa: D102
        from sklearn.svm import LinearSVC

        inputs = FlatInputs(task.input_spec)(train.numeric, train.codes)
        gamma = self.gamma or 1.0 / (max(inputs.shape[1], 1) * (float(inputs.var()) or 1.0))
        landmarks = _landmarks(inputs, self.n_landmarks, seed=task.seed)
        whitening = _inverse_root(_kernel(landmarks, landmarks, gamma))
        svm = LinearSVC(C=self.C, dual=False, max_iter=MAX_ITERATIONS)  # pyright: ignore[reportArgumentType]
        features = _kernel(inputs, landmarks, gamma) @ whitening
        svm.fit(features, train.label, sample_weight=task.row_weights(train.label))
        model = KernelModel(
            head=Head.undoing([1.0] * task.n_classes),
            input_spec=task.input_spec,
            gamma=gamma,
            landmarks=landmarks,
            weights=whitening @ svm.coef_.T,
            intercepts=np.asarray(svm.intercept_, dtype=np.float64),
        )
        return platt_scaled(model, validation)


def _landmarks(inputs: np.ndarray, n_landmarks: int, *, seed: int) -> np.ndarray:
    """Return means of groups of similar rows, without those of so few rows that they could point at a person."""
    from sklearn.cluster import KMeans

    if len(inputs) > MOST_CLUSTERED:
        inputs = inputs[np.random.default_rng(seed).choice(len(inputs), MOST_CLUSTERED, replace=False)]
    wanted = max(1, min(n_landmarks, len(inputs) // (2 * FEWEST), len(np.unique(inputs, axis=0))))
    found = KMeans(wanted, n_init=1, max_iter=25, random_state=seed).fit(inputs)  # pyright: ignore[reportArgumentType]
    sizes = np.bincount(np.asarray(found.labels_), minlength=wanted)
    return found.cluster_centers_[sizes >= min(FEWEST, sizes.max())]


def _kernel(inputs: np.ndarray, landmarks: np.ndarray, gamma: float) -> np.ndarray:
    """Return the radial kernel of each pair, ``(n, n_landmarks)`` float64."""
    squared = (inputs**2).sum(1)[:, None] + (landmarks**2).sum(1) - 2 * inputs @ landmarks.T
    return np.exp(-gamma * squared.clip(min=0))


def _inverse_root(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse square root of a positive matrix; directions that carry nothing are left out."""
    sizes, directions = np.linalg.eigh(matrix)
    kept = sizes > SMALLEST_DIRECTION * sizes.max()
    return directions[:, kept] / np.sqrt(sizes[kept])
