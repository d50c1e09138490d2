"""Resampled customers: how often each row is drawn, replicate by replicate, without copying a row.

Customers are drawn with replacement, those with a churned row and those without apart, as many of each as there are:
the churn rate stays as given, for rows were dealt to the test set class by class. Intervals then say nothing of how
well the churn rate itself is known, on which figures in money hang; drawn without classes (``stratified=False``), they
do. Several rows of a customer are drawn together; drawing them one by one would make intervals too narrow. A row that
is drawn twice weighs 2, so that one sort of the probabilities serves all replicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnlib.evaluation.inputs import Floats, Ints

REPLICATES = 1_000
AT_ONCE = 100_000
"""Weights that are held at a time; with few rows many replicates are computed together."""


def customer_numbers(customers: ArrayLike | None, n: int) -> Ints | None:
    """Return ``(n,)`` numbers of the customers that rows belong to, from 0; None where each row is its own.

    A row without a name is a customer of its own.

    Raises:
        ValueError: If there is not one name per row.
    """
    if customers is None:
        return None
    import polars as pl

    names = customers if isinstance(customers, pl.Series) else pl.Series(np.asarray(customers))
    if len(names) != n:
        raise ValueError(f"customers must name the customer of each of {n} rows, got {len(names)} names")
    named = names.is_not_null().to_numpy()
    found = np.empty(n, dtype=np.int64)
    found[named] = names.drop_nulls().rank("dense").to_numpy().astype(np.int64) - 1
    found[~named] = found[named].max(initial=-1) + 1 + np.arange(np.count_nonzero(~named))
    return None if n and int(found.max()) == n - 1 else found


def resampled(
    label: NDArray[Any],
    customers: Ints | None,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    stratified: bool = True,
) -> Iterator[Floats]:
    """Yield how often each row is drawn: ``(some, n)`` float64, so many replicates in all.

    Args:
        label: ``(n,)`` integers, the class of each row; a customer is of the largest class of his rows.
        customers: ``(n,)`` number of the customer of each row; None where each row is its own.
        replicates: Number of resampled sets.
        seed: Of the draws.
        stratified: Whether each class is drawn apart.

    Raises:
        ValueError: If there is not at least one replicate.
    """
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, got {replicates!r}")
    n = len(label)
    strata = label.astype(np.int64) if stratified else np.zeros(n, dtype=np.int64)
    of_unit = strata
    if customers is not None:
        of_unit = np.zeros(int(customers.max()) + 1, dtype=np.int64)
        np.maximum.at(of_unit, customers, strata)
    groups = [np.flatnonzero(of_unit == stratum) for stratum in np.unique(of_unit)]
    generator = np.random.default_rng(seed)
    step = max(1, AT_ONCE // n)
    for start in range(0, replicates, step):
        drawn = np.empty((min(step, replicates - start), len(of_unit)))
        for group in groups:
            drawn[:, group] = _draw(generator, len(drawn), len(group))
        yield drawn if customers is None else drawn[:, customers]


def intervals_of(
    estimates: Mapping[str, Any], replicates: Mapping[str, Floats], *, confidence: float = 0.95
) -> dict[str, list[float]]:
    """Return the interval of each figure: percentiles of its replicates, moved by the bias that they show.

    A maximum or a sum of distances (KS, calibration error) is larger in resampled rows than in the rows themselves, by
    about as much as it is larger in these than in all customers; percentiles would carry that bias twice. For other
    figures the move is next to nothing.

    Args:
        estimates: Figures of the rows themselves.
        replicates: ``(r,)`` of each, NaN where a replicate has no such figure.
        confidence: Fraction in (0, 1) of such intervals that hold what many test sets show on average.

    Returns:
        ``{name: [low, high]}``, without the figures that do not exist in the rows or in most replicates.
    """
    found = {}
    for name, drawn in replicates.items():
        estimate, known = estimates.get(name), drawn[np.isfinite(drawn)]
        if estimate is None or 2 * len(known) < len(drawn):
            continue
        low, high = np.quantile(known, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
        bias = float(known.mean()) - estimate
        least, most = RANGES.get(name, (-np.inf, np.inf))
        found[name] = [float(np.clip(low - bias, least, most)), float(np.clip(high - bias, least, most))]
    return found


UNIT = (0.0, 1.0)
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("roc_auc", "average_precision", "ks", "brier", "f1", "f0_5", "f2", "precision", "recall"), UNIT),
    **dict.fromkeys(("accuracy", "balanced_accuracy", "specificity", "ece", "resolution", "top_decile_capture"), UNIT),
    **dict.fromkeys(("reliability", "log_loss", "top_decile_lift", "mpc", "empc", "empb"), (0.0, np.inf)),
    **dict.fromkeys(("mpc_share", "empc_share", "empb_share", "contacted_share", "weighted_f1"), UNIT),
    **dict.fromkeys(("mcc", "gini"), (-1.0, 1.0)),
    **dict.fromkeys(("brier_skill", "auepc"), (-np.inf, 1.0)),
}
"""Where figures may lie; an interval that was moved is cut there."""


def _draw(generator: np.random.Generator, replicates: int, n: int) -> Ints:
    """Draw ``n`` of ``n`` with replacement, so many times; ``(replicates, n)`` counts."""
    drawn = generator.integers(n, size=(replicates, n), dtype=np.uint32 if n < 2**32 else np.uint64)
    if replicates == 1:
        return np.bincount(drawn[0], minlength=n)[None]
    flat = drawn.astype(np.int64) + (np.arange(replicates) * n)[:, None]
    return np.bincount(flat.ravel(), minlength=replicates * n).reshape(replicates, n)
