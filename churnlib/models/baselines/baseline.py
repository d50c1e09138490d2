"""What all baselines have in common: rows to fit on, a recipe, and a fitted model whose scores become logits."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from churnlib.models.fitted import WEIGHTS, Kept

if TYPE_CHECKING:
    from churnlib.models.onnx.graph import Graph
    from churnlib.models.onnx.writing import EncodedRows


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded rows with their labels.

    Attributes:
        numeric: ``(n, n_numeric)`` float32, missing values NaN.
        codes: ``(n, n_categorical)`` int64: 0 missing, 1 unseen, 2... known values.
        label: ``(n,)`` int64 classes.
    """

    numeric: np.ndarray
    codes: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, slots=True)
class Task:
    """What a recipe has to know beside the rows.

    Attributes:
        input_spec: Arguments of :class:`~churnlib.models.input_layer.InputLayer` with every category one-hot encoded;
            trees read the numbers of codes per column from it.
        class_weights: Weight of each class in the loss, one per class.
        class_ratios: How often each class comes in the rows for each time that it comes among customers, where these
            were resampled; None for as often.
        seed: Of whatever is drawn.
        threads: Of the fit; None for as many as there are.
    """

    input_spec: Mapping[str, Any]
    class_weights: Sequence[float] = (1.0, 1.0)
    class_ratios: Sequence[float] | None = None
    seed: int = 0
    threads: int | None = 1

    @property
    def n_classes(self) -> int:
        """Classes of the target."""
        return len(self.class_weights)

    def row_weights(self, label: np.ndarray, *, held_out: bool = False) -> np.ndarray | None:
        """Return the weight of each row, ``(n,)`` float64; None if all are 1.

        Args:
            label: ``(n,)`` classes.
            held_out: Whether the rows say when to stop: each class then weighs as much as among resampled rows, since
                the scores to be judged are those of a model of these.
        """
        weights = self._seen if held_out else np.asarray(self.class_weights, dtype=np.float64)
        return None if (weights == 1).all() else weights[label]

    def head(self) -> Head:
        """Return what takes the effect of weights and resampling off a model's log-odds."""
        return Head.undoing(self._seen.tolist())

    @property
    def _seen(self) -> np.ndarray:
        """How much each class counts in the fit beside its share among customers."""
        ratios = 1.0 if self.class_ratios is None else np.asarray(self.class_ratios, dtype=np.float64)
        return np.asarray(self.class_weights, dtype=np.float64) * ratios


@dataclass(frozen=True, slots=True)
class Head:
    """From a model's scores to logits: ``slope * scores + shift``.

    Attributes:
        slope: 1 for models whose scores are log-odds already.
        shift: One number for two classes, else one per class.
    """

    slope: float
    shift: tuple[float, ...]

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return logits in the shape of the scores, float64."""
        return self.slope * scores + (self.shift[0] if scores.ndim == 1 else np.asarray(self.shift))

    @classmethod
    def undoing(cls, class_weights: Sequence[float]) -> Head:
        """Return the head that takes the weights' effect off the log-odds, as networks do.

        >>> Head.undoing([1.0, 3.0]).shift == (-math.log(3),)
        True
        """
        shift = [-math.log(weight) for weight in class_weights]
        return cls(1.0, (shift[1] - shift[0],) if len(shift) == 2 else tuple(shift))

    @classmethod
    def from_values(cls, values: Mapping[str, Any], *, n_classes: int) -> Head:
        """Build a head from a bundle's values.

        Raises:
            ValueError: If it is one for another number of classes.
        """
        head = cls(float(values["slope"]), tuple(float(value) for value in values["shift"]))
        expected = 1 if n_classes == 2 else n_classes
        if len(head.shift) != expected or not all(map(math.isfinite, (head.slope, *head.shift))):
            raise ValueError(f"the head of {n_classes} classes needs {expected} finite shifts, got {head}")
        return head


@dataclass(frozen=True, kw_only=True)
class FittedBaseline(ABC):
    """A baseline that is ready to answer.

    Attributes:
        head: From scores to logits.
    """

    kind: ClassVar[str]
    """What ``restoring.KINDS`` calls it."""
    state_name: ClassVar[str] = WEIGHTS
    head: Head

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return logits, float64; see :class:`~churnlib.models.fitted.FittedModel`."""
        return self.head(self.scores(numeric, codes))

    def draw(self, graph: Graph, rows: EncodedRows) -> str:
        """Add the model to an ONNX graph and return its logits, float64."""
        scaled = graph.add("Mul", self.draw_scores(graph, rows), graph.constant(self.head.slope, np.float64))
        shift = self.head.shift[0] if len(self.head.shift) == 1 else self.head.shift
        return graph.add("Add", scaled, graph.constant(shift, np.float64))

    def keep(self) -> Kept:
        """Write the model down."""
        head = {"slope": self.head.slope, "shift": list(self.head.shift)}
        values = {"kind": self.kind, "state": self.state_name, "head": head, **self.values()}
        return Kept("baseline.json", values, {self.state_name: self.state()})

    @abstractmethod
    def scores(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the model's own scores, ``(n,)`` for two classes, ``(n, n_classes)`` for more, float64."""

    @abstractmethod
    def draw_scores(self, graph: Graph, rows: EncodedRows) -> str:
        """Add the model's own scores to an ONNX graph and return them, float64.

        Raises:
            CannotExport: If it has no form there.
        """

    @abstractmethod
    def values(self) -> dict[str, Any]:
        """Return what the numbers mean, JSON-ready."""

    @abstractmethod
    def state(self) -> bytes:
        """Return the numbers."""

    @classmethod
    @abstractmethod
    def from_kept(cls, values: Mapping[str, Any], state: bytes, *, n_classes: int) -> FittedBaseline:
        """Build the model that was written down.

        Raises:
            ValueError, KeyError, TypeError: If values and numbers make no model.
        """


class Baseline(ABC):
    """A recipe: the settings of a model that is fitted in one go."""

    packages: ClassVar[tuple[str, ...]]
    """Modules that the fit imports; named here so that a run can import them before it reads a table."""

    @abstractmethod
    def fit(self, train: Rows, validation: Rows, task: Task) -> FittedBaseline:
        """Fit on training rows.

        Args:
            train: Rows to learn from.
            validation: Rows that say when to stop, or how scores become log-odds.
            task: Columns, classes, seed.

        Raises:
            MissingPackageError: If the model's package is not installed.
        """
