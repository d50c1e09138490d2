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

from churnlib.serving.answering.requests import LIMITS, parse_row
from churnlib.serving.answering.served import log_failure, objections
from churnlib.serving.answering.strict_json import kind_of
from churnlib.serving.answers import Answer, kind_of_warning, named_warnings
from churnlib.serving.problems import (
    INTERNAL,
    RequestError,
    refuse,
)

if TYPE_CHECKING:
    from churnlib.column_predictor import ColumnPredictor
    from churnlib.data.opt_out import WatchedOptOut
    from churnlib.predictor import Predictor
    from churnlib.serving.answering.feedback import Sink
    from churnlib.serving.answering.limits import Limits
    from churnlib.serving.answering.reasons import Reasons
    from churnlib.serving.answering.review import Review
    from churnlib.serving.answering.rows import Customer, RowReader
    from churnlib.serving.doors.inference_protocol import ProtocolRoutes
    from churnlib.serving.seeing.recording import Recorder

Query = Mapping[str, str]
Job = Callable[["Endpoint", bytes, Query], Answer]

_LONGEST_CELL, _LONGEST_TEXT = 4096, 65_536
"""Characters of a cell; of a model that reads texts."""


class Endpoint:
    """A bundle, and how its customers are answered.

    Args:
        bundle: Folder of the bundle.
        trust: Packages whose networks a bundle may name.
        backend: What answers; see :func:`churnlib.load`.
        threads: Processor threads of ONNX Runtime.
        unknown: ``refuse`` for requests with fields that are no columns of the model, ``warn`` to answer them.
        opt_out: Table of the customers who have objected to being scored; empty for none.
        max_bulk_rows: Most customers of one request.
        recorder: Is given every prediction; None for no record.
        keys: Whether the server asks for keys; for its documents.
        admin: Whether it takes orders; for its documents.
        record_folder: Where labels are kept beside the records; empty for nowhere.
    """

    def __init__(
        self,
        bundle: str,
        *,
        trust: Sequence[str] = (),
        backend: str = "auto",
        threads: int = 1,
        unknown: str = "warn",
        opt_out: str = "",
        max_bulk_rows: int = 10_000,
        recorder: Recorder | None = None,
        record_folder: str = "",
        keys: bool = False,
        admin: bool = False,
    ) -> None:
        self.bundle = bundle
        self.trust = tuple(trust)
        self.backend, self.threads = backend, threads
        self.unknown, self.opt_out_path = unknown, opt_out
        self.max_bulk_rows = max_bulk_rows
        self.recorder, self.record_folder = recorder, record_folder
        self.keys, self.admin = keys, admin
        self.computes_on = "cpu"
        self._reasons: Reasons | None = None
        self._columns: ColumnPredictor | None = None
        self._openapi: dict[str, Any] | None = None
        self._labels: Sink | None = None
        self._protocol: ProtocolRoutes | None = None
        self._opt_out: WatchedOptOut | None = None
        self._predictor: Predictor | None = None
        self._reader: RowReader | None = None
        self._review: Review | None = None
        self._limits: Limits | None = None  # made in each process: LitServe sends its hooks to workers
        self._described: dict[str, Any] | None = None

    def setup(self, device: Any = "cpu") -> None:
        """Load the bundle and replay its golden rows, where the model is to compute.

        Args:
            device: Where a network that torch answers for computes; all other models stay on the CPU.

        What computes and polars are imported here and not before, so that a process can limit their threads first.

        Raises:
            BundleError: If the bundle is bad, or this machine does not give its answers.
            DataError, ConfigError: If the list of customers who have objected cannot be read.
        """
        from churnlib.data.opt_out import WatchedOptOut
        from churnlib.predictor import load
        from churnlib.schema import Kind
        from churnlib.serving.answering.limits import Limits
        from churnlib.serving.answering.review import Review
        from churnlib.serving.answering.rows import RowReader

        self._predictor = load(self.bundle, trust=self.trust, backend=self.backend, threads=self.threads)
        if str(device) != "cpu" and self._predictor.backend == "torch":
            self._move(str(device))
        self._predictor.replay_golden()
        schema = self._predictor.schema
        has_text = any(column.kind is Kind.text for column in schema.columns)
        text = _LONGEST_TEXT if has_text else _LONGEST_CELL
        self._reader = RowReader(self._predictor, refuse_unknown=self.unknown == "refuse", most_bytes=text)
        self._review = Review(self._predictor)
        self._limits = Limits.of_model(len(schema.columns), text=text, rows=self.max_bulk_rows)
        self._opt_out = WatchedOptOut(self.opt_out_path, id=self.predictor.schema.id) if self.opt_out_path else None

    def _move(self, device: str) -> None:
        from churnlib.models.network_model import NetworkModel

        model = self.predictor.bundle.model
        if isinstance(model, NetworkModel):
            model.move(device)
            self.computes_on = device

    @property
    def predictor(self) -> Predictor:
        """The model; there once ``setup`` has run."""
        if self._predictor is None:
            raise RuntimeError("setup() was not called; LitServe calls it in each worker before the first request")
        return self._predictor

    @property
    def reader(self) -> RowReader:
        """What takes customers out of JSON objects."""
        assert self._reader is not None
        return self._reader

    @property
    def limits(self) -> Limits:
        """How much one body may hold."""
        return self._limits or LIMITS

    @property
    def columns(self) -> ColumnPredictor:
        """What asks the model about many customers."""
        if self._columns is None:
            from churnlib.column_predictor import ColumnPredictor

            self._columns = ColumnPredictor(self.predictor)
        return self._columns

    @property
    def review(self) -> Review:
        """What says which answers a person should look at."""
        assert self._review is not None
        return self._review

    @property
    def version(self) -> str:
        """Version of the model."""
        return self.predictor.version

    @property
    def opt_out(self) -> WatchedOptOut | None:
        """The customers who have objected to being scored; None where there is no list."""
        return self._opt_out

    @property
    def reasons(self) -> Reasons:
        """What says why."""
        if self._reasons is None:
            from churnlib.serving.answering.reasons import Reasons

            # Gradients are taken on the CPU; orders ask the model as every request does, wherever it is.
            self._reasons = Reasons(self.predictor, method=None if self.computes_on == "cpu" else "shapley")
        return self._reasons

    @property
    def labels(self) -> Sink | None:
        """Where labels that come later are kept; None where nobody keeps them."""
        if self._labels is None and self.recorder is not None and self.record_folder:
            from churnlib.serving.seeing.labels import LabelFile

            self._labels = LabelFile(self.record_folder, self.recorder)
        return self._labels

    def protocol(self) -> ProtocolRoutes:
        """Return the addresses of the Open Inference Protocol."""
        if self._protocol is None:
            from churnlib.serving.doors.inference_protocol import protocol_routes

            self._protocol = protocol_routes(self.describe())
        return self._protocol

    def openapi(self) -> dict[str, Any]:
        """Return the body of ``GET /openapi.json``."""
        if self._openapi is None:
            from churnlib.serving.doors.openapi import openapi

            self._openapi = openapi(
                self.predictor, keys=self.keys, admin=self.admin, unknown=self.unknown, limits=self.limits
            )
        return self._openapi

    def identity(self) -> dict[str, Any]:
        """Return what a health probe is told: model, version and backend.

        Raises:
            RequestError: 503 while nobody may be answered, since the list of objections cannot be read.
        """
        objections(self._opt_out, ())
        predictor = self.predictor
        return {"model": predictor.model_name, "model_version": predictor.version, "backend": predictor.backend}

    def describe(self) -> dict[str, Any]:
        """Return the body of ``GET /metadata``."""
        from churnlib.serving.answering.metadata import describe

        if self._described is None:
            self._described = describe(self.predictor)
        return self._described

    # --- one customer -----------------------------------------------------------------------------------------------

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

    # --- everything else --------------------------------------------------------------------------------------------

    def run(self, job: str, body: bytes = b"", query: Query | None = None, request_id: str = "") -> Answer:
        """Do one of the :data:`~churnlib.serving.answering.jobs.JOBS`; like ``predict``, it never raises."""
        from churnlib.serving.answering.jobs import REQUEST_ID, done

        try:
            if job == "predict":
                return self.predict([self.decode_request(body, request_id=request_id)])[0]
            return done(self, job, body, {**(query or {}), REQUEST_ID: request_id})
        except RequestError as error:
            return Answer.refusal(error.problem)
        except Exception as error:
            log_failure(error)
            return Answer.refusal(INTERNAL)
