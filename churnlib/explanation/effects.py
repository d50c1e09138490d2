"""What each column of the table adds to a customer's log-odds, by the method that suits the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churnlib.calibration import UNCALIBRATED, Platt, Temperature, additive
from churnlib.config.checks import check_choice, check_range
from churnlib.data.preparation import Encoded
from churnlib.data.rows_at_a_time import evaluation_rows
from churnlib.errors import BundleError, ConfigError, DataError
from churnlib.explanation.local_linear import Neighbours, draw_neighbours, linear_effects
from churnlib.explanation.mixing import Customers, Mixer
from churnlib.explanation.shapley import draw_orders, order_effects

if TYPE_CHECKING:
    from churnlib.explanation.expected_gradients import Samples
    from churnlib.explanation.overall.report import OverallExplanation
    from churnlib.models.differentiable import Differentiable
from churnlib.predictor import Predictor
from churnlib.reading import Reading
from churnlib.survival import HazardCurve

METHODS = ("auto", "gradients", "shapley", "exact", "linear")
SAMPLES, MASKED_SAMPLES, NEIGHBOURS, PAIRS = 100, 1_000, 200, 25
"""Gradients per customer, of a network that chooses its columns (a TabNet) more; rows of a local line; orders, each
forth and back."""

MORE = 4
"""Times as many gradients are taken of a customer whose effects do not add up, the first ones among them."""

LARGEST_GAP, SMALLEST_GAP = 0.1, 0.05
"""A customer's effects by gradients add up if their sum misses by less than a tenth of the log-odds, or by 0.05, which
moves no probability by more than 1.3 percentage points."""

RESAMPLES, FIRST = 20, 3
"""Backgrounds that are drawn again for the stability, and how many of the largest effects have to stay."""

ROWS_AT_A_TIME = 2_048


@dataclass(frozen=True, slots=True)
class Effects:
    """What each column adds to the log-odds of each customer; rows that cannot be scored are NaN.

    ``base + values.sum(1)`` is ``log_odds``, but for ``error``.

    Attributes:
        names: Columns of the table, ``K`` of them.
        values: ``(n, K)`` float64.
        base: ``(n,)`` float64 mean log-odds of the background customers.
        log_odds: ``(n,)`` float64 of leaving, or of the explained class.
        error: ``(n,)`` float64 what ``base`` and ``values`` add up to, minus ``log_odds``.
        stability: ``(n,)`` float64 in [0, 1]: how many of the three largest effects are the same three when other
            background customers are drawn, on average over 20 draws; 1 where nothing is drawn.
        method: ``(n,)`` ``gradients``, ``shapley``, ``exact`` or ``linear`` of each row.
        target: ``(n,)`` int64 class that is explained; None for two classes.
        fidelity: ``(n,)`` float64 at most 1: how well a local line follows the model; None of other methods.
    """

    names: tuple[str, ...]
    values: np.ndarray
    base: np.ndarray
    log_odds: np.ndarray
    error: np.ndarray
    stability: np.ndarray
    method: np.ndarray
    target: np.ndarray | None = None
    fidelity: np.ndarray | None = None


class Explainer:
    """Says what a model's answers are made of; built once, it holds the background customers as the model reads them.

    Args:
        predictor: The model.
        method: ``gradients`` (expected gradients), ``shapley`` (sampled orders of the columns; any model), ``exact``
            (additive networks), ``linear`` (a local line, as of LIME; any model), or ``auto``: exact or by gradients
            where that is possible, customers whose gradients do not add up by sampled orders, and all else too.
        samples: Gradients per customer, 100 when None, 1,000 for a TabNet; rows of a local line, 200 when None.
        pairs: Orders per customer, each forth and back.
        background: Customers that effects are measured against, a table; those of the bundle when None.
        seed: Of samples and orders, which are the same for each customer.
        horizon: Of a model that says when customers leave: what is explained is the probability of leaving within this
            time, the bundle's own when None.
        from_start: Of such a model with time from the start of the relationship: count the horizon from there, as for
            customers whose end is known, and not from now, given how long they have stayed.

    Raises:
        ConfigError: If the model has no such method, or cannot speak of such a horizon.
        BundleError: If the bundle holds no background customers, and none are given.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        method: str = "auto",
        samples: int | None = None,
        pairs: int = PAIRS,
        background: Any = None,
        seed: int = 0,
        horizon: float | None = None,
        from_start: bool = False,
    ) -> None:
        check_choice("method", method, METHODS)
        check_range("samples", SAMPLES if samples is None else samples, low=1)
        check_range("pairs", pairs, low=1)
        self.predictor, self.seed, self.pairs = predictor, seed, pairs
        self.curve, self.from_start = _at_horizon(predictor, horizon), from_start
        elapsed = None if self.curve is None or from_start else self.curve.elapsed
        self.mixer = Mixer(predictor.schema, predictor.bundle.preparation, elapsed)
        self.background = self._read_background(background)
        self.method = self._choose(method)
        self.samples = samples or self._enough()

    def reseeded(self, seed: int) -> Explainer:
        """Return the same explainer with other draws."""
        return Explainer(
            self.predictor, method=self.method, samples=self.samples, pairs=self.pairs, background=self.background,
            seed=seed, horizon=None if self.curve is None else self.curve.horizon, from_start=self.from_start,
        )  # fmt: skip

    def global_explanation(self, table: Any, label: Any = None, **options: Any) -> OverallExplanation:
        """Say what the model goes by on the whole.

        Args:
            table: Customers that the model did not learn from.
            label: ``(n,)`` class of each, if known.
            options: Of :func:`churnlib.explanation.overall.report.explain_overall`.
        """
        from churnlib.explanation.overall.report import explain_overall

        return explain_overall(self, table, label, **options)

    def _enough(self) -> int:
        if self.method == "linear":
            return NEIGHBOURS
        looks = self.method != "shapley" and getattr(self._trained, "has_masks", False)
        return MASKED_SAMPLES if looks else SAMPLES

    def _read_background(self, table: Any) -> Customers:
        if isinstance(table, Customers):
            return table
        table = list(self.predictor.bundle.background) if table is None else table
        if isinstance(table, list) and not table:
            raise BundleError(
                f"the model {self.predictor.version} has no background customers; give some, such as background=TABLE"
            )
        # Made-up customers have columns that were drawn each by itself; rules about several may not hold for them.
        reading = self.predictor.read(table, rules=False)
        if reading.bad.any() or not len(reading):
            raise DataError("the background customers cannot be scored; give others, such as background=TABLE")
        return self.mixer.customers(reading.typed)

    def _choose(self, method: str) -> str:
        if method == "linear":
            return method
        if method == "shapley" or (method == "auto" and find_spec("torch") is None):
            return "shapley"  # without a look at the model as it was trained, which may take torch
        additive = getattr(self._trained, "is_additive", False)
        exact = additive and len(self.predictor.classes) == 2 and not len(self.mixer.several) and self.curve is None
        if method == "exact" and not exact:
            why = "it is no sum over columns"
            if self.curve is not None:
                why = "the probability of leaving within a time is no sum over columns"
            elif additive:
                why = "that takes two classes, and inputs that are made of one column each"
            raise ConfigError(f"method=exact: the model {self.predictor.model_name} has no exact effects: {why}")
        if method == "gradients" and self._model is None:
            raise ConfigError(
                f"method=gradients: the model {self.predictor.model_name} has no gradients; use method=shapley or auto"
            )
        if method == "auto":
            return "exact" if exact else "shapley" if self._model is None else "auto"
        return method

    @cached_property
    def _trained(self) -> Any:
        return self.predictor.model

    @cached_property
    def _straight(self) -> Temperature | Platt:
        """What brings a sum of logits to calibrated log-odds; where calibration bends them, they stay the model's."""
        calibration = self.predictor.bundle.calibration
        return UNCALIBRATED if self.curve is not None else additive(calibration) or UNCALIBRATED

    @cached_property
    def _model(self) -> Differentiable | None:
        from churnlib.models.differentiable import differentiable, within_horizon

        model = differentiable(self._trained, len(self.predictor.bundle.preparation.numeric))
        if model is None or self.curve is None:
            return model
        return within_horizon(model, self.curve, self.mixer.clock)

    # --- answers ----------------------------------------------------------------------------------------------------

    def log_odds(self, encoded: Encoded, target: np.ndarray | None = None) -> NDArray[np.float64]:
        """Return the log-odds that effects add up to, ``(n,)``.

        Args:
            encoded: Rows as the model reads them.
            target: ``(n,)`` class of each row that is asked for; None for two classes.
        """
        return _log_odds(self._logits(encoded), target)

    def _logits(self, encoded: Encoded) -> NDArray[np.float64]:
        """Return calibrated logits (the model's own where calibration bends them), ``(n,)`` or ``(n, n_classes)``.

        Of a model that says when customers leave, the log-odds of leaving within the horizon.
        """
        logits, elapsed = self._asked(encoded)
        if self.curve is not None:
            return self.curve.log_odds(logits, elapsed)
        return self._straight.log_odds(logits)

    def probabilities(self, encoded: Encoded) -> NDArray[np.float64]:
        """Return what the model answers for rows, as scoring does, ``(n,)`` or ``(n, n_classes)``."""
        logits, elapsed = self._asked(encoded)
        return self.predictor.calibrated(logits, elapsed, horizon=None if self.curve is None else self.curve.horizon)

    def _asked(self, encoded: Encoded) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the model's logits, and how long customers have been there, where that matters."""
        rows, elapsed = self.mixer.read_by_model(encoded)
        model, n = self.predictor.bundle.model, evaluation_rows(len(self.mixer.owner))
        parts = [
            model.logits(rows.numeric[start : start + n], rows.codes[start : start + n])
            for start in range(0, max(1, len(rows)), n)
        ]
        return np.concatenate(parts), elapsed

    # --- effects ----------------------------------------------------------------------------------------------------

    def effects(self, table: Any, *, target: str | None = None) -> Effects:
        """Say what each column adds to the log-odds of each customer.

        Args:
            table: A table, or what :meth:`~churnlib.predictor.Predictor.read` has made of it.
            target: Of more than two classes the one to explain; each row's most probable one when None.

        Raises:
            ConfigError: If there is no such class.
        """
        reading = table if isinstance(table, Reading) else self.predictor.read(table)
        return self.of_customers(self.mixer.customers(reading.typed), reading.bad, target=target)

    def of_customers(
        self, customers: Customers, bad: np.ndarray | None = None, *, target: str | None = None
    ) -> Effects:
        """Do the same for customers as the model reads them.

        Args:
            customers: ``n`` customers.
            bad: ``(n,)`` bool, those that cannot be scored.
            target: See :meth:`effects`.
        """
        logits = self._logits(customers.encoded)
        classes = self._classes(logits, target)
        bad = np.zeros(len(customers), dtype=bool) if bad is None else bad
        good = np.flatnonzero(~bad)
        found = _Found.empty(len(customers), len(self.mixer.names))
        for rows in np.array_split(good, range(ROWS_AT_A_TIME, len(good), ROWS_AT_A_TIME)):
            self._explain(found, rows, customers.take(rows), None if classes is None else classes[rows], logits)
        log_odds = np.where(bad, np.nan, _log_odds(logits, classes))
        error = found.base + found.values.sum(axis=1) - log_odds
        fidelity = found.fidelity if self.method == "linear" else None
        return Effects(
            self.mixer.names, found.values, found.base, log_odds, error, found.stability, found.method, classes,
            fidelity,
        )  # fmt: skip

    def _classes(self, logits: np.ndarray, target: str | None) -> np.ndarray | None:
        classes = self.predictor.classes
        if target is not None and (target not in classes or logits.ndim == 1):
            known = f"there are {', '.join(classes)}" if logits.ndim == 2 else f"of two classes it is {classes[1]}"
            raise ConfigError(f"target={target!r} is no class to explain; {known}")
        if logits.ndim == 1:
            return None
        return logits.argmax(axis=1) if target is None else np.full(len(logits), classes.index(target))

    def _explain(
        self, found: _Found, rows: np.ndarray, customers: Customers, target: np.ndarray | None, logits: np.ndarray
    ) -> None:
        """Fill in the rows' effects."""
        if not len(rows):
            return
        if self.method == "exact":
            found.fill(rows, "exact", *self._exact(customers))
            return
        if self.method == "linear":
            self._by_lines(found, rows, customers, target)
            return
        left = np.arange(len(rows))
        if self.method != "shapley":
            for weight, samples in ((1, self._samples), (MORE - 1, self._more_samples)):
                some = customers.take(left)
                values, base, stability = self._by_gradients(some, _at(target, left), samples)
                if weight > 1:
                    values = (found.values[rows[left]] + weight * values) / (1 + weight)
                    base = (found.base[rows[left]] + weight * base) / (1 + weight)
                found.fill(rows[left], "gradients", values, base, stability)
                if self.method == "gradients":
                    return
                left = left[self._misses(found, rows[left], _at(target, left), logits)]
                if not len(left):
                    return
        found.fill(rows[left], "shapley", *self._by_orders(customers.take(left), _at(target, left)))

    @staticmethod
    def _misses(found: _Found, rows: np.ndarray, target: np.ndarray | None, logits: np.ndarray) -> np.ndarray:
        """Say of which rows the effects do not add up, ``(n,)`` bool."""
        log_odds = _log_odds(logits[rows], target)
        gap = np.abs(found.base[rows] + found.values[rows].sum(axis=1) - log_odds)
        return gap > np.maximum(LARGEST_GAP * np.abs(log_odds), SMALLEST_GAP)

    def _by_gradients(self, customers: Customers, target: np.ndarray | None, drawn: Samples) -> tuple[np.ndarray, ...]:
        from churnlib.explanation.expected_gradients import gradient_effects

        assert self._model is not None
        parts = gradient_effects(self._model, self.mixer, customers, self.background, drawn, target)
        parts = self._straight.terms(parts)
        return parts.mean(axis=1, dtype=np.float64), self._base(drawn.which, target), _stability(parts, self.seed)

    @cached_property
    def _samples(self) -> Samples:
        return self._draw(self.samples)

    @cached_property
    def _more_samples(self) -> Samples:
        return self._draw((MORE - 1) * self.samples, more=True)

    def _draw(self, n: int, *, more: bool = False) -> Samples:
        from churnlib.explanation.expected_gradients import draw_samples

        rng = np.random.default_rng([self.seed, 1] if more else self.seed)
        return draw_samples(n, self._ranked, len(self.mixer.names), rng)

    def _by_lines(self, found: _Found, rows: np.ndarray, customers: Customers, target: np.ndarray | None) -> None:
        def value(encoded: Encoded, whose: np.ndarray) -> np.ndarray:
            return self.log_odds(encoded, _at(target, whose))

        options = {"resamples": RESAMPLES, "seed": self.seed}
        lines = linear_effects(value, self.mixer, customers, self.background, self._neighbours, **options)
        stability = _kept(np.abs(lines.again).transpose(0, 2, 1), lines.values)
        found.fill(rows, "linear", lines.values, lines.base, stability)
        found.fidelity[rows] = lines.fidelity

    @cached_property
    def _neighbours(self) -> Neighbours:
        rng = np.random.default_rng(self.seed)
        return draw_neighbours(self.samples, len(self.mixer.names), self._spread(PAIRS, rng), rng)

    def _by_orders(self, customers: Customers, target: np.ndarray | None) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng(self.seed)
        orders = draw_orders(self.pairs, len(self.mixer.names), rng)
        which = self._spread(self.pairs, rng).repeat(2)

        def value(encoded: Encoded, whose: np.ndarray) -> np.ndarray:
            return self.log_odds(encoded, None if target is None else target[whose])

        parts = order_effects(value, self.mixer, customers, self.background, orders, which)
        return parts.mean(axis=1), self._base(which, target), _stability(parts, self.seed)

    def _spread(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return ``n`` background customers that represent all: spread evenly over the order of their answers."""
        order = self._ranked
        return rng.permutation(order[((np.arange(n) + 0.5) * len(order) / n).astype(np.int64)])

    @cached_property
    def _ranked(self) -> NDArray[np.int64]:
        """Background customers in the order of their answers."""
        logits = self._background_logits
        return np.argsort(logits if logits.ndim == 1 else logits.max(axis=1), kind="stable")

    def _base(self, which: np.ndarray, target: np.ndarray | None) -> NDArray[np.float64]:
        """Return the mean log-odds of background customers, of the class of each row where there are several."""
        logits = self._background_logits[which]
        if target is None:
            return np.asarray(logits.mean())
        each = [_log_odds(logits, np.full(len(logits), place)).mean() for place in range(logits.shape[1])]
        return np.array(each)[target]

    @cached_property
    def _background_logits(self) -> NDArray[np.float64]:
        return self._logits(self.background.encoded)

    def _exact(self, customers: Customers) -> tuple[np.ndarray, ...]:
        """Return what an additive network says by itself: a pair's part is half of each of its columns."""
        model = self._trained
        parts = self._straight.terms(model.contributions(customers.encoded.numeric, customers.encoded.codes))
        owner = self.mixer.owner
        share = np.zeros((len(model.terms), len(self.mixer.names)))
        for place, term in enumerate(model.terms):
            for column in term:
                share[place, owner[column]] += 1 / len(term)
        base = self._straight.log_odds(model.intercept())
        return parts[:, :, 0] @ share, np.asarray(base[0]), np.ones(len(parts))


@dataclass(slots=True)
class _Found:
    """Effects as they are found, in pieces; see :class:`Effects`."""

    values: np.ndarray
    base: np.ndarray
    stability: np.ndarray
    method: np.ndarray
    fidelity: np.ndarray

    @classmethod
    def empty(cls, n: int, k: int) -> _Found:
        gaps = [np.full(n, np.nan) for _ in range(3)]
        return cls(np.full((n, k), np.nan), gaps[0], gaps[1], np.full(n, "", dtype=object), gaps[2])

    def fill(self, rows: np.ndarray, method: str, values: np.ndarray, base: np.ndarray, stability: np.ndarray) -> None:
        self.values[rows], self.base[rows], self.stability[rows] = values, base, stability
        self.method[rows] = method


def _at_horizon(predictor: Predictor, horizon: float | None) -> HazardCurve | None:
    """Return what the hazards of a model mean, at a horizon; None of one that says only whether customers leave."""
    curve = predictor.bundle.hazards
    return curve if horizon is None else replace(predictor.hazards("horizon"), horizon=predictor.check_horizon(horizon))


def _at(target: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if target is None else target[rows]


def _log_odds(logits: np.ndarray, target: np.ndarray | None) -> NDArray[np.float64]:
    """Return the log-odds of a class against the others, ``(n,)``; of two classes the logits are that already."""
    if logits.ndim == 1:
        return logits
    assert target is not None
    rows = np.arange(len(logits))
    others = logits.copy()
    others[rows, target] = -np.inf
    return logits[rows, target] - np.logaddexp.reduce(others, axis=1)


def _stability(parts: np.ndarray, seed: int) -> NDArray[np.float64]:
    """Return how many of the largest effects stay when samples are drawn again, ``(n,)`` in [0, 1].

    Args:
        parts: ``(n, S, K)`` effects by each sample.
        seed: Of the draws.
    """
    n_samples = parts.shape[1]
    drawn = np.random.default_rng(seed).multinomial(n_samples, np.full(n_samples, 1 / n_samples), size=RESAMPLES)
    again = np.abs(np.tensordot(parts, drawn.astype(parts.dtype) / n_samples, axes=([1], [1])))  # (n, K, resamples)
    return _kept(again, parts.mean(axis=1))


def _kept(again: np.ndarray, values: np.ndarray) -> NDArray[np.float64]:
    """Return how many of the largest of ``(n, K)`` effects are among the largest of ``(n, K, R)`` absolute ones."""
    first = min(FIRST, values.shape[1])
    largest = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :first]
    border = -np.sort(-again, axis=1)[:, first - 1, :]
    kept = np.take_along_axis(again, largest[:, :, None], axis=1) >= border[:, None, :]
    return kept.mean(axis=(1, 2))


__all__ = ["FIRST", "METHODS", "Effects", "Explainer"]
