"""The models every network has to beat, fitted on the same rows and inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from churnlib.models.input_layer import InputLayer

EVERY_VALUE = 10**9
"""``one_hot_max`` of baselines, which have no embeddings."""


def baseline_inputs(input_spec: Mapping[str, Any], numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the input layer's output for a model that is no network, ``(n, in_features)`` float32.

    Args:
        input_spec: Arguments of the input layer, with every categorical column one-hot encoded.
        numeric: ``(n, n_numeric)`` float32, missing values NaN.
        codes: ``(n, n_categorical)`` int64.
    """
    layer = InputLayer(**input_spec).eval()
    with torch.inference_mode():
        return layer(torch.from_numpy(numeric), torch.from_numpy(codes)).numpy()


class LogisticRegressionBaseline:
    """scikit-learn's logistic regression (L2, strength 1) as a model with logits.

    Args:
        inputs: ``(n, in_features)`` training rows.
        label: ``(n,)`` int64 classes.
    """

    name = "logistic_regression"

    def __init__(self, inputs: np.ndarray, label: np.ndarray) -> None:
        from sklearn.linear_model import LogisticRegression

        self._model = LogisticRegression(max_iter=1_000)
        self._model.fit(inputs.astype(np.float64), label)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Return log-odds, ``(n,)`` for two classes, ``(n, n_classes)`` for more, float64."""
        return self._model.decision_function(inputs.astype(np.float64))
