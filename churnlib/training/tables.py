"""The table a run learns from, by what the configuration says about it."""

from __future__ import annotations

import numpy as np
import polars as pl

from churnlib.config import DataConfig, ReferenceConfig, SimulatorConfig, TableConfig
from churnlib.errors import ConfigError


def load_table(data: DataConfig, *, seed: int) -> tuple[pl.DataFrame, np.ndarray | None]:
    """Return the configured table, and the true churn probability of its rows if they are simulated.

    Args:
        data: One of the data configurations.
        seed: Of the run; simulated customers are drawn with it unless they have their own.

    Raises:
        ChurnlibError: If the table cannot be had.
    """
    if isinstance(data, SimulatorConfig):
        from churnlib.data.simulator import simulate

        drawn = simulate(
            data.n_customers,
            seed=seed if data.seed is None else data.seed,
            n_snapshots=data.n_snapshots,
            history_months=data.history_months,
        )
        return drawn.table, drawn.churn_probability
    if isinstance(data, ReferenceConfig):
        from churnlib.data.reference import load_reference

        return load_reference(data.reference), None
    if isinstance(data, TableConfig):
        from churnlib.data.sources import read_table

        if not data.path:
            raise ConfigError("data.path is missing; give a CSV or Parquet file, such as data.path=customers.csv")
        return read_table(data.path, separator=data.separator), None
    raise ConfigError(f"data={data.name} is not a table; choose simulator, table, telco, mlc or isp")
