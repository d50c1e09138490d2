"""Columns that are chosen again and again, whichever half of the customers is looked at."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from churnlib.data.steps.proxies import make_proxy
from churnlib.data.steps.selection import FittedSelection, Ranking, Selection, ranked
from churnlib.data.steps.step import Training
from churnlib.errors import ConfigError

LOOSER = tuple(1.2 * 1.5**step for step in range(12))
"""Penalties that are tried, as shares of the one that leaves no column: from nearly that to a hundred times weaker."""


@dataclass(frozen=True)
class SelectStability(Selection):
    """Keep the columns that a sparse logistic regression chooses in most halves of the training rows.

    One fit of a sparse model picks one of two columns that say the same, and a few that say nothing; which ones depends
    on the rows. Fitted to many random halves, the share of halves that choose a column tells the steady ones
    (Meinshausen and Buhlmann, J. R. Stat. Soc. B 72(4), 2010; complementary pairs of halves: Shah and Samworth, ibid.
    75(1), 2013). Each half is penalised just so far that at most ``most`` columns are chosen.

    Attributes:
        halves: How many; they come in pairs that share no customer.
        threshold: Share of the halves, in (0.5, 1], that must choose a column for it to stay.
        most: Columns that one half chooses at most; half of all when left out. Fewer are safer: of columns that say
            nothing, at most ``most**2 / (columns * (2 * threshold - 1))`` stay on average.
    """

    word = "select_stability"
    rows: int = 10_000
    halves: int = 50
    threshold: float = 0.7
    most: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_range("halves", 2)
        self.check_range("threshold", 0.5, 1, open_ends="low")
        self.check_range("most", 1)
        if self.halves % 2:
            raise ConfigError(f"{self.option('halves')} must be even, since halves come in pairs, got {self.halves}")

    def rank(self, training: Training, names: tuple[str, ...]) -> Ranking:  # noqa: D102
        most = self.most or (len(names) + 1) // 2
        proxy = make_proxy("logistic", training, names)
        owner = np.repeat(np.arange(len(names)), [block.shape[1] for block in proxy.blocks])
        inputs = proxy.inputs(range(len(names)), np.arange(len(training.label)))
        rng = np.random.default_rng(training.seed)
        chosen = np.zeros(len(names))
        for _ in range(self.halves // 2):
            for half in _pair_of_halves(training, rng):
                chosen[_chosen(inputs[half], training.label[half], owner, most)] += 1
        share = chosen / self.halves
        scores = {name: {"chosen": float(share[place])} for place, name in enumerate(names)}
        dropped = {
            name: f"chosen in {share[place]:.0%} of {self.halves} halves of the rows, and not in {self.threshold:.0%}"
            for place, name in enumerate(names)
            if share[place] < self.threshold
        }
        return Ranking(ranked(scores, dict(zip(names, share.tolist(), strict=True))), dropped)


def _pair_of_halves(training: Training, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of two random halves of the customers."""
    groups = np.arange(len(training.label)) if training.groups is None else training.groups
    _, customer = np.unique(groups, return_inverse=True)
    first = rng.permutation(customer.max() + 1) < (customer.max() + 1) // 2
    return np.flatnonzero(first[customer]), np.flatnonzero(~first[customer])


def _chosen(inputs: np.ndarray, label: np.ndarray, owner: np.ndarray, most: int) -> np.ndarray:
    """Return the columns with a weight under the weakest penalty that lets no more in than are allowed.

    Of several classes each is told from all others, and a column counts if any of these models has a weight for it.

    Args:
        inputs: ``(n, inputs)`` float64.
        label: ``(n,)`` int class.
        owner: ``(inputs,)`` number of the column that each input is made of.
        most: Columns that may be chosen.
    """
    classes = np.unique(label)
    targets = [label == one for one in (classes[1:] if len(classes) == 2 else classes)]
    found = np.zeros(0, dtype=np.int64)
    if len(classes) < 2:
        return found
    for looser in LOOSER:
        weights = np.stack([_weights(inputs, target, looser) for target in targets])
        now = np.unique(owner[(weights != 0).any(axis=0)])
        if len(now) > most:
            break
        found = now
    return found


def _weights(inputs: np.ndarray, target: np.ndarray, looser: float) -> np.ndarray:
    """Return the weights of a regression whose penalty is so many times weaker than the one that leaves none."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import l1_min_c

    scale = 10  # liblinear penalises the intercept too; a large scale makes that next to nothing
    strength = looser * float(l1_min_c(inputs, target, loss="log", intercept_scaling=scale))
    model = LogisticRegression(
        C=strength, l1_ratio=1.0, solver="liblinear", intercept_scaling=scale, tol=1e-3, max_iter=200, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # whether a weight is zero shows before its last digits do
        return model.fit(inputs, target).coef_[0]


__all__ = ["FittedSelection", "SelectStability"]
