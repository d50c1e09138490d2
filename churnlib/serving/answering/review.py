"""Which answers a person had better look at before anything follows from them (GDPR, article 22)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from churnlib.serving.problems import NOT_READ

if TYPE_CHECKING:
    import numpy as np

    from churnlib.predictor import Predictor


class Review:
    """Marks the answers that rest on something the model had to make do with, or that other training rows could turn.

    Args:
        predictor: The model; what its validation rows leave open about the threshold is in its metrics.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.band = threshold_band(predictor.metrics)

    def wanted(self, result: Mapping[str, Any], warnings: Sequence[tuple[str, str]]) -> bool:
        """Return whether a person should look at an answer.

        Args:
            result: The answer; the decision of two classes is open where the probability lies within :attr:`band`.
            warnings: Field and message of what was unusual about the row.
        """
        if self.band is not None:
            probability = result.get("churn_probability")
            if probability is not None and self.band[0] <= probability <= self.band[1]:
                return True
        return bool(warnings) and any(message != NOT_READ for _, message in warnings)

    def wanted_among(self, probability: np.ndarray | None, odd: np.ndarray) -> np.ndarray:
        """Say the same of many customers, ``(n,)`` bool.

        Args:
            probability: ``(n,)`` of leaving, NaN of those without an answer; None for more than two classes.
            odd: ``(n,)`` bool, who has a warning that tells of more than a field that was not read.
        """
        if self.band is None or probability is None:
            return odd
        low, high = self.band
        return odd | ((probability >= low) & (probability <= high))


def threshold_band(metrics: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the 95 % interval of the threshold, as training has put it down; None where there is none.

    >>> threshold_band({"validation": {"intervals": {"threshold": [0.2, 0.4]}}}), threshold_band({})
    ((0.2, 0.4), None)
    """
    found = metrics.get("validation", {}).get("intervals", {}).get("threshold")
    return None if found is None else (float(found[0]), float(found[1]))


__all__ = ["Review", "threshold_band"]
