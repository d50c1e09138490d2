"""What each column of the table adds to a customer's log-odds, by the method that suits the model."""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churnlib.config.checks import check_choice, check_range
from churnlib.data.preparation import Encoded
from churnlib.errors import ConfigError
from churnlib.explanation.answers import Answers, log_odds, of_rows
from churnlib.explanation.background import Background
from churnlib.explanation.found import Effects, Found
from churnlib.explanation.methods import MASKED_SAMPLES, NEIGHBOURS, PAIRS, SAMPLES, Methods
from churnlib.explanation.mixing import Customers
from churnlib.explanation.stability import FIRST

if TYPE_CHECKING:
    from churnlib.explanation.overall.report import OverallExplanation
    from churnlib.models.differentiable import Differentiable
from churnlib.predictor import Predictor
from churnlib.reading import Reading

METHODS = ("auto", "gradients", "shapley", "exact", "linear")
ROWS_AT_A_TIME = 2_048


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
        self.predictor, self.seed, self.pairs, self.from_start = predictor, seed, pairs, from_start
        self._answers = Answers(predictor, horizon=horizon, from_start=from_start)
        self.curve, self.mixer = self._answers.curve, self._answers.mixer
        against = Background(self._answers, background)
        self.background = against.customers
        self.method = self._choose(method)
        self.samples = samples or self._enough()
        self._methods = Methods(self._answers, against, self.samples, pairs, seed)

    def reseeded(self, seed: int) -> Explainer:
        """Return the same explainer with other draws."""
        return Explainer(
            self.predictor, method=self.method, samples=self.samples, pairs=self.pairs, background=self.background,
            seed=seed, horizon=self._answers.horizon, from_start=self.from_start,
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
        return log_odds(self._answers.logits(encoded), target)

    def probabilities(self, encoded: Encoded) -> NDArray[np.float64]:
        """Return what the model answers for rows, as scoring does, ``(n,)`` or ``(n, n_classes)``."""
        return self._answers.probabilities(encoded)

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
        logits = self._answers.logits(customers.encoded)
        classes = self._classes(logits, target)
        bad = np.zeros(len(customers), dtype=bool) if bad is None else bad
        good = np.flatnonzero(~bad)
        found = Found.empty(len(customers), len(self.mixer.names))
        for rows in np.array_split(good, range(ROWS_AT_A_TIME, len(good), ROWS_AT_A_TIME)):
            self._explain(found, rows, customers.take(rows), of_rows(classes, rows), logits[rows])
        said = np.where(bad, np.nan, log_odds(logits, classes))
        error = found.base + found.values.sum(axis=1) - said
        fidelity = found.fidelity if self.method == "linear" else None
        return Effects(
            self.mixer.names, found.values, found.base, said, error, found.stability, found.method, classes, fidelity
        )

    def _classes(self, logits: np.ndarray, target: str | None) -> np.ndarray | None:
        classes = self.predictor.classes
        if target is not None and (target not in classes or logits.ndim == 1):
            known = f"there are {', '.join(classes)}" if logits.ndim == 2 else f"of two classes it is {classes[1]}"
            raise ConfigError(f"target={target!r} is no class to explain; {known}")
        if logits.ndim == 1:
            return None
        return logits.argmax(axis=1) if target is None else np.full(len(logits), classes.index(target))

    def _explain(
        self, found: Found, rows: np.ndarray, customers: Customers, target: np.ndarray | None, logits: np.ndarray
    ) -> None:
        """Fill in the rows' effects."""
        if not len(rows):
            return
        if self.method == "exact":
            found.fill(rows, "exact", self._methods.exact(self._trained, customers))
        elif self.method == "linear":
            found.fill(rows, "linear", self._methods.lines(customers, target))
        else:
            left = self._by_gradients(found, rows, customers, target, logits)
            if len(left):
                found.fill(rows[left], "shapley", self._methods.orders(customers.take(left), of_rows(target, left)))

    def _by_gradients(
        self, found: Found, rows: np.ndarray, customers: Customers, target: np.ndarray | None, logits: np.ndarray
    ) -> np.ndarray:
        """Fill in effects by gradients, and return the places of the rows that are left to be explained otherwise."""
        left = np.arange(len(rows))
        if self.method == "shapley":
            return left
        assert self._model is not None
        for more in (False, True):
            if not len(left):
                break
            here = of_rows(target, left)
            part = self._methods.gradients(self._model, customers.take(left), here, more=more)
            found.fill(rows[left], "gradients", found.with_more(rows[left], part) if more else part)
            if self.method == "gradients":
                return left[:0]
            left = left[found.misses(rows[left], log_odds(logits[left], here))]
        return left


__all__ = ["FIRST", "METHODS", "PAIRS", "SAMPLES", "Effects", "Explainer"]
