"""Event tables of the simulated customers: what they used each day, and the tickets they opened.

A customer's trend ``t`` is a standard normal that stands in no column of the customer table; only his usage records
tell it. ``z`` are independent standard normals, ``d`` whole days before the snapshot.

    usage     one record a day, as far back as the customer's contract, ``event_days`` at most
      growth        exp(0.5 t (15 - d) / 90), over its mean of the last 30 days
      data_gb       ``monthly_data_usage_gb`` / 30 x growth x exp(0.5 z - 0.125), a third more at weekends
      call_minutes  Poisson(1.2) calls x ``call_duration_avg_minutes`` x growth x exp(0.3 z - 0.045)
    tickets   ``support_tickets`` of them, evenly over the time from the last interaction back to 90 days or the start
      topic         billing, technical (more with fibre), contract or other
      minutes       Gamma(2, 12), spent on it
    churn     ``-0.8 tanh(t)`` on top of ``model.churn_terms``: who uses less and less is about to leave

The record of day ``d`` was written at a random second of the 24 hours that end ``d`` days before the snapshot, so that
a window of 30 days before the snapshot holds 30 of them. On average they sum to the monthly usage of the customer table
(before its errors); tickets in 90 days are exactly its ``support_tickets``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from churnlib.data.simulator.model import FIBRE, TICKET_WINDOW_DAYS, Customers

MAX_DAYS = 1096

TREND_SPREAD = 0.5
"""Logarithm of how much a customer with a trend of 1 uses more than 90 days ago."""
DATA_SPREAD, CALL_SPREAD = 0.5, 0.3
CALLS_A_DAY = 1.2
WEEKDAY_SHARES = np.array([0.95, 0.95, 0.9, 0.9, 1.0, 1.15, 1.15])
"""Data usage from Monday to Sunday over that of the average day."""

TOPICS = ("billing", "technical", "contract", "other")
TOPIC_SHARES = np.array([[0.40, 0.30, 0.18, 0.12], [0.25, 0.55, 0.12, 0.08]])
"""Shares of the topics without and with fibre."""

DAY = 86_400
"""Seconds."""


@dataclass(frozen=True)
class EventBlock:
    """Whose events are drawn.

    Attributes:
        names: ``(n,)`` text, the customers' identifiers.
        customers: The customers.
        snapshot: ``(n,)`` datetime64[D].
        trend: ``(n,)`` float64.
        days: Most days of usage records.
    """

    names: pl.Series
    customers: Customers
    snapshot: np.ndarray
    trend: np.ndarray
    days: int


def draw_trends(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw the trend of each customer, ``(n,)`` float64."""
    return rng.standard_normal(n)


def churn_term(trend: np.ndarray) -> np.ndarray:
    """Return what the trend adds to the logit of churn, ``(n,)`` float64; 0 on average."""
    return -0.8 * np.tanh(trend)


def usage_events(rng: np.random.Generator, block: EventBlock, keep: int) -> pl.DataFrame:
    """Draw the daily records of a block, oldest day first.

    Args:
        rng: Generator of the draws; the whole block is drawn whatever ``keep`` is.
        block: The customers.
        keep: Customers, from the first, whose records are returned.
    """
    days, n = block.days, len(block.names)
    ago = np.arange(days - 1, -1, -1)[:, None]
    growth = _growth(block.trend, ago)
    calls = rng.poisson(CALLS_A_DAY, (days, n))
    call_noise = np.exp(CALL_SPREAD * rng.standard_normal((days, n), dtype=np.float32) - CALL_SPREAD**2 / 2)
    data_noise = np.exp(DATA_SPREAD * rng.standard_normal((days, n), dtype=np.float32) - DATA_SPREAD**2 / 2)
    seconds = ago * DAY + rng.integers(0, DAY, (days, n))
    time = block.snapshot.astype("datetime64[s]") - seconds.astype("timedelta64[s]")
    weekday = WEEKDAY_SHARES[(time.astype("datetime64[D]").astype(np.int64) + 3) % 7]  # 1970-01-01 was a Thursday
    data = block.customers.monthly_data_usage_gb / 30 * growth * weekday * data_noise
    minutes = calls * block.customers.call_duration_avg_minutes * growth * call_noise
    there = ago < np.minimum(days, 30 * block.customers.tenure_months + 30)
    there[:, keep:] = False
    place = np.broadcast_to(np.arange(n, dtype=np.uint32), (days, n))[there]
    return pl.DataFrame(
        {
            "customer_id": block.names.gather(pl.Series(place)),
            "time": pl.Series(time[there].astype("datetime64[us]")),
            "data_gb": np.round(data[there], 3),
            "call_minutes": np.round(minutes[there], 2),
        }
    )


def _growth(trend: np.ndarray, ago: np.ndarray) -> np.ndarray:
    """Return usage over its mean of the last 30 days, ``(days, n)`` float64."""

    def raw(days: np.ndarray) -> np.ndarray:
        return np.exp(TREND_SPREAD * trend * (15 - days) / 90)

    return raw(ago) / raw(np.arange(30)[:, None]).mean(axis=0)


def ticket_events(rng: np.random.Generator, block: EventBlock, keep: int) -> pl.DataFrame:
    """Draw the tickets of a block, customer by customer; the arguments are those of :func:`usage_events`."""
    customers = block.customers
    owner = np.repeat(np.arange(len(block.names), dtype=np.uint32), customers.support_tickets)
    newest = customers.days_since_interaction
    oldest = np.minimum(TICKET_WINDOW_DAYS, 30 * customers.tenure_months + 30)
    span = np.maximum(1, oldest - newest)[owner]
    seconds = newest[owner] * DAY + (rng.random(len(owner)) * span * DAY).astype(np.int64)
    shares = np.cumsum(TOPIC_SHARES, axis=1)[(customers.internet_service == FIBRE).astype(np.int64)[owner]]
    topic = (rng.random(len(owner))[:, None] > shares[:, :-1]).sum(axis=1)
    minutes = np.round(rng.gamma(2.0, 12.0, len(owner)), 1)
    kept = owner < keep
    time = block.snapshot.astype("datetime64[s]")[owner] - seconds.astype("timedelta64[s]")
    return pl.DataFrame(
        {
            "customer_id": block.names.gather(pl.Series(owner[kept])),
            "time": pl.Series(time[kept].astype("datetime64[us]")),
            "topic": pl.Series(TOPICS, dtype=pl.String).gather(pl.Series(topic[kept].astype(np.uint32))),
            "minutes": minutes[kept],
        }
    )


EVENT_TABLES: dict[str, Callable[[np.random.Generator, EventBlock, int], pl.DataFrame]] = {
    "usage": usage_events,
    "tickets": ticket_events,
}
"""The event tables by name; the place of each is the number of its stream of random numbers."""

__all__ = ["EVENT_TABLES", "MAX_DAYS", "EventBlock", "churn_term", "draw_trends", "ticket_events", "usage_events"]
