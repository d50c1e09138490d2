"""The model behind the server: one ``LitAPI`` that turns a customer's row into an answer.

All behaviour of the model over HTTP is here, so that whatever calls these hooks (LitServe's worker, another engine, a
test) answers alike. No hook raises for one customer, since LitServe would fail the whole batch with it: each request
gets an :class:`~churnlib.serving.answers.Answer` of its own, a result or a refusal.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import litserve
from starlette.responses import Response

from churnlib.errors import ChurnlibError, RowErrors
from churnlib.serving.answers import Answer, named_warnings, problems_by_row
from churnlib.serving.batching import GatherLoop
from churnlib.serving.problems import INTERNAL, NO_OPT_OUT_LIST, OPTED_OUT, WITHOUT_NAME, Problem, RequestError, shown

if TYPE_CHECKING:
    from churnlib.data.opt_out import WatchedOptOut
    from churnlib.predictor import Predictor
    from churnlib.serving.review import Review
    from churnlib.serving.rows import Customer, RowReader

_log = logging.getLogger(__name__)


class ChurnLitAPI(litserve.LitAPI):
    """LitServe's hooks over a :class:`~churnlib.predictor.Predictor`.

    Args:
        bundle: Folder of the bundle.
        trust: Packages whose networks a bundle may name.
        backend: What answers; see :func:`churnlib.load`.
        threads: Processor threads of ONNX Runtime.
        max_batch_size: Most customers predicted together.
        batch_timeout: Seconds a batch waits for company after its first request; 0 takes what is there.
        unknown: ``refuse`` for requests with fields that are no columns of the model, ``warn`` to answer them.
        opt_out: Table of the customers who have objected to being scored; empty for none.
        api_path: Path of the endpoint.
    """

    def __init__(
        self,
        bundle: str,
        *,
        trust: Sequence[str] = (),
        backend: str = "auto",
        threads: int = 1,
        max_batch_size: int = 32,
        batch_timeout: float = 0.0,
        unknown: str = "warn",
        opt_out: str = "",
        api_path: str = "/predict",
    ) -> None:
        super().__init__(
            max_batch_size=max_batch_size, batch_timeout=batch_timeout, api_path=api_path, loop=GatherLoop()
        )
        self.bundle = bundle
        self.trust = tuple(trust)
        self.backend, self.threads = backend, threads
        self.unknown, self.opt_out = unknown, opt_out
        self._opt_out: WatchedOptOut | None = None
        self._predictor: Predictor | None = None
        self._reader: RowReader | None = None
        self._review: Review | None = None

    def setup(self, device: Any) -> None:
        """Load the bundle and replay its golden rows; runs once in each worker process.

        What computes and polars are imported here and not before, so that the worker can limit their threads first.

        Raises:
            BundleError: If the bundle is bad, or this machine does not give its answers.
        """
        from churnlib.data.opt_out import WatchedOptOut
        from churnlib.predictor import load
        from churnlib.serving.review import Review
        from churnlib.serving.rows import RowReader

        self._predictor = load(self.bundle, trust=self.trust, backend=self.backend, threads=self.threads)
        self._predictor.replay_golden()
        self._reader = RowReader(self._predictor.schema, refuse_unknown=self.unknown == "refuse")
        self._review = Review(self._predictor)
        self._opt_out = WatchedOptOut(self.opt_out, id=self._predictor.schema.id) if self.opt_out else None

    @property
    def predictor(self) -> Predictor:
        """The model; there once ``setup`` has run."""
        if self._predictor is None:
            raise RuntimeError("setup() was not called; LitServe calls it in each worker before the first request")
        return self._predictor

    async def authorize(self) -> None:
        """Let every request pass; being asynchronous, it spares LitServe's default check its thread per request."""

    # Neither the request nor the response is annotated: LitServe would hand the annotations to FastAPI as body types.
    def decode_request(self, request, **kwargs: Any):  # noqa: ANN001, ANN201
        """Turn a parsed JSON body into a ``Customer``, or into the answer that is already certain.

        ``null`` is the server's own question whether the model answers; the bodies of clients are objects.
        """
        if request is None:
            try:
                self._check_objection(None)
            except RequestError as error:
                return Answer.refusal(error.problem)
            return Answer(200, {"status": "ready", "model_version": self.predictor.version})
        if not isinstance(request, dict):
            problem = Problem(422, "not_an_object", "expected a JSON object with the customer's columns")
            return Answer.refusal(problem)
        assert self._reader is not None
        try:
            customer = self._reader.customer(request)
            self._check_objection(customer)
            return customer
        except RequestError as error:
            return Answer.refusal(error.problem)

    def _check_objection(self, customer: Customer | None) -> None:
        """Refuse a customer who has objected to being scored, one without a name, and anybody while the list is lost.

        Raises:
            RequestError: 403, 422 or 503.
        """
        if self._opt_out is None:
            return
        try:
            listed = self._opt_out.current()
        except ChurnlibError as error:
            _log.error("nobody is scored: %s", error)  # names the file, and no customer
            raise RequestError(NO_OPT_OUT_LIST) from None
        if customer is None:
            return
        from churnlib.data.opt_out import name_of

        name = name_of(customer.id)
        if name is None:
            raise RequestError(WITHOUT_NAME)
        if name in listed.names:
            raise RequestError(OPTED_OUT)

    def predict(self, x: list, **kwargs: Any) -> list[Answer]:
        """Answer a list of decoded requests, each on its own, in the same order."""
        answers = iter(self._score([item for item in x if not isinstance(item, Answer)]))
        return [item if isinstance(item, Answer) else next(answers) for item in x]

    def encode_response(self, output, **kwargs: Any):  # noqa: ANN001, ANN201
        """Turn an answer into an HTTP response."""
        try:
            return _response(output)
        except (ValueError, TypeError) as error:
            _log_failure(error)
            return _response(Answer.refusal(INTERNAL))

    def _score(self, customers: list[Customer]) -> list[Answer]:
        """Score together, and one by one if that fails, so that a failure stays with the one that caused it."""
        if not customers:
            return []
        try:
            return self._score_together(customers)
        except Exception as error:
            if len(customers) > 1:
                return [self._score([customer])[0] for customer in customers]
            if isinstance(error, RowErrors):
                return [Answer.refusal(problem) for problem in problems_by_row(error.errors).values()]
            _log_failure(error)
            return [Answer.refusal(INTERNAL)]

    def _score_together(self, customers: list[Customer]) -> list[Answer]:
        reading = self.predictor.read([customer.row for customer in customers])
        problems = problems_by_row(reading.iter_errors())
        unusual: dict[int | None, list[tuple[str, str]]] = {}
        for warning in reading.warnings:
            unusual.setdefault(warning.row, []).append((shown(warning.column), warning.problem))
        results = self.predictor.answers(reading).drop("customer_id").to_dicts()
        return [
            Answer.refusal(problems[row])
            if row in problems
            else self._answer(customer, results[row], [*customer.warnings, *unusual.get(row, [])])
            for row, customer in enumerate(customers)
        ]

    def _answer(self, customer: Customer, result: dict[str, Any], warnings: list[tuple[str, str]]) -> Answer:
        body = {"customer_id": customer.id, **result, "model_version": self.predictor.version}
        if self._review is not None and self._review.wanted(result, warnings):
            body["human_review"] = True
        return Answer(200, {**body, "warnings": named_warnings(warnings)} if warnings else body)


def _response(answer: Answer) -> Response:
    return Response(answer.encode(), status_code=answer.status, media_type="application/json")


def _log_failure(error: Exception) -> None:
    """Log where a request failed; the text of the error is left out, since it may quote the customer's values."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("a request failed with %s at\n%s", type(error).__name__, frames)
