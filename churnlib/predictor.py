"""Bundle in, table in, probabilities out: the one way a customer is scored.

Scoring files, the server, evaluation and monitoring all call this class, so that a customer has one probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churnlib.answers import answers_table
from churnlib.bundle import Bundle, read_bundle
from churnlib.data.coercion import read_columns
from churnlib.data.preparation import Encoded
from churnlib.data.rows_at_a_time import evaluation_rows
from churnlib.data.values import numbers_in
from churnlib.errors import BundleError, ConfigError, DataError, RowErrors
from churnlib.inside import Contributions, Masks, contributions_of, effects_of, masks_of
from churnlib.models.fitted import FittedModel
from churnlib.models.onnx.running import OnnxModel, original
from churnlib.reading import Reading, TableReader
from churnlib.schema import near_misses
from churnlib.staying import Survival, check_times, elapsed_of, survival_of
from churnlib.survival import HazardCurve

GOLDEN_TOLERANCE = 1e-5
"""Largest difference between a golden row's stored and replayed probability (other processors round differently)."""


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
        self._reader = TableReader(bundle)
        self._batch_rows = evaluation_rows(len(bundle.preparation.feature_names))

    @property
    def model_name(self) -> str:
        """Short name of the model."""
        return self.bundle.name

    @property
    def backend(self) -> str:
        """What answers: ``onnx``, or ``torch`` for the model as it was trained."""
        return "onnx" if isinstance(self.bundle.model, OnnxModel) else "torch"

    @property
    def flops(self) -> int | None:
        """Operations that one customer takes (:mod:`churnlib.models.onnx.work`); None where ONNX does not answer."""
        return self.bundle.model.flops if isinstance(self.bundle.model, OnnxModel) else None

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
        """Probability from which a customer counts as leaving; None for more than two classes.

        Of a model trained with ``threshold=value`` that of a customer of mean value: see :meth:`thresholds`.
        """
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
        return self._reader.read(table, rules=rules)

    def as_reading(self, table: Any) -> Reading:
        """Return a table that is read, or that has been already."""
        return table if isinstance(table, Reading) else self.read(table)

    def logits(self, typed: pl.DataFrame) -> np.ndarray:
        """Return uncalibrated logits, ``(n,)`` or ``(n, n_outputs)``; float32 of a network, float64 of a baseline.

        Args:
            typed: Columns as :func:`churnlib.data.coercion.coerce` returns them.
        """
        return self.logits_of(self.bundle.preparation.encode(typed))

    def logits_of(self, encoded: Encoded) -> np.ndarray:
        """Return uncalibrated logits of encoded rows; see :meth:`logits`."""
        size = self._batch_rows
        if 0 < len(encoded) <= size:
            return self.bundle.model.logits(encoded.numeric, encoded.codes)
        parts = [
            self.bundle.model.logits(encoded.numeric[start : start + size], encoded.codes[start : start + size])
            for start in range(0, len(encoded), size)
        ]
        n_outputs = self.bundle.n_outputs
        empty = np.zeros((0,) if n_outputs == 1 else (0, n_outputs), dtype=np.float32)
        return np.concatenate(parts) if parts else empty

    def probabilities(self, table: Any, *, horizon: float | None = None) -> np.ndarray:
        """Return calibrated probabilities: ``(n,)`` of leaving for two classes, ``(n, n_classes)`` for more, float64.

        Args:
            table: A table or a :class:`Reading`. Rows that cannot be scored are NaN.
            horizon: Time ahead within which a customer leaves, of a model that says when (``task=hazard``); the
                bundle's own when None. Who has been there for some time is known to have stayed so long.

        Raises:
            ConfigError: If the model does not say when, or not for so long a time.
        """
        reading = self.as_reading(table)
        elapsed = None if self.bundle.hazards is None else elapsed_of(reading.typed, self.bundle.hazards)
        probability = self.calibrated(self.logits(reading.typed), elapsed, horizon=horizon)
        probability[reading.bad] = np.nan
        return probability

    def calibrated(
        self, logits: np.ndarray, elapsed: np.ndarray | None = None, *, horizon: float | None = None
    ) -> np.ndarray:
        """Return the probabilities that logits mean.

        Args:
            logits: See :meth:`logits`.
            elapsed: ``(n,)`` time that each customer has been there already, at least 0, of a model that needs it.
            horizon: See :meth:`probabilities`.
        """
        curve = self.bundle.hazards
        if curve is not None:
            ahead = curve.horizon if horizon is None else self.check_horizon(horizon)
            return curve.probabilities(logits, elapsed, horizon=ahead)
        if horizon is not None:
            self.hazards(f"horizon={horizon:g}")
        return self.bundle.calibration.probabilities(logits)

    # --- what goes on inside ------------------------------------------------------------------------------------------

    def masks(self, table: Any) -> Masks:
        """Say where a TabNet looked, raw column by raw column; for other models there is nothing to say.

        A diagnosis of the network, not an explanation of its answers: measured on functions whose true attributions are
        known, the correlation with them was 0.33 and 0.53 (expected gradients: 0.99 and 0.9).

        Args:
            table: A table or a :class:`Reading`. Rows that cannot be scored are NaN.

        Raises:
            TypeError: If the model has no masks.
        """
        return masks_of(self.bundle, self.as_reading(table))

    def contributions(self, table: Any) -> Contributions:
        """Say exactly what an additive model's answers are made of.

        The values of a row and the intercept sum to the log-odds of its ``churn_probability`` (for more than two
        classes, to the logits whose softmax the probabilities are).

        Args:
            table: A table or a :class:`Reading`. Rows that cannot be scored are NaN.

        Raises:
            TypeError: If the model is no additive one, or its calibration leaves no sum a sum.
        """
        return contributions_of(self.bundle, self.as_reading(table))

    def effects(self, table: Any) -> np.ndarray:
        """Say how much of each customer's probability of leaving a treatment would prevent, ``(n,)`` in [-1, 1].

        Args:
            table: A table or a :class:`Reading`. Rows that cannot be scored are NaN.

        Raises:
            TypeError: If the model is no uplift model.
        """
        return effects_of(self.bundle, self.as_reading(table))

    # --- when customers leave ---------------------------------------------------------------------------------------

    def hazards(self, wanted: str) -> HazardCurve:
        """Return what the model's hazards mean.

        Args:
            wanted: What needs it, for the error.

        Raises:
            ConfigError: If the model says only whether customers leave.
        """
        if self.bundle.hazards is None:
            raise ConfigError(
                f"{wanted} needs a model that says when customers leave, and {self.model_name} {self.version} says "
                "only whether; train one with task=hazard"
            )
        return self.bundle.hazards

    def check_horizon(self, horizon: float) -> float:
        """Return a horizon that the model can speak of.

        Raises:
            ConfigError: If it says only whether customers leave, or not for so long a time.
        """
        try:
            return self.hazards(f"horizon={horizon:g}").check_horizon(horizon)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def survival(
        self,
        table: Any,
        *,
        times: Sequence[float] | None = None,
        limit: float | None = None,
        margin: float | None = None,
        margin_column: str | None = None,
        discount_rate: float | None = None,
    ) -> Survival:
        """Say for each customer how likely they are still there at any time from now on, and what that is worth.

        Where the model counts time from the start of the relationship, the row says how long the customer has been
        there, and that is taken as given: the answer is for who is still there now. Beyond the last interval the rate
        of leaving stays that of the last interval.

        Args:
            table: A table or a :class:`Reading`.
            times: From now on, at least 0; the ends of the model's intervals when None.
            limit: Time ahead that lifetime and value cover; the end of the last interval when None.
            margin: What a customer brings in a month, of those without a number of their own; as in training when None.
            margin_column: Column with what each brings in a month; as in training when None.
            discount_rate: By which money a year later is worth less; as in training when None.

        Raises:
            ConfigError: If the model says only whether customers leave, or an option is impossible.
        """
        curve = self.hazards("survival()")
        told = {"margin": margin, "margin_column": margin_column, "discount_rate": discount_rate}
        curve = replace(curve, **{key: value for key, value in told.items() if value is not None})
        at, until = check_times(curve, times, limit)
        reading = self.as_reading(table)
        customers = self.customer_ids(reading.frame)
        return survival_of(curve, reading, self.logits(reading.typed), customers, times=at, limit=until)

    # --- answers ----------------------------------------------------------------------------------------------------

    def predict(self, table: Any, *, on_error: str = "raise", horizon: float | None = None) -> pl.DataFrame:
        """Score customers.

        Args:
            table: A polars or pandas frame, a list of dicts, a dict of columns, or a :class:`Reading`.
            on_error: ``raise``, or ``null``: rows that cannot be scored get empty results.
            horizon: See :meth:`probabilities`.

        Returns:
            One row per row given, in the same order: ``customer_id`` (as it came; the row's number from 0 where the
            model knows no id column or the table lacks it), and ``churn_probability`` (float64) with
            ``churn_prediction`` (0 or 1), or for more classes ``probability_<class>`` columns with ``prediction``.

        Raises:
            RowErrors: If rows cannot be scored and ``on_error`` is ``raise``.
            DataError: If a required column is absent.
            ConfigError: If the model cannot speak of such a horizon.
        """
        reading = self.as_reading(table)
        if on_error == "raise":
            self.check(reading)
        return self.answers(reading, horizon=horizon)

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

    def answers(self, reading: Reading, *, horizon: float | None = None) -> pl.DataFrame:
        """Return the answer for each row of a reading; rows that cannot be scored have empty results."""
        probability = self.probabilities(reading, horizon=horizon)
        answers = answers_table(probability, self.thresholds(reading.frame), self.classes)
        return pl.concat([pl.DataFrame([self.customer_ids(reading.frame)]), answers], how="horizontal")

    def thresholds(self, frame: pl.DataFrame) -> np.ndarray | float | None:
        """Return the probability from which each customer counts as leaving.

        Returns:
            :attr:`threshold`, or ``(n,)`` float64 where each customer has one by his value (``threshold=value``):
            infinite for whom it never pays to keep.
        """
        own = self.bundle.own_threshold
        if own is None:
            return self.threshold
        return own.thresholds(numbers_in(frame, own.column) if own.column in frame.columns else [np.nan] * len(frame))

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
