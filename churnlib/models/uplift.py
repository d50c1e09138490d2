"""An uplift model: how likely a customer leaves when left alone, and how much of that a treatment prevents.

    T-learner   two models of leaving, of who was left alone and of who was treated; the effect is their difference
    X-learner   besides, two models of effects, of each side's customers compared with what the other side's model says
                of them, weighed by how likely a customer was to be treated (Künzel et al. 2019, PNAS 116(10))

Its logits are those of customers who are left alone: it answers as any churn model does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnlib.models.fitted import FittedModel, Kept, member_file, state_names
from churnlib.models.fitted import restore as restore_model

PARTS = ("alone", "treated", "effect_alone", "effect_treated", "propensity")
"""Models that it may consist of; the first two are always there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpliftModel:
    """Fitted models of both sides of an experiment.

    Attributes:
        alone: Log-odds of leaving of customers who are left alone.
        treated: Log-odds of leaving of customers who are treated.
        effect_alone: Churn that the treatment prevents, learned from those who were left alone; None for a T-learner.
        effect_treated: The same, learned from those who were treated.
        propensity: Log-odds of being treated; None where everybody had the same chance, ``share``.
        share: Of the customers who were treated, in (0, 1).
    """

    alone: FittedModel
    treated: FittedModel
    effect_alone: FittedModel | None = None
    effect_treated: FittedModel | None = None
    propensity: FittedModel | None = None
    share: float = 0.5

    def __post_init__(self) -> None:
        if (self.effect_alone is None) != (self.effect_treated is None):
            raise ValueError("an X-learner has a model of effects for each side; got one of them")
        if not 0.0 < self.share < 1.0:
            raise ValueError(f"share must be in (0, 1), got {self.share!r}")

    @property
    def learner(self) -> str:
        """``x`` or ``t``."""
        return "t" if self.effect_alone is None else "x"

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the log-odds of leaving of customers who are left alone, ``(n,)``."""
        return self.alone.logits(numeric, codes)

    def effects(self, numeric: np.ndarray, codes: np.ndarray) -> NDArray[np.float64]:
        """Return how much of the probability of leaving the treatment takes away, ``(n,)`` in [-1, 1].

        Args:
            numeric: ``(n, n_numeric)`` float32, missing values NaN.
            codes: ``(n, n_categorical)`` int64.
        """
        if self.effect_alone is None or self.effect_treated is None:
            return _share(self.alone, numeric, codes) - _share(self.treated, numeric, codes)
        chance = self.share if self.propensity is None else _share(self.propensity, numeric, codes)
        by_alone, by_treated = (part.logits(numeric, codes) for part in (self.effect_alone, self.effect_treated))
        return np.clip(chance * by_alone + (1.0 - chance) * by_treated, -1.0, 1.0)

    def keep(self) -> Kept:
        """Write the models down, each as it would be by itself."""
        members, states = [], {}
        for number, name in enumerate(name for name in PARTS if getattr(self, name) is not None):
            kept = getattr(self, name).keep()
            members.append({"part": name, "kept_as": kept.name, "values": dict(kept.values)})
            states |= {member_file(number, file): content for file, content in kept.states.items()}
        return Kept("uplift.json", {"share": self.share, "members": members}, states)


def _share(model: FittedModel, numeric: np.ndarray, codes: np.ndarray) -> NDArray[np.float64]:
    from scipy.special import expit

    return expit(np.asarray(model.logits(numeric, codes), dtype=np.float64))


def restore(
    values: Mapping[str, Any], states: Mapping[str, bytes], *, n_classes: int, trust: Sequence[str] = ()
) -> UpliftModel:
    """Build the model that was written down; see :func:`churnlib.models.fitted.restore`."""
    if n_classes != 2:
        raise ValueError(f"an uplift model is one of two classes, got {n_classes}")
    parts: dict[str, FittedModel] = {}
    for number, kept in enumerate(values["members"]):
        if kept["part"] not in PARTS or kept["part"] in parts:
            raise ValueError(f"uplift.json names the part {kept['part']!r}; expected each of {', '.join(PARTS)} once")
        files = state_names(kept["kept_as"], kept["values"])
        own = {file: states[member_file(number, file)] for file in files}
        parts[kept["part"]] = restore_model(kept["kept_as"], kept["values"], own, n_classes=2, trust=trust)
    return UpliftModel(**parts, share=float(values["share"]))
