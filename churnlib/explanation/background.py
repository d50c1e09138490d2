"""The customers that effects are measured against: read once, and drawn from so that a few stand for all."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnlib.errors import BundleError, DataError
from churnlib.explanation.answers import Answers, log_odds
from churnlib.explanation.mixing import Customers


class Background:
    """Background customers, and what the model answers for them.

    Args:
        answers: Asks the model.
        table: The customers; those of the bundle when None.

    Raises:
        BundleError: If the bundle holds none, and none are given.
        DataError: If they cannot be scored.
    """

    def __init__(self, answers: Answers, table: Any = None) -> None:
        self._answers = answers
        self.customers = table if isinstance(table, Customers) else _read(answers, table)

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        """``(n,)`` or ``(n, n_classes)``."""
        return self._answers.logits(self.customers.encoded)

    @cached_property
    def ranked(self) -> NDArray[np.int64]:
        """Their numbers, in the order of their answers."""
        return np.argsort(self.logits if self.logits.ndim == 1 else self.logits.max(axis=1), kind="stable")

    def spread(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return ``n`` of them that represent all: spread evenly over the order of their answers."""
        order = self.ranked
        return rng.permutation(order[((np.arange(n) + 0.5) * len(order) / n).astype(np.int64)])

    def base(self, which: np.ndarray, target: np.ndarray | None) -> NDArray[np.float64]:
        """Return the mean log-odds of some of them, of the class of each row where there are several."""
        logits = self.logits[which]
        if target is None:
            return np.asarray(logits.mean())
        each = [log_odds(logits, np.full(len(logits), place)).mean() for place in range(logits.shape[1])]
        return np.array(each)[target]


def _read(answers: Answers, table: Any) -> Customers:
    predictor = answers.predictor
    table = list(predictor.bundle.background) if table is None else table
    if isinstance(table, list) and not table:
        raise BundleError(
            f"the model {predictor.version} has no background customers; give some, such as background=TABLE"
        )
    # Made-up customers have columns that were drawn each by itself; rules about several may not hold for them.
    reading = predictor.read(table, rules=False)
    if reading.bad.any() or not len(reading):
        raise DataError("the background customers cannot be scored; give others, such as background=TABLE")
    return answers.mixer.customers(reading.typed)


__all__ = ["Background"]
