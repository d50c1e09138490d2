"""A served model over made customers, for tests of the server's doors: no process, no port."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from made import TINY_MLP, made_bundle, made_customers

import churnlib
from churnlib.bundle import Bundle, write_bundle
from churnlib.column_predictor import ColumnPredictor
from churnlib.data.customers import prepare_customers
from churnlib.data.opt_out import WatchedOptOut
from churnlib.predictor import Predictor
from churnlib.serving.answering.review import Review
from churnlib.serving.answering.rows import RowReader

ROW: dict[str, Any] = {
    "customer": "7590-VHVEG", "tenure": 3, "charges": 70.35, "plan": "monthly", "paperless": "yes",
    "joined": "2020-06-15", "tariff": "b", "region": "region 3",
}  # fmt: skip

RULES = {
    "columns": {"tenure": {"min": 0, "max": 600, "unit": "months"}, "tariff": {"pattern": "[a-z].*"}},
    "rows": {"paid_for": "charges > 0 OR plan = 'free'"},
}


@dataclass
class MadeServed:
    """What the server's doors need to know of a model."""

    predictor: Predictor
    opt_out: WatchedOptOut | None = None
    unknown: str = "warn"
    recorder: Any = None
    columns: ColumnPredictor = field(init=False)
    reader: RowReader = field(init=False)
    review: Review = field(init=False)
    reasons: Any = field(init=False)

    def __post_init__(self) -> None:
        from churnlib.serving.answering.reasons import Reasons

        self.columns = ColumnPredictor(self.predictor)
        self.reader = RowReader(self.predictor, refuse_unknown=self.unknown == "refuse")
        self.review = Review(self.predictor)
        self.reasons = Reasons(self.predictor)


def served_bundle(classes: int = 2, **options: Any) -> Bundle:
    """A bundle over made customers, who also have an optional category and a column that is not read."""
    frame = made_customers()
    n, order = len(frame), pl.int_range(pl.len())
    three = np.array(["down", "stay", "up"])[np.arange(n) % 3]
    frame = frame.with_columns(
        pl.when(order % 25 != 0).then(pl.Series(np.array(["a", "b", "c"])[np.arange(n) // 3 % 3])).alias("tariff"),
        pl.format("a long remark about customer number {} that nobody reads", order).alias("comment"),
        pl.col("churn") if classes == 2 else pl.Series("churn", three),
    )
    customers = prepare_customers(frame, target="churn", id="customer", seed=0, rules=RULES)
    return made_bundle(customers, network=TINY_MLP, **options)


def made_served(folder: Path, classes: int = 2, **options: Any) -> MadeServed:
    """The same, written and loaded as a server does."""
    path = folder / f"bundle{classes}"
    if not path.exists():
        write_bundle(served_bundle(classes), path)
    return MadeServed(churnlib.load(path), **options)
