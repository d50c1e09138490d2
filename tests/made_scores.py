"""Labels drawn from known probabilities: a score that is calibrated by construction."""

from __future__ import annotations

import numpy as np


def drawn(seed: int, n: int = 300, decimals: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and the probabilities they were drawn from, a third of them 1; few decimals make ties."""
    rng = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(1.0 - 1.5 * rng.normal(size=n)))
    return (rng.random(n) < probability).astype(np.int64), probability.round(decimals)
