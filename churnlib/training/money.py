"""The campaign that figures in money are about, and what each customer is worth."""

from __future__ import annotations

import numpy as np

from churnlib.config import MoneyConfig, ThresholdConfig
from churnlib.data.customers import Customers, customer_value
from churnlib.decision import OwnThreshold
from churnlib.evaluation.profit.campaign import Campaign


def campaign_of(money: MoneyConfig, customers: Customers) -> Campaign:
    """Return the costs as :mod:`churnlib.evaluation.profit` takes them.

    What all customers are worth alike is the mean of the training rows where a column says what each is worth.
    """
    values = values_of(money, customers)
    mean = None if values is None else float(values[customers.rows("train")].mean())
    return Campaign.of(money, value=mean)


def values_of(money: MoneyConfig, customers: Customers) -> np.ndarray | None:
    """Return what each customer is worth, ``(n,)`` float64, or None without a column that says so.

    Where the column is empty, a customer is worth ``money.value``.

    Raises:
        ConfigError: If there is no such column, or no numbers in it.
    """
    if money.column is None:
        return None
    values = customer_value(customers, money.column, option="money.column") * money.times
    return np.where(np.isnan(values), money.value, values)


def own_threshold_of(threshold: ThresholdConfig, money: MoneyConfig, customers: Customers) -> OwnThreshold | None:
    """Return how each customer's threshold follows from his value; None but for ``threshold=value`` and two classes."""
    if threshold.rule != "value" or money.column is None or len(customers.schema.classes) != 2:
        return None
    terms = campaign_of(money, customers).terms
    return OwnThreshold(column=money.column, times=money.times, otherwise=money.value, offer=terms)
