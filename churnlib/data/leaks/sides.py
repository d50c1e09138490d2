"""Do the sides of a split share customers, or copies of their rows?"""

from __future__ import annotations

import numpy as np
import polars as pl

from churnlib.data.leaks.report import CERTAIN, SUSPECTED, Check, Finding
from churnlib.schema import Schema

MOST_COPIES = 0.01
"""Share of the validation and test rows that may be copies of training rows."""


def check_customers(ids: pl.Series | None, sides: dict[str, np.ndarray]) -> Check:
    """Look for customers with rows on several sides.

    Args:
        ids: ``(n,)`` names of the customers, null where a row is a customer of its own; None if all are.
        sides: Row numbers by side.
    """
    name = "customers on several sides"
    if ids is None:
        return Check(name, "each row is a customer of its own")
    side = np.full(len(ids), -1, dtype=np.int8)
    for number, rows in enumerate(sides.values()):
        side[rows] = number
    dealt = pl.DataFrame({"id": ids, "side": side}).filter(pl.col("side") >= 0).drop_nulls("id")
    n_sides = dealt.group_by("id").agg(pl.col("side").n_unique())["side"]
    shared = int((n_sides > 1).sum())
    said = f"{shared or 'none'} of {len(n_sides):,} customers of {ids.name!r}"
    found = (Finding(f"{said} have rows on several sides of the split", severity=CERTAIN, figures={"n": shared}),)
    return Check(name, said, found if shared else ())


def check_copies(frame: pl.DataFrame, schema: Schema, sides: dict[str, np.ndarray]) -> Check:
    """Look for held-out rows that are copies of training rows under another id.

    Customers of few properties are alike by chance; a copy is told by a value that no other row of the table has, such
    as a total to the cent.

    Args:
        frame: The rows with the types of the schema.
        schema: What the columns are.
        sides: Row numbers by side.
    """
    name = "copies on several sides"
    rows = np.concatenate(list(sides.values()))
    is_training = np.zeros(frame.height, dtype=bool)
    is_training[sides["train"]] = True
    n_held_out = len(rows) - len(sides["train"])
    features = [column.name for column in schema.features]
    profile = frame.select(features).hash_rows(seed=0)
    table = pl.DataFrame({"profile": profile, "train": is_training})[rows]
    both = pl.col("train").any().over("profile") & ~pl.col("train").all().over("profile")
    twins = table.with_columns(row=pl.Series(rows)).filter(both)
    alike = int((~twins["train"]).sum())
    evidence = f"{alike:,} of {n_held_out:,} held-out rows equal a training row in all features"
    if not n_held_out or alike < MOST_COPIES * n_held_out:
        return Check(name, f"{evidence}, limit {MOST_COPIES:.0%}")
    copies = _copies(frame.select(features), twins)
    evidence += f", {copies:,} of them with a value that no other customer has"
    if copies < MOST_COPIES * n_held_out:
        return Check(name, f"{evidence}, limit {MOST_COPIES:.0%}")
    return Check(name, evidence, (Finding(evidence, severity=SUSPECTED, figures={"rows": copies}),))


def _copies(features: pl.DataFrame, twins: pl.DataFrame) -> int:
    """Return how many held-out rows share with their training twins, and with nobody else, a value of some column."""
    own = twins.with_columns(group=pl.len().over("profile"))
    exclusive = np.zeros(len(own), dtype=bool)
    for name in features.columns:
        values = features[name]
        if values.dtype.is_nested():
            continue
        counts = values.alias("value").value_counts(name="n")
        n = (
            values[own["row"]]
            .alias("value")
            .to_frame()
            .join(counts, on="value", how="left", maintain_order="left")["n"]
        )
        exclusive |= (n == own["group"]).fill_null(False).to_numpy()
    return int((exclusive & ~own["train"].to_numpy()).sum())
