"""What each model that comes with churnlib says of itself: how it can be read, and what its training time grows with.

The one place for both; a comparison of models reads it. Nothing here loads a model or its packages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Family:
    """What is known of a kind of model, whatever it was trained on.

    Attributes:
        shows: What can be read off the fitted model, in a word; ``none`` where nothing can.
        because: Why, in a sentence.
        grows_with: What the time of a fit is proportional to, beside its own settings (epochs, trees, layers).
    """

    shows: str
    because: str
    grows_with: str


COEFFICIENTS = "one number per input says what it adds to the score, the same for every customer"
TREES = "hundreds of trees are added up, and none of them is the model"
LAYERS = "every input meets every other in hidden layers"

FAMILIES = {
    "logistic": Family("coefficients", COEFFICIENTS, "rows × inputs"),
    "linear_svm": Family("coefficients", COEFFICIENTS, "rows × inputs"),
    # Landmarks are at most n_landmarks, so that rows do not meet each other as in the exact kernel machine.
    "rbf_svm": Family("none", "each answer weighs the likeness to hundreds of landmarks", "rows × landmarks"),
    "random_forest": Family("none", TREES, "rows × log rows × √inputs"),
    "hist_gradient_boosting": Family("none", TREES, "rows × columns"),
    "lightgbm": Family("none", TREES, "rows × columns"),
    "xgboost": Family("none", TREES, "rows × columns"),
    "catboost": Family("none", TREES, "rows × columns"),
    "mlp": Family("none", LAYERS, "rows × inputs"),
    "mlp_plain": Family("none", LAYERS, "rows × inputs"),
    "realmlp": Family("none", LAYERS, "rows × inputs"),
    "additive": Family(
        "contributions",
        "each answer is a sum of one number for each column and for a few pairs, which a scorecard can hold",
        "rows × columns",
    ),
    "tabnet": Family(
        "masks",
        "they show where it looked for each customer, and not why: their correlation with true attributions was "
        "measured at 0.33 and 0.53",
        "rows × inputs",
    ),
    # Every column attends to every other.
    "ft_transformer": Family("none", LAYERS, "rows × columns²"),
    "gru": Family("none", LAYERS, "rows × steps"),
    "lstm": Family("none", LAYERS, "rows × steps"),
    "cnn": Family("none", LAYERS, "rows × steps"),
    "stack": Family("none", "it weighs the answers of several models", "rows × models"),
}
"""By the short names of `churnlib.models.network.NETWORKS` and `churnlib.models.baselines.BASELINES`, and a stack."""

UNKNOWN = Family("unknown", "the model is no part of churnlib", "unknown")


def family_of(name: str) -> Family:
    """Return what is known of a model.

    Args:
        name: Short name, as in ``metrics.json``.

    >>> family_of("logistic").shows, family_of("net_of_my_own").shows
    ('coefficients', 'unknown')
    """
    return FAMILIES.get(name, UNKNOWN)


def averaged(family: Family) -> Family:
    """Return what is known of several such models that answer together: folds, or seeds.

    >>> averaged(family_of("logistic")).shows
    'none'
    """
    because = "the answers of several models are averaged, and none of them is the model"
    return replace(family, shows="none", because=because, grows_with=f"{family.grows_with} × models")
