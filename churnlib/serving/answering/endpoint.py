"""The model behind the server: what a request for a customer is answered, whoever calls.

All behaviour of the model over HTTP is here. The engines call these methods in the HTTP process, a LitServe worker
calls them through :class:`~churnlib.serving.api.ChurnLitAPI`, and so does a plain ``LitServer``: all answer alike. No
method raises for one customer, since a whole batch would fail with it: each request gets an
:class:`~churnlib.serving.answers.Answer` of its own, a result or a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from churnlib.serving.answering.requests import parse_row
from churnlib.serving.answering.served import answered, log_failure, objections
from churnlib.serving.answering.served_bundle import ServedBundle
from churnlib.serving.answering.strict_json import kind_of
from churnlib.serving.answers import Answer, kind_of_warning, named_warnings
from churnlib.serving.problems import INTERNAL, RequestError, refuse

if TYPE_CHECKING:
    from churnlib.serving.answering.rows import Customer

Query = Mapping[str, str]
Job = Callable[["Endpoint", bytes, Query], Answer]


class Endpoint(ServedBundle):
    """A bundle, and how its customers are answered; takes the arguments of :class:`ServedBundle`."""

    def decode_request(self, request: Any, *, request_id: str = "", **kwargs: Any) -> Customer | Answer:
        """Turn a JSON body, or what it holds, into a ``Customer``, or into the answer that is already certain.

        Args:
            request: Bytes, or the parsed values.
            request_id: For the record.
            kwargs: Of LitServe; not read.
        """
        try:
            customer = self.reader.usual(request, request_id=request_id) if isinstance(request, bytes) else None
            if customer is None:
                if isinstance(request, bytes):
                    request = parse_row(request, self.limits)
                elif not isinstance(request, dict):
                    told = f"expected a JSON object with the customer's columns, got {kind_of(request)}"
                    raise refuse(422, "not_an_object", told)
                customer = self.reader.customer(request, request_id=request_id)
            if self._opt_out is not None:
                for problem in objections(self._opt_out, [customer.id]).values():
                    return Answer.refusal(problem)
        except RequestError as error:
            return Answer.refusal(error.problem)
        except Exception as error:
            log_failure(error)
            return Answer.refusal(INTERNAL)
        return customer

    def predict(self, x: Any, **kwargs: Any) -> Any:
        """Answer a list of decoded requests, each on its own, in the same order; or one that is no list."""
        if not isinstance(x, list):
            return self.predict([x])[0]
        customers = [item for item in x if type(item) is not Answer]
        if len(customers) == len(x):
            return self._score(customers)
        answers = iter(self._score(customers))
        return [item if type(item) is Answer else next(answers) for item in x]

    def _score(self, customers: list[Customer]) -> list[Answer]:
        """Score together, and one by one if that fails, so that a failure stays with the one that caused it."""
        if not customers:
            return []
        try:
            results = self.reader.answers(customers)
            answers = list(map(self._answer, customers, results))
            if self.recorder is not None:
                self._record(customers, results)
            return answers
        except Exception as error:
            if len(customers) > 1:
                return [self._score([customer])[0] for customer in customers]
            log_failure(error)
            return [Answer.refusal(INTERNAL)]

    def _answer(self, customer: Customer, result: Mapping[str, Any]) -> Answer:
        version = self.predictor.version
        body = {"customer_id": customer.id, **result, "model_version": version}
        for value in result.values():
            if type(value) is float and not isfinite(value):
                raise ValueError("the model answered with a number that is not finite")
        warnings = customer.warnings
        if self.review.wanted(result, warnings):
            body["human_review"] = True
        if warnings:
            body["warnings"] = named_warnings(warnings)
        decision = result["churn_prediction"] if "churn_prediction" in result else result["prediction"]
        warned = [(kind_of_warning(message), 1) for _, message in warnings] if warnings else ()
        return Answer(200, body, version=version, decisions=(decision,), warned=warned)

    def _record(self, customers: Sequence[Customer], results: Sequence[Mapping[str, Any]]) -> None:
        import numpy as np

        assert self.recorder is not None
        decision = "churn_prediction" if "churn_prediction" in results[0] else "prediction"
        names = [name for name in results[0] if name != decision]
        probabilities = np.array([[result[name] for name in names] for result in results])
        self.recorder.record(
            self.version,
            [customer.request_id for customer in customers],
            [customer.id for customer in customers],
            probabilities[:, 0] if len(names) == 1 else probabilities,
            [result[decision] for result in results],
            features=[customer.row.typed for customer in customers] if "features" in self.recorder.fields else None,
        )

    @answered
    def run(self, job: str, body: bytes = b"", query: Query | None = None, request_id: str = "") -> Answer:
        """Do one of the :data:`~churnlib.serving.answering.jobs.JOBS`; like ``predict``, it never raises."""
        from churnlib.serving.answering.jobs import REQUEST_ID, done

        if job == "predict":
            return self.predict([self.decode_request(body, request_id=request_id)])[0]
        return done(self, job, body, {**(query or {}), REQUEST_ID: request_id})


__all__ = ["Endpoint", "Job", "Query"]
