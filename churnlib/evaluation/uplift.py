"""How well customers are put in order by what a treatment prevents: uplift and Qini curves, and the line of effects.

Of one customer nobody ever sees both, what he did treated and what he would have done untreated. Of the customers with
the largest effects both sides are seen, if the treatment was given at random: their rates of staying are compared.

    uplift(k) = (S_t / N_t - S_c / N_c) (N_t + N_c) / n       stays that treating the first k gains, per customer
    qini(k)   = (S_t - S_c N_t / N_c) / N                     the same among the treated, per treated customer

with ``N_t`` and ``N_c`` the treated and untreated customers among the first ``k``, ``S`` those of them who stayed,
``n`` all customers and ``N`` all treated ones. Without an order both curves are straight lines to their end.
Customers of equal effect are one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from churnlib.evaluation.bootstrap import REPLICATES, resampled
from churnlib.evaluation.inputs import Floats, Ints
from churnlib.evaluation.ranking import Ranking


@dataclass(frozen=True, slots=True, eq=False)
class UpliftCurve:
    """What treating the customers with the largest effects gains.

    Attributes:
        share: ``(m + 1,)`` of the customers that are treated, from 0 to 1.
        uplift: ``(m + 1,)`` stays gained per customer.
        qini: ``(m + 1,)`` stays gained per treated customer of the experiment.
        effect: ``(m + 1,)`` smallest effect among those treated; infinite for nobody.
    """

    share: Floats
    uplift: Floats
    qini: Floats
    effect: Floats

    @property
    def auuc(self) -> float:
        """Area under the uplift curve."""
        return float(np.trapezoid(self.uplift, self.share))

    @property
    def qini_coefficient(self) -> float:
        """Area between the Qini curve and that of no order."""
        return float(np.trapezoid(self.qini, self.share)) - 0.5 * float(self.qini[-1])

    def at(self, shares: ArrayLike) -> Floats:
        """Return the stays gained per customer when these shares are treated."""
        return np.interp(np.asarray(shares, dtype=np.float64), self.share, self.uplift)


def uplift_curve(label: ArrayLike, treated: ArrayLike, effect: ArrayLike) -> UpliftCurve:
    """Compute both curves.

    Args:
        label: ``(n,)`` 1 for who left, 0 for who stayed.
        treated: ``(n,)`` 1 for who was treated, 0 for who was not.
        effect: ``(n,)`` churn that the treatment is said to prevent; only its order counts.

    Raises:
        ValueError: If the shapes differ, a value is impossible, or one side is empty.

    >>> curve = uplift_curve([0, 1, 1, 0], [1, 0, 1, 0], [0.3, 0.3, 0.1, 0.1])
    >>> curve.share.tolist(), curve.uplift.tolist(), curve.qini.tolist()
    ([0.0, 0.5, 1.0], [0.0, 0.5, 0.0], [0.0, 0.5, 0.0])
    """
    left, side, said = check_experiment(label, treated, effect)
    ranking = Ranking.of(said)
    counted = np.ones((1, len(left)))
    share, uplift, qini = _curves(left, side, ranking, counted)
    return UpliftCurve(share[0], uplift[0], qini[0], np.append(np.inf, ranking.score))


def check_experiment(label: ArrayLike, treated: ArrayLike, effect: ArrayLike) -> tuple[Ints, Ints, Floats]:
    """Return labels, sides and effects as arrays, or raise ``ValueError``."""
    left, side, said = np.asarray(label), np.asarray(treated), np.asarray(effect, dtype=np.float64)
    if left.ndim != 1 or not left.shape == side.shape == said.shape:
        raise ValueError(f"label, treated and effect must be (n,), got {left.shape}, {side.shape} and {said.shape}")
    for name, values in (("label", left), ("treated", side)):
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} must be 0 or 1 in every row")
    if not np.isfinite(said).all():
        raise ValueError("effect must be a number in every row")
    if side.min(initial=1) == side.max(initial=0):
        raise ValueError("an effect needs customers who were treated and customers who were not; one side is empty")
    return left.astype(np.int64), side.astype(np.int64), said


def _curves(left: Ints, side: Ints, ranking: Ranking, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return both curves of resampled rows, ``(r, m + 1)`` each, with the share of the rows.

    Args:
        left: ``(n,)`` labels.
        side: ``(n,)`` sides.
        ranking: Of the effects.
        weights: ``(r, n)`` how often each row counts.
    """
    stayed, order = 1.0 - left, ranking.order
    drawn = weights[:, order]
    n_t, s_t, n_c, s_c = (
        np.concatenate([np.zeros((len(drawn), 1)), ranking.cumulated(drawn * part[order])], axis=1)
        for part in (side, side * stayed, 1 - side, (1 - side) * stayed)
    )
    every = (n_t + n_c)[:, -1:]
    uplift = (_ratio(s_t, n_t) - _ratio(s_c, n_c)) * (n_t + n_c) / every
    qini = (s_t - s_c * _ratio(n_t, n_c)) / np.maximum(n_t[:, -1:], 1.0)
    return (n_t + n_c) / every, uplift, qini


def _ratio(count: Floats, of: Floats) -> Floats:
    """Return a rate, 0 where there is nobody."""
    return np.where(of > 0, count / np.where(of > 0, of, 1.0), 0.0)


FIGURES = ("average_effect", "auuc", "auuc_random", "auuc_over_random", "qini", "top_decile_effect")


def uplift_metrics(
    label: ArrayLike,
    treated: ArrayLike,
    effect: ArrayLike,
    *,
    customers: Ints | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the figures of an uplift model with their 95 % intervals.

    Args:
        label: ``(n,)`` 1 for who left.
        treated: ``(n,)`` 1 for who was treated.
        effect: ``(n,)`` churn that the treatment is said to prevent.
        customers: ``(n,)`` number of the customer of each row; None where each row is its own.
        replicates: Resampled sets, those treated and those untreated drawn apart; the model stays as it is.
        seed: Of the draws.

    Returns:
        ``average_effect`` (of treating everybody), ``auuc``, ``auuc_random`` (of treating in no order),
        ``auuc_over_random`` (their difference), ``qini``, ``top_decile_effect`` (among the tenth with the largest
        effects), ``n``, ``treated``, and ``intervals``.
    """
    left, side, said = check_experiment(label, treated, effect)
    ranking = Ranking.of(said)
    own = _figures(*_curves(left, side, ranking, np.ones((1, len(left)))))
    drawn = [
        _figures(*_curves(left, side, ranking, weights))
        for weights in resampled(side, customers, replicates=replicates, seed=seed)
    ]
    found: dict[str, Any] = {name: float(own[name][0]) for name in FIGURES}
    ends = {name: np.quantile(np.concatenate([one[name] for one in drawn]), [0.025, 0.975]) for name in FIGURES}
    return {
        **found,
        "n": len(left),
        "treated": int(side.sum()),
        "intervals": {name: [float(low), float(high)] for name, (low, high) in ends.items()},
    }


def _figures(share: Floats, uplift: Floats, qini: Floats) -> dict[str, Floats]:
    area = np.asarray(np.trapezoid(uplift, share, axis=1))
    random = 0.5 * uplift[:, -1]
    tenth = np.array([np.interp(0.1, x, y) for x, y in zip(share, uplift, strict=True)]) / 0.1
    return {
        "average_effect": uplift[:, -1],
        "auuc": area,
        "auuc_random": random,
        "auuc_over_random": area - random,
        "qini": np.asarray(np.trapezoid(qini, share, axis=1)) - 0.5 * qini[:, -1],
        "top_decile_effect": tenth,
    }


def curve_band(
    label: ArrayLike, treated: ArrayLike, effect: ArrayLike, shares: Floats, *, replicates: int = 500, seed: int = 0
) -> dict[str, Floats]:
    """Return both curves, the lines of no order and 95 % bands at some shares of the customers, ``(g,)`` each."""
    left, side, said = check_experiment(label, treated, effect)
    ranking = Ranking.of(said)

    def at(weights: Floats) -> tuple[Floats, Floats]:
        x, uplift, qini = _curves(left, side, ranking, weights)
        return tuple(  # type: ignore[return-value]
            np.stack([np.interp(shares, one, y) for one, y in zip(x, curve, strict=True)]) for curve in (uplift, qini)
        )

    own = at(np.ones((1, len(left))))
    drawn = [at(weights) for weights in resampled(side, None, replicates=replicates, seed=seed)]
    found = {"share": shares}
    for place, name in enumerate(("uplift", "qini")):
        low, high = np.quantile(np.concatenate([one[place] for one in drawn]), [0.025, 0.975], axis=0)
        found |= {name: own[place][0], f"{name}_low": low, f"{name}_high": high}
        found[f"{name}_random"] = shares * own[place][0][-1]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class EffectLine:
    """How measured effects depend on those that a model says: ``shift + slope * said``; (0, 1) for a true model.

    Attributes:
        shift: Of effects.
        slope: 0 for a model that says nothing.
        covariance: ``(2, 2)`` of both.
    """

    shift: float
    slope: float
    covariance: Floats

    @property
    def error(self) -> Floats:
        """Mean square error of (0, 1), ``(2, 2)``: the covariance, and the square of what the line is off."""
        off = np.array([self.shift, self.slope - 1.0])
        return self.covariance + np.outer(off, off)


def effect_line(label: ArrayLike, treated: ArrayLike, effect: ArrayLike, risk: ArrayLike) -> EffectLine | None:
    """Fit the line by which the treatment's effect depends on what a model says (Chernozhukov et al. 2018).

    Staying is regressed on the risk of who is left alone, the said effect, the side, and the side times the said
    effect; the last two coefficients are the line. Errors are robust to rows of unequal spread (HC1).

    Args:
        label: ``(n,)`` 1 for who left.
        treated: ``(n,)`` 1 for who was treated, at random.
        effect: ``(n,)`` that the model says; it did not learn from these rows.
        risk: ``(n,)`` probability of leaving of who is left alone.

    Returns:
        None where the said effects do not differ, or there are too few rows.
    """
    left, side, said = check_experiment(label, treated, effect)
    apart = side - side.mean()
    design = np.stack([np.ones(len(said)), np.asarray(risk, dtype=np.float64), said, apart, apart * said], axis=1)
    if len(said) <= 10 or said.std() == 0 or np.linalg.matrix_rank(design[:, [0, 2, 3, 4]]) < 4:
        return None
    stayed = 1.0 - left
    inverse = np.linalg.pinv(design.T @ design)
    weights = inverse @ (design.T @ stayed)
    residual = stayed - design @ weights
    scale = len(said) / (len(said) - design.shape[1])
    covariance = scale * inverse @ ((design.T * residual**2) @ design) @ inverse
    return EffectLine(float(weights[3]), float(weights[4]), covariance[3:, 3:])


__all__ = [
    "EffectLine", "UpliftCurve", "check_experiment", "curve_band", "effect_line", "uplift_curve", "uplift_metrics",
]  # fmt: skip
