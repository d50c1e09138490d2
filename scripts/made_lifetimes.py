"""Customers whose chance of being there at any time is known, for the benchmark of lifetimes and the tests."""

from __future__ import annotations

import numpy as np
import polars as pl

END = 36.0
"""Months after which nobody is followed any more."""


def true_survival(frame: pl.DataFrame, times: np.ndarray) -> np.ndarray:
    """Return the probability of staying beyond each time, ``(n, m)``: Weibull, with curves that cross.

    Those on trial leave early or never (shape 0.6), the others ever sooner (shape 1.6).
    """
    use = frame["use"].to_numpy()[:, None]
    shape = np.where(frame["plan"].to_numpy() == "trial", 0.6, 1.6)[:, None]
    return np.exp(-((times / (25.0 * np.exp(0.8 * use))) ** shape))


def made_lifetimes(n: int = 2_000, *, seed: int = 0) -> pl.DataFrame:
    """Draw customers: ``months`` they were followed, ``left`` at the end or not, lost at random before ``END``.

    ``joined`` and ``last_seen`` are dates as far apart; ``fee`` is what each pays a month.
    """
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "customer": [f"C{i:05d}" for i in range(n)],
            "use": rng.normal(size=n).round(3),
            "plan": rng.choice(["trial", "full"], n),
            "noise": rng.normal(size=n).round(3),
            "fee": rng.integers(10, 90, n),
        }
    )
    shape = np.where(frame["plan"].to_numpy() == "trial", 0.6, 1.6)
    stays = 25.0 * np.exp(0.8 * frame["use"].to_numpy()) * rng.exponential(size=n) ** (1 / shape)
    lost = np.minimum(rng.exponential(40.0, n), END)
    months = np.maximum(np.minimum(stays, lost), 0.05)
    joined = pl.Series(np.datetime64("2020-01-01") + rng.integers(0, 300, n).astype("timedelta64[D]"))
    days = np.ceil(months * 365.25 / 12).astype(np.int64)
    seen = joined.to_numpy().astype("datetime64[D]") + days.astype("timedelta64[D]")
    return frame.with_columns(
        months=pl.Series(months.round(4)),
        left=pl.Series(np.where(stays <= lost, "yes", "no")),
        joined=joined.cast(pl.Date),
        last_seen=pl.Series(seen).cast(pl.Date),
    )
