"""What a request gets back: a result with its warnings, or a refusal that names the wrong field."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from churnlib.errors import CellError
from churnlib.serving.problems import NOT_READ, Problem, shown

MOST_NAMED = 20
"""Fields named in one answer; the rest is counted, so that a wide wrong row is not answered by a book."""

_KINDS = {
    "is absent": "absent",
    "has a value that training did not see": "unseen",
    "is a number outside the range that training saw": "out_of_range",
    NOT_READ: "unknown",
}


@dataclass(slots=True)  # not frozen, which would triple the time to make one
class Answer:
    """What one request gets back.

    Attributes:
        status: HTTP status code.
        body: JSON-ready values, or the bytes of a body that is encoded already.
        headers: Further response headers; where there is a ``content-type`` among them, the body is no JSON.
        version: Version of the model that answered, empty where none was asked.
        problem: What a refusal tells; its envelope takes the place of an empty body.
        decisions: What was predicted, for the metrics.
        warned: Kinds of the warnings in it and how many customers each concerns, for the metrics.
        refused: Codes of refusals among others' results and how many each has met, for the metrics.
    """

    status: int
    body: dict[str, Any] | bytes
    headers: tuple[tuple[str, str], ...] = ()
    version: str = ""
    problem: Problem | None = None
    decisions: Sequence[int | str] = ()
    warned: Sequence[tuple[str, int]] = ()
    refused: Sequence[tuple[str, int]] = ()

    @classmethod
    def refusal(cls, problem: Problem) -> Answer:
        """Return the answer that tells this problem."""
        return cls(problem.status, b"", problem.headers, problem=problem)

    def encode(self, request_id: str | None = None) -> bytes:
        """Return the body as JSON in UTF-8.

        Args:
            request_id: Written into a refusal.

        Raises:
            ValueError: If a number is not finite or a text is not encodable; neither may reach a client.
        """
        body = self.body
        if self.problem is not None and not body:
            return msgspec.json.encode(self.problem.envelope(request_id))
        if isinstance(body, bytes):
            return body
        for value in body.values():
            if type(value) is float and not math.isfinite(value):
                raise ValueError("an answer holds a number that is not finite")
        return msgspec.json.encode(body)


def in_protocol(answer: Answer) -> Answer:
    """Return a refusal in the shape of the protocol, ``{"error": "..."}``; another answer as it is."""
    if answer.problem is None:
        return answer
    return Answer(answer.status, {"error": answer.problem.message}, answer.headers, problem=answer.problem)


def problems_by_row(errors: Iterable[CellError]) -> dict[int, Problem]:
    """Return one refusal per bad row, naming its first wrong field with the reason, and the other wrong ones."""
    wrong: dict[int, list[CellError]] = {}
    for error in errors:
        wrong.setdefault(error.row, []).append(error)
    return {row: _problem(cells) for row, cells in wrong.items()}


def _problem(cells: Sequence[CellError]) -> Problem:
    first = cells[0]
    message = f"{shown(first.column)} {first.problem}"
    others = [shown(cell.column) for cell in cells[1:MOST_NAMED]]
    if others:
        more = "" if len(cells) <= MOST_NAMED else f" and {len(cells) - MOST_NAMED} more"
        message += f"; also wrong: {', '.join(others)}{more}"
    return Problem(422, "invalid_field", message, shown(first.column))


def kind_of_warning(message: str) -> str:
    """Return the kind by which the metrics count a warning.

    >>> kind_of_warning("is absent")
    'absent'
    """
    return _KINDS.get(message, "other")


def named_warnings(warnings: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the ``warnings`` of an answer, at most :data:`MOST_NAMED` and one that counts the rest.

    >>> named_warnings([("plan", "is absent")])
    [{'field': 'plan', 'message': 'is absent'}]
    """
    named: list[dict[str, Any]] = [{"field": name, "message": text} for name, text in warnings[:MOST_NAMED]]
    if len(warnings) > MOST_NAMED:
        named.append({"field": None, "message": f"{len(warnings) - MOST_NAMED} more warnings"})
    return named
