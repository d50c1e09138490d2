"""How clouds ask a container, and what they are answered: doors that there are, in wrappings of their own."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import msgspec

from churnlib.serving.answering.accounting import accounted
from churnlib.serving.answering.bulk_answers import predict_batch
from churnlib.serving.answering.limits import Limits
from churnlib.serving.answering.requests import LIMITS, parse_row
from churnlib.serving.answering.scored import Scored, item_error, score
from churnlib.serving.answering.served import Served, answered
from churnlib.serving.answering.tables import table_of_columns, table_of_rows
from churnlib.serving.answers import Answer
from churnlib.serving.doors.documents import check_rows, parse_object
from churnlib.serving.problems import Problem, RequestError, refuse

JSON, JSON_LINES, CSV = "application/json", "application/jsonlines", "text/csv"
MEDIA = (JSON, JSON_LINES, CSV)
"""Content types of ``POST /invocations``; what comes back is of the same."""

ALSO = {"application/x-jsonlines": JSON_LINES, "application/jsonl": JSON_LINES, "application/x-ndjson": JSON_LINES}
"""Other names that clients have for JSON lines."""

CONTENT_TYPE = "content-type"
"""Under this name the query of :func:`invocations` holds the header of the request."""


# --- Vertex AI --------------------------------------------------------------------------------------------------------


@answered
def vertex(served: Served, body: bytes, query: Mapping[str, str], *, limits: Limits = LIMITS) -> Answer:
    """Answer Vertex AI: ``{"instances": [...], "parameters": ...}``, of which the parameters are not looked at."""
    document = parse_object(body)
    if "columns" in document:
        raise refuse(422, "not_a_bulk", 'expected {"instances": [{...}, ...]}')
    if document.pop("parameters", None):
        body = msgspec.json.encode(document)
    return predict_batch(served, body, query, limits=limits)


# --- SageMaker --------------------------------------------------------------------------------------------------------


@answered
def invocations(served: Served, body: bytes, query: Mapping[str, str], *, limits: Limits = LIMITS) -> Answer:
    """Answer ``POST /invocations`` in the form in which it asks.

    ``application/json``: one customer, answered as ``POST /predict``, or what ``POST /predict/batch`` takes.
    ``application/jsonlines``: a customer in each line, answered by a line each. ``text/csv``: a line of column names,
    then one for each customer; answered alike, with the error's code in the last column.

    Args:
        served: The model.
        body: In the content type that the query tells.
        query: The request's header under :data:`CONTENT_TYPE`, JSON when it says nothing; and its id.
        limits: How many customers there may be, and how much of each.
    """
    media = query.get(CONTENT_TYPE, "").partition(";")[0].strip().lower() or JSON
    answer = {JSON: _json, JSON_LINES: _json_lines, CSV: _csv}.get(ALSO.get(media, media))
    if answer is None:
        raise refuse(415, "unsupported_media_type", f"the content type must be one of {', '.join(MEDIA)}")
    return answer(served, body, query, limits)


def _json(served: Served, body: bytes, query: Mapping[str, str], limits: Limits) -> Answer:
    document = parse_object(body)
    if "instances" in document or "columns" in document:
        return predict_batch(served, body, query, limits=limits)
    scored = score(served, table_of_rows(served.reader, [parse_row(body, limits)]))
    if scored.problems:
        return Answer.refusal(scored.problems[0])
    return accounted(served, scored, scored.alone(served.predictor.version), query)


def _json_lines(served: Served, body: bytes, query: Mapping[str, str], limits: Limits) -> Answer:
    lines = [line for line in body.split(b"\n") if line.strip()]
    check_rows(len(lines), limits.rows)
    rows: list[Any] = []
    problems: dict[int, Problem] = {}
    for place, line in enumerate(lines):
        try:
            rows.append(parse_row(line, limits))
        except RequestError as error:
            rows.append(None)
            problems[place] = error.problem
    scored = score(served, table_of_rows(served.reader, rows, problems=problems))
    lines = [msgspec.json.encode(row) + b"\n" for row in scored.rows()]
    return accounted(served, scored, b"".join(lines), query, ((CONTENT_TYPE, JSON_LINES),))


def _csv(served: Served, body: bytes, query: Mapping[str, str], limits: Limits) -> Answer:
    columns = _cells(body, limits)
    scored = score(served, table_of_columns(served.reader, columns))
    return accounted(served, scored, _as_csv(scored), query, ((CONTENT_TYPE, "text/csv; charset=utf-8"),))


def _cells(body: bytes, limits: Limits) -> dict[str, list[str | None]]:
    """Return the columns of a CSV body, texts all of them; an empty cell is missing."""
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if line]
    except UnicodeDecodeError:
        raise refuse(400, "malformed_csv", "the body is not valid UTF-8") from None
    except csv.Error:
        raise refuse(400, "malformed_csv", "the body is not valid CSV") from None
    if not lines:
        raise refuse(400, "malformed_csv", "the body is empty; expected a line of column names, and one per customer")
    names, rows = lines[0], lines[1:]
    check_rows(len(rows), limits.rows)
    if len(set(names)) < len(names):
        raise refuse(400, "duplicate_field", "two columns have one name; is the first line the names?")
    wrong = next((number for number, row in enumerate(rows) if len(row) != len(names)), None)
    if wrong is not None:
        raise refuse(400, "malformed_csv", f"row {wrong} has another number of cells than the line of names")
    return {name: [row[place] or None for row in rows] for place, name in enumerate(names)}


def _as_csv(scored: Scored) -> bytes:
    errors = [item_error(scored.problems[row])["code"] if row in scored.problems else "" for row in range(len(scored))]
    review = ["" if error else str(asked).lower() for error, asked in zip(errors, scored.review.tolist(), strict=True)]
    columns = {"customer_id": scored.ids, **scored.results, "human_review": review, "error": errors}
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return written.getvalue().encode()


__all__ = ["ALSO", "CONTENT_TYPE", "MEDIA", "invocations", "vertex"]
