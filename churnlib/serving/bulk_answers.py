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

from churnlib.serving.answers import Answer
from churnlib.serving.documents import MAX_ROWS, check_rows, parse_object
from churnlib.serving.problems import refuse
from churnlib.serving.scored import Scored, item_error, score
from churnlib.serving.served import Served, answered
from churnlib.serving.tables import CustomerTable, table_of_columns, table_of_rows

FORMS = ("instances", "columns")


@answered
def predict_batch(served: Served, body: bytes, query: Mapping[str, str], *, max_rows: int = MAX_ROWS) -> Answer:
    """Answer ``POST /predict/batch``.

    Args:
        served: The model.
        body: JSON.
        query: Not looked at.
        max_rows: Most customers of one request.
    """
    document = parse_object(body)
    scored = score(served, read_table(served, document, max_rows))
    said = by_rows(scored) if "instances" in document else by_columns(scored)
    return Answer(200, msgspec.json.encode(said | {"model_version": served.predictor.version}))


def read_table(served: Served, document: Mapping[str, Any], max_rows: int) -> CustomerTable:
    """Read the customers of a request.

    Raises:
        RequestError: 422 if they are there in neither form or in both, 413 if they are too many.
    """
    given = [form for form in FORMS if form in document]
    if len(given) != 1:
        raise refuse(422, "invalid_field", 'expected {"instances": [row, ...]} or {"columns": {name: [value, ...]}}')
    customers = document[given[0]]
    if given == ["instances"]:
        if not isinstance(customers, list):
            raise refuse(422, "invalid_field", "instances must be an array of objects", field="instances")
        check_rows(len(customers), max_rows)
        return table_of_rows(served.reader, customers)
    if not isinstance(customers, dict):
        raise refuse(422, "invalid_field", "columns must be an object of arrays", field="columns")
    check_rows(max((len(values) for values in customers.values() if isinstance(values, list)), default=0), max_rows)
    return table_of_columns(served.reader, customers)


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


__all__ = ["by_columns", "by_rows", "predict_batch", "read_table"]
