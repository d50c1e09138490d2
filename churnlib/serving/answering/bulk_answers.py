"""``POST /predict/batch``: many customers in one request, as rows or as columns.

    {"instances": [{"customer_id": "C-1", "tenure": 3, ...}, ...]}
        -> {"predictions": [{"customer_id": "C-1", "churn_probability": 0.31, "churn_prediction": 0}, {"error": ...}],
            "model_version": "..."}

    {"columns": {"customer_id": ["C-1", ...], "tenure": [3, ...], ...}}
        -> {"columns": {"customer_id": [...], "churn_probability": [...], "churn_prediction": [...],
                        "human_review": [...]},
            "errors": [{"row": 1, "code": ..., "message": ..., "field": ...}],
            "warnings": [{"field": ..., "message": ..., "rows": [0, 7]}],
            "model_version": "..."}

A customer who is refused has an error of his own (among columns: null results, and an entry in ``errors``), and the
others have their results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from churnlib.serving.answering.accounting import accounted
from churnlib.serving.answering.bulk import parse_bulk
from churnlib.serving.answering.limits import Limits
from churnlib.serving.answering.requests import LIMITS
from churnlib.serving.answering.scored import Scored, item_error, score
from churnlib.serving.answering.served import Served, answered
from churnlib.serving.answering.tables import table_of_columns, table_of_rows
from churnlib.serving.answers import Answer


@answered
def predict_batch(served: Served, body: bytes, query: Mapping[str, str], *, limits: Limits = LIMITS) -> Answer:
    """Answer ``POST /predict/batch``.

    Args:
        served: The model.
        body: JSON.
        query: Holds the request's id, for the record.
        limits: How many customers there may be, and how much of each.
    """
    bulk = parse_bulk(body, limits)
    if bulk.rows is not None:
        scored = score(served, table_of_rows(served.reader, bulk.rows, problems=bulk.problems))
        said = by_rows(scored)
    else:
        scored = score(served, table_of_columns(served.reader, bulk.columns or {}, problems=bulk.problems))
        said = by_columns(scored)
    body = msgspec.json.encode(said | {"model_version": served.predictor.version})
    return accounted(served, scored, body, query)


def by_rows(scored: Scored) -> dict[str, Any]:
    """Return the answer to ``instances``, without the model's version."""
    return {"predictions": scored.rows()}


def by_columns(scored: Scored) -> dict[str, Any]:
    """Return the answer to ``columns``, without the model's version."""
    review: list[bool | None] = scored.review.tolist()
    for row in scored.problems:
        review[row] = None
    refused = set(scored.problems)
    warnings = [
        {"field": each.field, "message": each.message, "rows": each.rows and [r for r in each.rows if r not in refused]}
        for each in scored.warnings
    ]
    return {
        "columns": {"customer_id": scored.ids, **scored.results, "human_review": review},
        "errors": [{"row": row, **item_error(scored.problems[row])} for row in sorted(scored.problems)],
        "warnings": [each for each in warnings if each["rows"] != []],
    }


__all__ = ["by_columns", "by_rows", "predict_batch"]
