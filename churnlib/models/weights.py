"""How much each class counts in the loss."""

from __future__ import annotations

import numpy as np


def class_weights(pos_weight: float | str | None, counts: np.ndarray) -> list[float]:
    """Return the weight of each class in the loss.

    >>> class_weights("balanced", np.array([300, 100]))
    [1.0, 3.0]

    Args:
        pos_weight: Weight of a churner's loss, ``"balanced"`` (as much weight for each class), or None for 1.
        counts: ``(n_classes,)`` training rows per class.

    Raises:
        ValueError: For a number with more than two classes, one that is not above 0, or a class without rows.
    """
    if pos_weight is None:
        return [1.0] * len(counts)
    if pos_weight == "balanced":
        if not all(counts):
            raise ValueError(f'pos_weight="balanced" needs rows of each class, got the counts {counts.tolist()}')
        return [float(counts[0] / count) for count in counts]
    if len(counts) > 2:
        raise ValueError(f'with {len(counts)} classes pos_weight must be "balanced" or None, got {pos_weight!r}')
    if isinstance(pos_weight, bool) or not isinstance(pos_weight, int | float) or not 0 < pos_weight < float("inf"):
        raise ValueError(f'pos_weight must be a number above 0, "balanced" or None, got {pos_weight!r}')
    return [1.0, float(pos_weight)]
