"""How much each customer counts in the loss."""

from __future__ import annotations

import numpy as np

from churnlib.config import CostSensitiveConfig, LossConfig
from churnlib.data.customers import Customers, customer_value
from churnlib.errors import ConfigError


def row_weights(loss: LossConfig, customers: Customers) -> np.ndarray | None:
    """Return how much each training row counts, ``(n,)`` float32, if the loss weighs customers by their value.

    Raises:
        ConfigError: If the column is missing, holds no numbers, or gives no weights.
    """
    if not isinstance(loss, CostSensitiveConfig):
        return None
    from churnlib.models.losses import value_weights

    assert loss.value is not None
    try:
        return value_weights(customer_value(customers, loss.value)[customers.rows("train")])
    except ValueError as error:
        raise ConfigError(f"loss.value={loss.value}: {error}") from error
