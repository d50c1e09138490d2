"""Was a table over-sampled before it came here: are rows of one class copies of each other, and no others?

Copies are gone before rows are dealt to sides (:mod:`churnlib.data.duplicates`), so that no run of churnlib suffers
from them; whoever splits such a table by other means has the same rows on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from churnlib.data.leaks.report import AS_IT_WAS, CERTAIN, Check, Finding

NAME = "rows drawn again"
MOST_REPEATED = 0.1
"""Share of the different rows of a class that may come more than once."""
TIMES = 5.0
"""How many times as large as in the other classes that share must be."""
EVEN = 0.5
"""Rows that are drawn again are spread over a class, where customers of few properties are alike in heaps: of the rows
that would come more than once if copies were drawn at random, at least this part must."""


def check_drawn_again(
    frame: pl.DataFrame, label: np.ndarray, classes: Sequence[str], *, leave_out: Sequence[str]
) -> Check:
    """Look for classes whose rows come several times.

    Args:
        frame: The table as it came, before copies are left out.
        label: ``(n,)`` int64 class of each row.
        classes: Their names.
        leave_out: Columns in which a copy may differ: the customer's name, the target, the side.
    """
    kept = frame.select([c for c in frame.columns if c not in leave_out and not frame.schema[c].is_nested()])
    if not kept.width or not len(frame):
        return Check(NAME, "there is nothing to compare rows by", applies=False)
    table = pl.DataFrame({"profile": kept.hash_rows(seed=0), "label": label})
    sizes = table.group_by("label", "profile").agg(n=pl.len())
    told = sizes.group_by("label").agg(rows=pl.col("n").sum(), distinct=pl.len(), repeated=(pl.col("n") > 1).mean())
    of = {one["label"]: one for one in told.sort("label").iter_rows(named=True)}
    most = max(of, key=lambda k: of[k]["repeated"])
    own, others = of[most], max((one["repeated"] for k, one in of.items() if k != most), default=0.0)
    said = ", ".join(f"{one['repeated']:.1%} of {classes[k]!r}" for k, one in of.items())
    evidence = f"different rows that come more than once: {said}"
    by_chance = 1.0 - math.exp(1.0 - own["rows"] / own["distinct"])
    if own["repeated"] < max(MOST_REPEATED, TIMES * others, EVEN * by_chance):
        return Check(NAME, f"{evidence}, limit {MOST_REPEATED:.0%}")
    even = len({one["rows"] for one in of.values()}) == 1 and len(of) > 1
    copies = own["rows"] - own["distinct"]
    said = f"{copies:,} of {own['rows']:,} rows of {classes[most]!r} are copies ({evidence})"
    said += "; all classes have exactly the same number of rows" if even else ""
    said += ": the class was over-sampled before the table came here"
    figures = {"rows": copies, "class": classes[most], "repeated": own["repeated"], "others": others, "even": even}
    return Check(NAME, said, (Finding(said, severity=CERTAIN, figures=figures, remedy=AS_IT_WAS),))


__all__ = ["check_drawn_again"]
