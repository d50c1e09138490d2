"""A bundle where it is served: how it is loaded, and what answers need of it beside the model.

What only some requests need, such as explanations and documents, is made when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from churnlib.serving.answering.requests import LIMITS
from churnlib.serving.answering.served import objections

if TYPE_CHECKING:
    from churnlib.column_predictor import ColumnPredictor
    from churnlib.data.opt_out import WatchedOptOut
    from churnlib.predictor import Predictor
    from churnlib.serving.answering.feedback import Sink
    from churnlib.serving.answering.limits import Limits
    from churnlib.serving.answering.reasons import Reasons
    from churnlib.serving.answering.review import Review
    from churnlib.serving.answering.rows import RowReader
    from churnlib.serving.doors.inference_protocol import ProtocolRoutes
    from churnlib.serving.seeing.recording import Recorder

_LONGEST_CELL, _LONGEST_TEXT = 4096, 65_536
"""Characters of a cell; of a model that reads texts."""


class ServedBundle:
    """A bundle, and what is made of it; :class:`~churnlib.serving.answering.served.Served` to those who answer.

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


__all__ = ["ServedBundle"]
