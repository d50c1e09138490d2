"""Bundle in, table in, probabilities out: the one way a customer is scored.

Scoring files, the server, evaluation and monitoring all call this class, so that a customer has one probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

from churnlib.bundle import Bundle, read_bundle
from churnlib.calibration import additive
from churnlib.data.coercion import PROBLEMS, cell_value, coerce, read_columns
from churnlib.data.rows_at_a_time import evaluation_rows
from churnlib.data.tables import table_from
from churnlib.data.validation.masks import broken
from churnlib.decision import decide
from churnlib.errors import BundleError, CellError, DataError, RowErrors
from churnlib.models.fitted import FittedModel
from churnlib.models.onnx.running import OnnxModel, original
from churnlib.schema import Kind, Schema, near_misses
from churnlib.schema.rules import Check

GOLDEN_TOLERANCE = 1e-5
"""Largest difference between a golden row's stored and replayed probability (other processors round differently)."""


@dataclass(frozen=True, slots=True)
class CellWarning:
    """Something about a cell that the model had to make do with.

    Attributes:
        row: Number of the row, counted from 0; None if it concerns all rows.
        column: Name of the column.
        problem: What it is, without the value.
    """

    row: int | None
    column: str
    problem: str

    def __str__(self) -> str:
        return f"{self.column!r} {self.problem}"


@dataclass(frozen=True, slots=True)
class Masks:
    """Where a TabNet looked; see :meth:`Predictor.masks` for what that is worth.

    Attributes:
        columns: Names of the raw columns, K of them.
        steps: ``(n_steps, n, K)`` float32; each row of each step sums to 1.
        importance: ``(n, K)`` float32, the steps weighted by their part in the decision; rows sum to 1.
    """

    columns: tuple[str, ...]
    steps: np.ndarray
    importance: np.ndarray


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each column adds to the log-odds of each customer; see :meth:`Predictor.contributions`.

    Attributes:
        terms: Names of the columns, one each, and of the pairs that the model has, K in all.
        values: ``(n, K)`` float64, or ``(n, K, n_classes)``; 0 on average over the training rows.
        intercept: Log-odds where all values are 0, float64 of shape ``()``, or ``(n_classes,)``.
    """

    terms: tuple[tuple[str, ...], ...]
    values: np.ndarray
    intercept: np.ndarray


@dataclass(frozen=True, slots=True)
class Reading:
    """A table as the model reads it, with all that is wrong or unusual about it.

    Attributes:
        frame: The table as it came.
        typed: Its columns with the types of the schema.
        bad: ``(n,)`` bool, rows that cannot be scored, or that break a rule of the schema.
        warnings: Unseen categories, absent optional columns, unknown columns.
    """

    frame: pl.DataFrame
    typed: pl.DataFrame
    bad: np.ndarray
    warnings: list[CellWarning]
    _unreadable: pl.DataFrame = field(repr=False)
    _missing: pl.DataFrame = field(repr=False)
    _broken: pl.DataFrame = field(repr=False)
    _schema: Schema = field(repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def errors(self) -> list[CellError]:
        """Every cell that keeps its row from being scored, in row order."""
        return list(self.iter_errors())

    def iter_errors(self) -> Iterator[CellError]:
        """Yield every cell that keeps its row from being scored, in row order."""
        for row in np.flatnonzero(self.bad).tolist():
            for column in read_columns(self._schema):
                name = column.name
                if name in self._unreadable.columns and self._unreadable[name][row]:
                    yield CellError(row, name, PROBLEMS[column.kind], cell_value(self.frame[name], row))
                elif name in self._missing.columns and self._missing[name][row]:
                    yield CellError(row, name, "is required and missing")
            yield from self._rule_errors(row)

    def _rule_errors(self, row: int) -> Iterator[CellError]:
        for rule in self._schema.rules:
            if rule.name not in self._broken.columns or not self._broken[rule.name][row]:
                continue
            if rule.check is Check.required:
                if rule.column not in self._missing.columns:  # which says so already
                    yield CellError(row, rule.column, rule.problem)
            elif rule.check is Check.holds:  # of several columns: the value of the first may be right
                yield CellError(row, rule.column, rule.problem)
            else:
                yield CellError(row, rule.column, rule.problem, cell_value(self.frame[rule.column], row))


class Predictor:
    """Scores customers with a model.

    Example::

        predictor = churnlib.load("outputs/latest/bundle")
        predictor.predict([{"customer_id": "7590-VHVEG", "tenure": 1, ...}])

    Args:
        bundle: The model and all that belongs to it.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.schema = bundle.schema
        self._sequences = {column.name for column in bundle.schema.columns if column.kind is Kind.sequence}

    @property
    def model_name(self) -> str:
        """Short name of the model."""
        return self.bundle.name

    @property
    def backend(self) -> str:
        """What answers: ``onnx``, or ``torch`` for the model as it was trained."""
        return "onnx" if isinstance(self.bundle.model, OnnxModel) else "torch"

    @property
    def model(self) -> FittedModel:
        """The model as it was trained, whatever answers for it; a network is read, with torch, when first asked for."""
        return original(self.bundle.model)

    @property
    def version(self) -> str:
        """Version of the model: the same answers have the same version."""
        return self.bundle.version

    @property
    def threshold(self) -> float | None:
        """Probability from which a customer counts as leaving; None for more than two classes."""
        return self.bundle.threshold

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the target's classes, ``(stayed, left)`` for two."""
        return self.schema.classes

    @property
    def metrics(self) -> dict[str, Any]:
        """How the model did on validation and test rows."""
        return dict(self.bundle.metrics)

    def input_schema(self) -> list[dict[str, Any]]:
        """Return what a row may hold: name, kind, whether it is required, known or ordered values, most steps read."""
        values = {v.name: list(v.values) for v in self.bundle.preparation.vocabularies}
        steps = {history.name: history.n_steps for history in self.bundle.preparation.histories}
        required = set(self.schema.required())
        described = []
        for column in read_columns(self.schema):
            entry: dict[str, Any] = {"name": column.name, "kind": str(column.kind), "required": column.name in required}
            if column.name in values or column.order:
                entry["values"] = list(column.order) or values[column.name]
            if column.name in steps:
                entry["max_steps"] = steps[column.name]
            described.append(entry)
        return described

    # --- from a table to probabilities ------------------------------------------------------------------------------

    def read(self, table: Any, *, rules: bool = True) -> Reading:
        """Read a table and find what is wrong with it; nothing is scored.

        Args:
            table: A polars or pandas frame, a list of dicts (one per customer), or a dict of columns.
            rules: Whether rows must keep the rules of the schema.

        Raises:
            DataError: If it is no table.
        """
        frame = table_from(table, sequences=self._sequences)
        coerced = coerce(frame, self.schema)
        required = set(self.schema.required())
        missing = coerced.typed.select(
            cs.by_name(*(c.name for c in read_columns(self.schema) if c.name in required)).is_null()
        )
        unreadable = coerced.unreadable
        bad = np.zeros(len(frame), dtype=bool)
        breaks = broken(coerced.typed, self.schema.rules if rules else ())
        for mask in (*missing, *unreadable, *breaks):
            bad |= mask.to_numpy()
        warnings = [CellWarning(None, name, "is absent") for name in coerced.absent if name not in required]
        warnings += [
            CellWarning(None, name, "is not a column of this model")
            for name in frame.columns
            if name not in self.schema
        ]
        for name, rows in self.bundle.preparation.unseen(coerced.typed).items():
            warnings += [CellWarning(int(row), name, "has a value that training did not see") for row in rows]
        return Reading(frame, coerced.typed, bad, warnings, unreadable, missing, breaks, self.schema)

    def logits(self, typed: pl.DataFrame) -> np.ndarray:
        """Return uncalibrated logits, ``(n,)`` or ``(n, n_classes)``; float32 of a network, float64 of a baseline.

        Args:
            typed: Columns as :func:`churnlib.data.coercion.coerce` returns them.
        """
        encoded = self.bundle.preparation.encode(typed)
        batch_rows = evaluation_rows(len(self.bundle.preparation.feature_names))
        parts = [
            self.bundle.model.logits(*(part[start : start + batch_rows] for part in (encoded.numeric, encoded.codes)))
            for start in range(0, len(encoded), batch_rows)
        ]
        empty = np.zeros((0,) if len(self.classes) == 2 else (0, len(self.classes)), dtype=np.float32)
        return np.concatenate(parts) if parts else empty

    def masks(self, table: Any) -> Masks:
        """Say where a TabNet looked, raw column by raw column; for other models there is nothing to say.

        A diagnosis of the network, not an explanation of its answers: measured on functions whose true attributions are
        known, the correlation with them was 0.33 and 0.53 (expected gradients: 0.99 and 0.9).

        Args:
            table: A table or a :class:`Reading`. Rows that cannot be scored are NaN.

        Raises:
            TypeError: If the model has no masks.
        """
        from churnlib.models.network_model import NetworkModel

        model = self.model
        if not (isinstance(model, NetworkModel) and model.has_masks):
            raise TypeError(f"the model {self.model_name} has no masks; a TabNet has (model=tabnet)")
        reading = table if isinstance(table, Reading) else self.read(table)
        parts = self._by_batches(reading, model.masks)
        steps = np.concatenate([masks for masks, _ in parts], axis=1)
        importance = np.concatenate([aggregate for _, aggregate in parts])
        steps[:, reading.bad], importance[reading.bad] = np.nan, np.nan
        return Masks(self.bundle.preparation.feature_names, steps, importance)

    def contributions(self, table: Any) -> Contributions:
        """Say exactly what an additive model's answers are made of.

        The values of a row and the intercept sum to the log-odds of its ``churn_probability`` (for more than two
        classes, to the logits whose softmax the probabilities are).

        Args:
            table: A table or a :class:`Reading`. Rows that cannot be scored are NaN.

        Raises:
            TypeError: If the model is no additive one, or its calibration leaves no sum a sum.
        """
        from churnlib.models.network_model import NetworkModel

        model = self.model
        if not (isinstance(model, NetworkModel) and model.is_additive):
            raise TypeError(
                f"the model {self.model_name} is no sum over columns; a single additive one is (model=additive)"
            )
        straight = additive(self.bundle.calibration)
        if straight is None:
            raise TypeError(
                f"calibration={self.bundle.calibration.method} bends log-odds, whose parts then have no sum; "
                "train with calibration=temperature or platt"
            )
        reading = table if isinstance(table, Reading) else self.read(table)
        parts = self._by_batches(reading, model.contributions)
        values = straight.terms(np.concatenate(parts))
        intercept = straight.log_odds(model.intercept())
        values[reading.bad] = np.nan
        if len(self.classes) == 2:
            values, intercept = values[:, :, 0], intercept[0]
        names = self.bundle.preparation.feature_names
        return Contributions(tuple(tuple(names[c] for c in term) for term in model.terms), values, intercept)

    def effects(self, table: Any) -> np.ndarray:
        """Say how much of each customer's probability of leaving a treatment would prevent, ``(n,)`` in [-1, 1].

        Args:
            table: A table or a :class:`Reading`. Rows that cannot be scored are NaN.

        Raises:
            TypeError: If the model is no uplift model.
        """
        from churnlib.models.uplift import UpliftModel

        model = self.model
        if not isinstance(model, UpliftModel):
            raise TypeError(f"the model {self.model_name} knows no treatment; churnlib uplift fits one that does")
        reading = table if isinstance(table, Reading) else self.read(table)
        found = np.concatenate(self._by_batches(reading, model.effects))
        found[reading.bad] = np.nan
        return found

    def _by_batches(self, reading: Reading, answer: Callable[[np.ndarray, np.ndarray], Any]) -> list[Any]:
        """Return what a network answers to numbers and codes, a batch after the other; one for a table without rows."""
        encoded = self.bundle.preparation.encode(reading.typed)
        size = evaluation_rows(len(self.bundle.preparation.feature_names))
        starts = range(0, max(1, len(encoded)), size)
        return [answer(encoded.numeric[start : start + size], encoded.codes[start : start + size]) for start in starts]

    def explain(self, table: Any, **options: Any) -> pl.DataFrame:
        """Say for each customer why the model gives its probability; see :func:`churnlib.explain`.

        Args:
            table: A table or a :class:`Reading`.
            **options: ``top``, ``target``, ``wording``, ``method``, ... of :func:`churnlib.explain`.

        Returns:
            What :meth:`predict` returns, with the columns ``reasons``, ``base``, ``log_odds``, ``explanation_error``,
            ``stability``, ``sensitive_among_reasons`` and ``method``.
        """
        # Explanation stands above the predictor: this is a door to it for whoever has a predictor in hand.
        return import_module("churnlib.explanation.reasons").explain(self, table, **options)

    def probabilities(self, table: Any) -> np.ndarray:
        """Return calibrated probabilities: ``(n,)`` of leaving for two classes, ``(n, n_classes)`` for more, float64.

        Args:
            table: A table or a :class:`Reading`. Rows that cannot be scored are NaN.
        """
        reading = table if isinstance(table, Reading) else self.read(table)
        probability = self.bundle.calibration.probabilities(self.logits(reading.typed))
        probability[reading.bad] = np.nan
        return probability

    def predict(self, table: Any, *, on_error: str = "raise") -> pl.DataFrame:
        """Score customers.

        Args:
            table: A polars or pandas frame, a list of dicts, a dict of columns, or a :class:`Reading`.
            on_error: ``raise``, or ``null``: rows that cannot be scored get empty results.

        Returns:
            One row per row given, in the same order: ``customer_id`` (as it came; the row's number from 0 where the
            model knows no id column or the table lacks it), and ``churn_probability`` (float64) with
            ``churn_prediction`` (0 or 1), or for more classes ``probability_<class>`` columns with ``prediction``.

        Raises:
            RowErrors: If rows cannot be scored and ``on_error`` is ``raise``.
            DataError: If a required column is absent.
        """
        reading = table if isinstance(table, Reading) else self.read(table)
        if on_error == "raise":
            self.check(reading)
        return self.answers(reading)

    def check(self, reading: Reading) -> None:
        """Raise what keeps a table from being scored.

        Raises:
            DataError: If a required column is absent from the whole table.
            RowErrors: If cells cannot be read, or lack a required value.
        """
        self.check_columns(reading.frame.columns)
        if reading.bad.any():
            raise RowErrors(reading.errors)

    def check_columns(self, names: Sequence[str]) -> None:
        """Raise if a table with these columns lacks a required one.

        Raises:
            DataError: With the first such column and the near misses.
        """
        present = set(names)
        absent = [name for name in self.schema.required() if name not in present]
        if absent:
            near = near_misses(absent[0], [name for name in names if name not in self.schema])
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, names[:8]))}"
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            raise DataError(f"the table lacks the column {absent[0]!r}{more}, which the model reads; {hint}")

    def answers(self, reading: Reading) -> pl.DataFrame:
        """Return the answer for each row of a reading; rows that cannot be scored have empty results."""
        answers = answers_table(self.probabilities(reading), self.threshold, self.classes)
        return pl.concat([pl.DataFrame([self.customer_ids(reading.frame)]), answers], how="horizontal")

    def customer_ids(self, frame: pl.DataFrame) -> pl.Series:
        """Return the customers' names as they came; the rows' numbers from 0 where the table has none."""
        if self.schema.id is not None and self.schema.id in frame.columns:
            return frame[self.schema.id].alias("customer_id")
        return pl.Series("customer_id", np.arange(len(frame)))

    # --- trust ------------------------------------------------------------------------------------------------------

    def replay_golden(self) -> float:
        """Score the bundle's golden rows again and return the largest difference to the stored probabilities.

        Raises:
            BundleError: If it is above :data:`GOLDEN_TOLERANCE`: this machine does not give the model's answers.
        """
        if not self.bundle.golden:
            return 0.0
        # Made-up customers have columns that were drawn each by itself; rules about several may not hold for them.
        rows = self.read([dict(golden["row"]) for golden in self.bundle.golden], rules=False)
        probability = self.probabilities(rows)
        stored = np.array([golden["probability"] for golden in self.bundle.golden], dtype=np.float64)
        difference = float(np.abs(probability - stored).max())
        if not difference <= GOLDEN_TOLERANCE:
            raise BundleError(
                f"the model {self.version} answers its golden rows differently here (by {difference:.2g}, allowed are "
                f"{GOLDEN_TOLERANCE:.0e}); compare the versions in bundle.json with those installed"
            )
        return difference


def answers_table(probability: np.ndarray, threshold: float | None, classes: Sequence[str]) -> pl.DataFrame:
    """Return probabilities with the decisions that follow from them, one row each, without the customers' names.

    Args:
        probability: ``(n,)`` float64 of leaving, or ``(n, n_classes)``; rows of NaN get empty results.
        threshold: Probability from which a customer counts as leaving; None for more than two classes.
        classes: Names of the target's classes.
    """
    empty = np.isnan(probability if probability.ndim == 1 else probability[:, 0])
    chosen = np.zeros(len(empty), dtype=np.int64)
    chosen[~empty] = decide(probability[~empty], threshold)
    if probability.ndim == 1:
        answers = pl.DataFrame({"churn_probability": probability, "churn_prediction": chosen})
    else:
        shares = {f"probability_{name}": probability[:, place] for place, name in enumerate(classes)}
        names = pl.Series("prediction", [classes[place] for place in chosen.tolist()], dtype=pl.String)
        answers = pl.DataFrame(shares).with_columns(names)
    if not empty.any():
        return answers
    kept = pl.lit(pl.Series(~empty))
    return answers.select(pl.when(kept).then(pl.col(name)).alias(name) for name in answers.columns)


def load(path: str | Path, *, trust: Sequence[str] = (), backend: str = "auto", threads: int = 1) -> Predictor:
    """Load a model.

    Args:
        path: A bundle's folder.
        trust: Packages of your own whose networks the bundle may name.
        backend: What answers: ``onnx`` (ONNX Runtime, without torch: quicker for one customer, and a customer's answer
            is the same to the last bit whoever is asked about with it), ``torch`` (the model as it was trained), or
            ``auto`` (the former where it is installed and the bundle has a ``model.onnx``).
        threads: Processor threads of ONNX Runtime.

    Raises:
        BundleError: If the bundle is missing, damaged or of a version that cannot be read.
        MissingPackageError: If the backend is not installed.
    """
    return Predictor(read_bundle(path, trust=trust, backend=backend, threads=threads))
