"""Models of effects, which are differences of probabilities: regressions, kept as the baselines are."""

from __future__ import annotations

import numpy as np

from churnlib.models.baselines.baseline import FittedBaseline, Head, Rows, Task
from churnlib.models.baselines.hist_gradient_boosting import HistGradientBoosting, to_trees
from churnlib.models.baselines.inputs import FlatInputs, raw_matrix
from churnlib.models.baselines.linear import LinearModel
from churnlib.models.baselines.trees import TreesModel

AS_IT_IS = Head(1.0, (0.0,))
"""What the model says is the effect itself, and no log-odds."""

EFFECT_MODELS = ("ridge", "hist_gradient_boosting")

PENALTIES = tuple(10.0**power for power in range(-1, 6))
"""Of the ridge regression; the one that says most of rows left out, one after the other."""


def fit_effects(
    kind: str, train: Rows, effect: np.ndarray, validation: Rows, held_out: np.ndarray, task: Task
) -> FittedBaseline:
    """Fit a model of effects.

    Args:
        kind: One of :data:`EFFECT_MODELS`.
        train: Rows to learn from; their labels are not read.
        effect: ``(n,)`` effect of each of them, as far as it is known: noise with the effect as its mean.
        validation: Rows that say when to stop.
        held_out: Their effects.
        task: Columns and seed.
    """
    if kind == "ridge":
        from sklearn.linear_model import RidgeCV

        ridge = RidgeCV(alphas=PENALTIES).fit(FlatInputs(task.input_spec)(train.numeric, train.codes), effect)
        return LinearModel(
            head=AS_IT_IS,
            input_spec=task.input_spec,
            coefficients=np.asarray(ridge.coef_, dtype=np.float64).reshape(-1, 1),
            intercepts=np.atleast_1d(np.asarray(ridge.intercept_, dtype=np.float64)),
        )
    recipe = HistGradientBoosting()
    model = recipe.regressor(task).fit(
        raw_matrix(train.numeric, train.codes),
        effect,
        X_val=raw_matrix(validation.numeric, validation.codes),
        y_val=held_out,
    )
    best = int(np.argmax(model.validation_score_))  # place 0 is the score without trees
    return TreesModel(head=AS_IT_IS, trees=to_trees(model, task, rounds=best))


__all__ = ["EFFECT_MODELS", "fit_effects"]
