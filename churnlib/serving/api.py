"""The model behind the server: one ``LitAPI`` that turns a customer's row into an answer.

All behaviour of the model over HTTP is here, so that whatever calls these hooks (LitServe's worker, another engine, a
test) answers alike. No hook raises for one customer, since LitServe would fail the whole batch with it: each request
gets an :class:`~churnlib.serving.answers.Answer` of its own, a result or a refusal.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import litserve
from starlette.responses import Response

from churnlib.serving.answers import Answer, problems_by_row, warnings_by_row
from churnlib.serving.batching import GatherLoop
from churnlib.serving.problems import INTERNAL, Problem, shown

if TYPE_CHECKING:
    from churnlib.predictor import Predictor

CUSTOMER_ID = "customer_id"
"""Key of the customer's name in requests and answers, whatever the table called it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Customer:
    """One decoded request.

    Attributes:
        id: What the client calls the customer, echoed as sent; ``None`` if it sent nothing.
        row: The columns by name, without the id.
    """

    id: str | int | float | bool | None
    row: dict[str, Any]


class ChurnLitAPI(litserve.LitAPI):
    """LitServe's hooks over a :class:`~churnlib.predictor.Predictor`.

    Args:
        bundle: Folder of the bundle.
        trust: Packages whose networks a bundle may name.
        max_batch_size: Most customers predicted together.
        batch_timeout: Seconds a batch waits for company after its first request; 0 takes what is there.
        api_path: Path of the endpoint.
    """

    def __init__(
        self,
        bundle: str,
        *,
        trust: Sequence[str] = (),
        max_batch_size: int = 32,
        batch_timeout: float = 0.0,
        api_path: str = "/predict",
    ) -> None:
        super().__init__(
            max_batch_size=max_batch_size, batch_timeout=batch_timeout, api_path=api_path, loop=GatherLoop()
        )
        self.bundle = bundle
        self.trust = tuple(trust)
        self.predictor: Predictor | None = None

    def setup(self, device: Any) -> None:
        """Load the bundle; runs once in each worker process, so torch is imported here and not before."""
        from churnlib.predictor import load

        self.predictor = load(self.bundle, trust=self.trust)

    async def authorize(self) -> None:
        """Let every request pass; being asynchronous, it spares LitServe's default check its thread per request."""

    # `request` and the result stay without annotations: LitServe hands them to FastAPI as body and response types.
    def decode_request(self, request, **kwargs):  # noqa: ANN001, ANN003, ANN201
        """Turn a parsed JSON body into a :class:`Customer`, or into the answer that is already certain.

        ``null`` is the server's own question whether the model answers; clients' bodies are objects.
        """
        if request is None:
            return Answer(200, self.status())
        if not isinstance(request, dict):
            return Answer.refusal(Problem(422, "not_an_object", "expected a JSON object with the customer's columns"))
        return self._customer(request)

    def predict(self, x, **kwargs):  # noqa: ANN001, ANN003, ANN201
        """Answer a list of decoded requests, each on its own."""
        answers = iter(self._score([item for item in x if isinstance(item, Customer)]))
        return [next(answers) if isinstance(item, Customer) else item for item in x]

    def encode_response(self, output, **kwargs):  # noqa: ANN001, ANN003, ANN201
        """Turn an answer into an HTTP response."""
        try:
            return _response(output)
        except (ValueError, TypeError) as error:
            _log_failure(error)
            return _response(Answer.refusal(INTERNAL))

    def status(self) -> dict[str, Any]:
        """Return the body of ``/health`` when all is well."""
        predictor = self._loaded()
        return {"status": "ready", "model": predictor.model_name, "model_version": predictor.version}

    def _loaded(self) -> Predictor:
        if self.predictor is None:
            raise RuntimeError("setup() was not called; LitServe calls it in each worker before the first request")
        return self.predictor

    def _customer(self, request: dict[str, Any]) -> Customer | Answer:
        """Take the id out of the row and see to nested values, which no column holds."""
        schema = self._loaded().schema
        keys = dict.fromkeys((CUSTOMER_ID, schema.id))
        sent = [key for key in keys if key in request]
        read = {column.name for column in schema.features} | {schema.time}
        row = {name: value for name, value in request.items() if name not in keys or name in read}
        for name, value in row.items():
            if isinstance(value, dict | list):
                if name in read:
                    return _nested(name)
                row[name] = None  # not read, only named in a warning
        identity = request[sent[0]] if sent else None
        return _nested(sent[0]) if isinstance(identity, dict | list) else Customer(identity, row)

    def _score(self, customers: list[Customer]) -> list[Answer]:
        """Score together, and one by one if that fails, so that a failure stays with the one that caused it."""
        if not customers:
            return []
        try:
            return self._score_together(customers)
        except Exception as error:  # noqa: BLE001 - whatever it is, only its customer may feel it
            if len(customers) == 1:
                _log_failure(error)
                return [Answer.refusal(INTERNAL)]
            return [self._score([customer])[0] for customer in customers]

    def _score_together(self, customers: list[Customer]) -> list[Answer]:
        reading = self._loaded().read([customer.row for customer in customers])
        problems = problems_by_row(reading.errors)
        if problems:
            good = [customer for row, customer in enumerate(customers) if row not in problems]
            answers = iter(self._score(good))
            return [
                Answer.refusal(problems[row]) if row in problems else next(answers) for row in range(len(customers))
            ]
        warnings = warnings_by_row(reading.warnings)
        answers = []
        for row, (customer, result) in enumerate(zip(customers, self._results(reading), strict=True)):
            body = {CUSTOMER_ID: customer.id, **result, "model_version": self._loaded().version}
            answers.append(Answer(200, body | {"warnings": warnings[row]} if row in warnings else body))
        return answers

    def _results(self, reading: Any) -> list[dict[str, Any]]:
        """Return what is said of each row: the columns of a score file, without the id."""
        frame = self._loaded().answer(reading)
        return frame.drop(CUSTOMER_ID, strict=False).to_dicts()


def _nested(name: str) -> Answer:
    message = f"{shown(name)} must be text, a number, true, false or null, not an object or array"
    return Answer.refusal(Problem(422, "invalid_field", message, shown(name)))


def _response(answer: Answer) -> Response:
    return Response(answer.encode(), status_code=answer.status, media_type="application/json")


def _log_failure(error: Exception) -> None:
    """Log where a request failed; the text of the error is left out, since it may quote the customer's values."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("a request failed with %s at\n%s", type(error).__name__, frames)
