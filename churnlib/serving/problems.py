"""What the server says when it cannot answer: one JSON shape for every refusal, and client text made safe to show.

Nothing here ever carries a customer's value: a message is made of fixed words and of the bundle's own column names. A
field name that the client invented is shown only through :func:`shown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_SHOWN_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal, as the client gets it.

    Attributes:
        status: HTTP status code.
        code: Short name for programs (``missing_field``).
        message: One sentence for people, without any value of the customer.
        field: Name of the wrong field where one is to blame.
        headers: Further response headers (``Allow``, ``Retry-After``).
    """

    status: int
    code: str
    message: str
    field: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def envelope(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the JSON body of the answer."""
        error = {"code": self.code, "message": self.message, "field": self.field, "request_id": request_id}
        return {"error": error}


class RequestError(Exception):
    """A request that cannot be served; carries its :class:`Problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Disconnected(Exception):
    """The client left before it was answered; nobody waits any more."""


def refuse(status: int, code: str, message: str, *, field: str | None = None) -> RequestError:
    """Return the exception that answers with this problem; ``field`` may be any text a client sent."""
    return RequestError(Problem(status, code, message, None if field is None else shown(field)))


def shown(name: str) -> str:
    r"""Return a field name that is safe in answers and logs: short, one line, printable.

    >>> shown("plan\n<script>")
    'plan?<script>'
    >>> len(shown("x" * 1000))
    67
    """
    printable = "".join(letter if letter.isprintable() else "?" for letter in name[:_SHOWN_CHARACTERS])
    return printable + ("..." if len(name) > _SHOWN_CHARACTERS else "")


NOT_READ = "is not a column of this model and was not read"
"""Warning of a field that has changed nothing of the answer."""

INTERNAL = Problem(500, "internal_error", "the server failed on this request; its log has the request_id")
DEADLINE = Problem(504, "deadline_exceeded", "the model did not answer in time", headers=(("Retry-After", "1"),))
FULL = Problem(503, "overloaded", "too many requests are waiting", headers=(("Retry-After", "1"),))
NOT_READY = Problem(503, "not_ready", "the model does not answer", headers=(("Retry-After", "1"),))
OPTED_OUT = Problem(403, "opted_out", "this customer has objected to being scored", "customer_id")
WITHOUT_NAME = Problem(
    422, "missing_field", "customer_id is required here: customers may have objected to being scored", "customer_id"
)
NO_OPT_OUT_LIST = Problem(
    503, "not_ready", "the list of customers who have objected cannot be read, so that nobody is scored"
)
NO_WORKER = Problem(503, "not_ready", "no worker is there to answer", headers=(("Retry-After", "1"),))
WORKER_LOST = Problem(503, "worker_lost", "the worker ended before it answered", headers=(("Retry-After", "1"),))
DRAINING = Problem(503, "draining", "the server is ending", headers=(("Retry-After", "1"),))
