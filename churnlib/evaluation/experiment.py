"""Whether a treatment was given at random, as far as the columns can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnlib.evaluation.intervals import roc_auc_interval
from churnlib.evaluation.ranking import roc_auc

LARGEST_AUC = 0.55
"""Below this the treatment can hardly be told from the columns, even where chance would have told it less."""

LARGEST_DIFFERENCE = 0.1
"""Standard deviations by which the means of both sides may differ: the usual border of what is called balanced."""

UNLIKELY = 4.0
"""Standard errors of a difference that chance hardly gives, of some dozens of columns."""


@dataclass(frozen=True, slots=True)
class RandomisationCheck:
    """What the columns say of who was treated.

    Attributes:
        auc: ROC AUC of telling treated customers from the others on rows that were not learned from; 0.5 for chance.
        low, high: Its 95 % interval.
        differences: Standardised difference of the means of both sides, by input, the largest first.
        unbalanced: Names of those beyond what is balanced and what chance gives.
        randomised: Whether nothing speaks against a treatment at random.
    """

    auc: float | None
    low: float | None
    high: float | None
    differences: Mapping[str, float]
    unbalanced: tuple[str, ...]

    @property
    def randomised(self) -> bool:
        """Whether nothing speaks against a treatment that was given at random."""
        told = self.low is not None and self.low > 0.5 and (self.auc or 0.5) > LARGEST_AUC
        return not told and not self.unbalanced

    def to_dict(self) -> dict[str, Any]:
        """Return the check JSON-ready, with the ten largest differences."""
        return {
            "randomised": self.randomised,
            "auc": self.auc,
            "auc_interval": None if self.low is None else [self.low, self.high],
            "largest_differences": dict(list(self.differences.items())[:10]),
            "unbalanced": list(self.unbalanced),
        }

    def warnings(self) -> list[str]:
        """Return sentences on what speaks against it."""
        said = []
        if self.low is not None and self.low > 0.5 and (self.auc or 0.5) > LARGEST_AUC:
            said.append(
                f"who was treated can be told from the columns (ROC AUC {self.auc:.2f}, {self.low:.2f} to "
                f"{self.high:.2f}; 0.50 if it was given at random): effects are mixed up with what else differs"
            )
        if self.unbalanced:
            worst = ", ".join(f"{name} ({self.differences[name]:+.2f})" for name in self.unbalanced[:5])
            said.append(f"treated customers differ from the others in {worst} standard deviations")
        return said


def check_randomisation(
    inputs: NDArray[np.floating[Any]],
    names: Sequence[str],
    treated: NDArray[np.int64],
    score: NDArray[np.float64],
    held_out: NDArray[np.int64],
) -> RandomisationCheck:
    """Compare both sides.

    Args:
        inputs: ``(n, k)`` numbers of the training rows, NaN for missing.
        names: ``(k,)``.
        treated: ``(n,)`` 0 or 1.
        score: ``(m,)`` how likely rows that were not learned from were treated, by a model.
        held_out: ``(m,)`` whether they were.
    """
    sides = [inputs[treated == side].astype(np.float64) for side in (1, 0)]
    counts = [np.maximum(np.isfinite(side).sum(axis=0), 1) for side in sides]
    means = [np.nansum(side, axis=0) / count for side, count in zip(sides, counts, strict=True)]
    squares = [np.nansum((s - m) ** 2, axis=0) / c for s, m, c in zip(sides, means, counts, strict=True)]
    spread = np.sqrt((squares[0] + squares[1]) / 2.0)
    difference = np.where(spread > 0, (means[0] - means[1]) / np.where(spread > 0, spread, 1.0), 0.0)
    chance = np.sqrt(1.0 / counts[0] + 1.0 / counts[1])
    order: list[int] = np.argsort(-np.abs(difference), kind="stable").tolist()
    beyond = (np.abs(difference) > LARGEST_DIFFERENCE) & (np.abs(difference) > UNLIKELY * chance)
    both = len(np.unique(held_out)) == 2
    probability = 1.0 / (1.0 + np.exp(-np.clip(score, -700, 700)))
    ends = roc_auc_interval(held_out, probability) if both else None
    return RandomisationCheck(
        auc=roc_auc(held_out, probability) if both else None,
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
        differences={names[place]: float(difference[place]) for place in order},
        unbalanced=tuple(names[place] for place in order if beyond[place]),
    )


__all__ = ["RandomisationCheck", "check_randomisation"]
