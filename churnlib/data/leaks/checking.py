"""All checks, in one pass over a prepared table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from churnlib.data.customers import Customers
from churnlib.data.leaks.columns import check_giveaways, check_missing, check_single_columns, read_cells
from churnlib.data.leaks.identifiers import check_dates, check_identifiers, check_names
from churnlib.data.leaks.made_up import check_made_up
from churnlib.data.leaks.report import Check, LeakReport
from churnlib.data.leaks.sides import check_copies, check_customers
from churnlib.errors import ConfigError
from churnlib.schema import Schema, unknown_column

MOST_ROWS = 50_000
"""Training rows that are looked at, drawn at random: an area under the ROC curve is then known to 0.005 or better."""


def check_leaks(
    customers: Customers, *, names: Sequence[str] = (), allow: Sequence[str] = (), seed: int = 0
) -> LeakReport:
    """Look for what says more about who leaves than anybody could know on the day of the prediction.

    Example::

        report = check_leaks(prepare_customers(table, target="churn"))
        report.columns     # those that had better not be read
        report.lines()     # a sentence for each

    Args:
        customers: A prepared table. Only its training rows are looked at, but for copies and customers on several
            sides.
        names: Words of columns' names that shall be taken for leaks, beside those that are known.
        allow: Columns that are no leaks: they were known on the day of the prediction.
        seed: Of the rows that are looked at where there are many.

    Returns:
        What was found; nothing is changed.

    Raises:
        ConfigError: If an allowed column is not in the table.
    """
    schema = _without(customers.schema, allow)
    rows = _some(customers.rows("train"), seed)
    typed, label = customers.typed[rows], customers.label[rows]
    cells = list(read_cells(typed, schema.features))
    classes = range(1, 2) if len(schema.classes) == 2 else range(len(schema.classes))
    sides = customers.split.sides()

    def of_all_classes(check: Callable[[np.ndarray], Check]) -> Check:
        """Take each class against all others, and return the outcome that has found most."""
        return max((check(label == number) for number in classes), key=lambda one: len(one.findings))

    checks = (
        of_all_classes(lambda churned: check_single_columns(cells, churned)),
        of_all_classes(lambda churned: check_missing(cells, churned)),
        of_all_classes(lambda churned: check_giveaways(cells, churned)),
        of_all_classes(lambda churned: check_identifiers(customers.frame, schema, rows, churned)),
        check_names(schema, names),
        check_dates(typed, schema),
        check_customers(None if customers.schema.id is None else customers.frame[customers.schema.id], sides),
        check_copies(customers.typed, customers.schema, sides),
        check_made_up(typed, label, schema.features, schema.classes, seed=seed),
    )
    return LeakReport(checks, len(rows), tuple(allow))


def _some(rows: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows[np.sort(order[:MOST_ROWS])]


def _without(schema: Schema, allow: Sequence[str]) -> Schema:
    known = [column.name for column in schema.columns]
    for name in allow:
        if name not in known:
            raise ConfigError(unknown_column(name, known, option="leaks.allow"))
    kept = tuple(column for column in schema.columns if column.name not in allow)
    return Schema(kept, classes=schema.classes)
