"""``POST /feedback``: what became of a customer, told later, for whoever judges the model by it.

Nothing is kept here. A checked label is handed on to whatever the server was given for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from churnlib.serving.answering.requests import parse_row
from churnlib.serving.answering.served import Served, answered, objections
from churnlib.serving.answers import Answer
from churnlib.serving.problems import Problem, refuse

FIELDS = ("customer_id", "label", "at", "model_version")
LONGEST = 256
"""Characters of a customer's name and of a version."""

NOT_RECORDED = Problem(501, "not_recorded", "this server keeps no labels; start it with record=FOLDER")


@dataclass(frozen=True, slots=True)
class Feedback:
    """What became of a customer.

    Attributes:
        customer_id: What the client calls him, as in the request that was predicted.
        label: Of two classes 1 for who left and 0 for who stayed; of more the name of the class.
        at: When that was known, ISO 8601 in UTC.
        model_version: Of the answer that it belongs to; None where the client does not say.
    """

    customer_id: str | int | float | bool
    label: int | str
    at: str
    model_version: str | None = None


Sink = Callable[[Feedback], None]
"""Takes a label and keeps it somewhere; must not take long, and may raise."""


@answered
def feedback(served: Served, body: bytes, query: Mapping[str, str], *, sink: Sink | None = None) -> Answer:
    """Answer ``POST /feedback``: 202 with the label as it was understood.

    Args:
        served: The model.
        body: ``{"customer_id", "label", "at", "model_version"}``; the last two may be left out.
        query: Not looked at.
        sink: Keeps the label; None where nobody does, which is a 501.
    """
    if sink is None:
        return Answer.refusal(NOT_RECORDED)
    given = read_feedback(parse_row(body), served.predictor.classes)
    refused = objections(served.opt_out, [given.customer_id])
    if refused:
        return Answer.refusal(refused[0])
    sink(given)
    return Answer(202, asdict(given))


def read_feedback(values: Mapping[str, Any], classes: tuple[str, ...]) -> Feedback:
    """Check a label.

    Raises:
        RequestError: 422 if a field is missing, unknown, or holds something else than it should.
    """
    unknown = next((name for name in values if name not in FIELDS), None)
    if unknown is not None:
        raise refuse(422, "unknown_field", f"the fields are {', '.join(FIELDS)}", field=unknown)
    for name in FIELDS[:2]:
        if values.get(name) in (None, ""):
            raise refuse(422, "missing_field", f"{name} is required and missing", field=name)
    customer, version = values["customer_id"], values.get("model_version")
    if isinstance(customer, dict | list) or (isinstance(customer, str) and len(customer) > LONGEST):
        message = f"customer_id must be text of at most {LONGEST} characters, a number, true or false"
        raise refuse(422, "invalid_field", message, field="customer_id")
    if version is not None and (not isinstance(version, str) or len(version) > LONGEST):
        message = f"model_version must be text of at most {LONGEST} characters"
        raise refuse(422, "invalid_field", message, field="model_version")
    return Feedback(customer, _label(values["label"], classes), _moment(values.get("at")), version)


def _label(value: Any, classes: tuple[str, ...]) -> int | str:
    """Return the class that a label names: of two the number or the name, of more the name."""
    if len(classes) == 2:
        if isinstance(value, bool | int | float) and value in (0, 1):
            return int(value)
        if value in classes:
            return classes.index(value)
        wanted = f"0, 1, false, true or one of {', '.join(classes)}"
    else:
        if isinstance(value, str) and value in classes:
            return value
        wanted = f"one of {', '.join(classes)}"
    raise refuse(422, "invalid_field", f"label must be {wanted}", field="label")


def _moment(value: Any) -> str:
    """Return a moment in UTC; now where none is given, and one without a zone is UTC already."""
    if value is None:
        return datetime.now(UTC).isoformat(timespec="seconds")
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise refuse(422, "invalid_field", "at must be a moment as of ISO 8601", field="at") from None
    return moment.isoformat()


__all__ = ["Feedback", "Sink", "feedback", "read_feedback"]
