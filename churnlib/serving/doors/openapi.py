"""``GET /openapi.json``: what this server answers to what, made from the bundle it serves (OpenAPI 3.1).

It holds the model's own columns, an example that was really answered, and every status that an address may give. Tests
send thousands of requests made from it and look whether what it says is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from churnlib.serving.answering.limits import Limits
from churnlib.serving.answering.reasons import MOST
from churnlib.serving.answering.requests import LIMITS
from churnlib.serving.doors.answer_schemas import ref, schemas
from churnlib.serving.doors.platforms import MEDIA

if TYPE_CHECKING:
    from churnlib.predictor import Predictor

STATUSES = {
    400: "The body is not strict JSON, or not in the form that was announced.",
    401: "No key, or none that is known.",
    403: "The key may not do this, or the customer has objected to being scored.",
    404: "There is no such address.",
    405: "The address answers other methods, which the header Allow names.",
    408: "The body did not arrive in time.",
    409: "The model cannot be exchanged now.",
    413: "The body is too large, or holds too many customers.",
    415: "The body is of another content type, or compressed.",
    422: "A field is missing, wrong or, where that is refused, unknown; the answer says which and why.",
    429: "The key has asked too often; the header Retry-After says when to come back.",
    500: "The server failed on this request; its log has the request's id.",
    501: "This server or its model does not do this; the answer says why.",
    503: "Too many requests are waiting, or the server is not ready or ending; come back after Retry-After seconds.",
    504: "The answer was not ready in time.",
}
"""What each status of a refusal means."""

_ALWAYS = (404, 405, 500, 503)
_WITH_BODY = (400, 408, 413, 415, 422, 504)


def openapi(
    predictor: Predictor, *, keys: bool = False, admin: bool = False, unknown: str = "warn", limits: Limits = LIMITS
) -> dict[str, Any]:
    """Return the document.

    Args:
        predictor: The model.
        keys: Whether the server asks for keys.
        admin: Whether ``POST /admin/reload`` is answered.
        unknown: ``refuse`` where fields that are no columns of the model are refused.
        limits: How much one body may hold.
    """
    from churnlib import __version__
    from churnlib.serving.answering.metadata import example_row

    example = example_row(predictor)
    parts = _Parts(keys, example, _answered(predictor, example), several=len(predictor.classes) > 2)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Churn: {predictor.model_name}",
            "version": predictor.version,
            "description": f"Probabilities that customers leave, of the model {predictor.model_name} "
            f"{predictor.version}, served by churnlib {__version__}. Errors have one shape, and never a value of a "
            "customer. Every answer has the header X-Request-Id.",
        },
        "servers": [{"url": "/"}],
        "paths": {**_predicting(parts), **_told(parts), **_protocol(parts), **(_admin(parts) if admin else {})},
        "components": {"schemas": schemas(predictor, unknown=unknown, limits=limits)},
    }
    if keys:
        scheme = {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"}
        document["components"]["securitySchemes"] = {"key": scheme}
        document["security"] = [{"key": []}]
    return document


def _answered(predictor: Predictor, example: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the model says of the example, as ``POST /predict`` gives it."""
    row = {name: value for name, value in example.items() if name != "customer_id"}
    [answer] = predictor.predict([row], on_error="null").to_dicts()
    return {**answer, "customer_id": example["customer_id"], "model_version": predictor.version}


class _Parts:
    """What the descriptions of the addresses are put together from."""

    def __init__(self, keys: bool, example: Mapping[str, Any], answer: Mapping[str, Any], *, several: bool) -> None:
        self.keys, self.several = keys, several
        self.example, self.answer = dict(example), dict(answer)

    def refusals(self, statuses: Iterable[int], shape: str = "Error") -> dict[str, Any]:
        """Return what is said of the statuses that an address may give instead of its answer."""
        asked = sorted({*statuses, *((401, 403, 429) if self.keys else ())})
        content = {"application/json": {"schema": ref(shape)}}
        return {str(status): {"description": STATUSES[status], "content": content} for status in asked}

    def post(
        self, name: str, summary: str, *, body: Mapping[str, Any], answer: Mapping[str, Any], more: Iterable[int] = (),
        status: int = 200, shape: str = "Error", tag: str = "Customers", parameters: Iterable[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:  # fmt: skip
        """Return an address that is posted to; ``body`` and ``answer`` are contents by media type."""
        operation = {
            "operationId": name,
            "summary": summary,
            "tags": [tag],
            "requestBody": {"required": True, "content": dict(body)},
            "responses": {
                str(status): {"description": "The answer.", "content": dict(answer)},
                **self.refusals((*_ALWAYS, *_WITH_BODY, 403, *more), shape),
            },
        }
        return {"post": {**operation, "parameters": list(parameters)} if parameters else operation}

    def get(
        self, name: str, summary: str, schema: Mapping[str, Any], *, media: str = "application/json",
        free: bool = False, shape: str = "Error", tag: str = "Server",
    ) -> dict[str, Any]:  # fmt: skip
        """Return an address that is read; ``free`` ones take no key."""
        operation: dict[str, Any] = {"operationId": name, "summary": summary, "tags": [tag]}
        refusals = self.refusals(_ALWAYS, shape)
        if self.keys and free:
            operation["security"] = []
            refusals = {status: told for status, told in refusals.items() if status not in ("401", "403", "429")}
        answer = {"description": "The answer.", "content": {media: {"schema": dict(schema)}}}
        return {"get": {**operation, "responses": {"200": answer, **refusals}}}


def _json(schema: Mapping[str, Any] | str, example: Any = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": ref(schema) if isinstance(schema, str) else dict(schema)}
    return {"application/json": content if example is None else {**content, "example": example}}


def _asked(name: str, schema: Mapping[str, Any], about: str) -> dict[str, Any]:
    """Return a parameter of an address's query."""
    return {"name": name, "in": "query", "required": False, "description": about, "schema": dict(schema)}


def _predicting(parts: _Parts) -> dict[str, Any]:
    parameters = [
        _asked("reasons", {"type": "integer", "minimum": 1, "maximum": MOST}, "say why, with as many reasons at most"),
        _asked("target", {"type": "string"}, "the class to explain; the most probable one when absent"),
    ][: 1 + parts.several]
    version = parts.answer["model_version"]
    without = {name: value for name, value in parts.answer.items() if name != "model_version"}
    many = {"instances": [parts.example]}
    batch = _json("Batch", many)
    batch_answer = _json("BatchAnswer", {"predictions": [without], "model_version": version})
    label = {"customer_id": parts.example["customer_id"], "label": 1, "at": "2026-01-31T12:00:00Z"}
    lines = {media: {"schema": {"type": "string"}} for media in MEDIA[1:]}
    sagemaker = _json({"anyOf": [ref("Customer"), ref("Batch")]}, many) | lines
    sagemaker_answer = _json({"anyOf": [ref("Answer"), ref("BatchAnswer")]}) | lines
    return {
        "/predict": parts.post(
            "predict", "One customer's probability of leaving", body=_json("Customer", parts.example),
            answer=_json({"anyOf": [ref("Answer"), ref("Explained")]}, parts.answer),
            more=(501,), parameters=parameters,
        ),
        "/predict/batch": parts.post(
            "predict_batch", "Many customers, as rows or as columns; a wrong one is refused alone",
            body=batch, answer=batch_answer,
        ),
        "/explain": parts.post(
            "explain", "One customer's probability, and all reasons for it", body=_json("Customer", parts.example),
            answer=_json("Explained"), more=(501,), parameters=parameters,
        ),
        "/feedback": parts.post(
            "feedback", "What became of a customer, told later", body=_json("Feedback", label),
            answer=_json("Feedback"), status=202, more=(501,),
        ),
        "/invocations": parts.post(
            "invocations", "SageMaker's address: a customer, many, JSON lines or CSV", body=sagemaker,
            answer=sagemaker_answer, tag="Platforms",
        ),
    }  # fmt: skip


def _told(parts: _Parts) -> dict[str, Any]:
    health, anything = ref("Health"), {"type": "object"}
    return {
        "/health": parts.get("health", "Ready, with the model's version", health, free=True),
        "/livez": parts.get("livez", "Alive", anything, free=True),
        "/readyz": parts.get("readyz", "Ready: the bundle is verified and its golden rows replayed", health, free=True),
        "/ping": parts.get("ping", "SageMaker's address of readyz", health, free=True, tag="Platforms"),
        "/metadata": parts.get("metadata", "The model: columns, answers, figures of training", anything),
        "/metrics": parts.get("metrics", "Figures for Prometheus", {"type": "string"}, media="text/plain"),
        "/openapi.json": parts.get("openapi", "This document", anything),
        "/docs": parts.get("docs", "This document as a page", {"type": "string"}, media="text/html"),
    }


def _protocol(parts: _Parts) -> dict[str, Any]:
    tag, version = "Open Inference Protocol", parts.answer["model_version"]
    anything = {"type": "object"}

    def get(name: str, summary: str, *, free: bool = False) -> dict[str, Any]:
        return parts.get(name, summary, anything, free=free, shape="ProtocolError", tag=tag)

    paths = {
        "/v2": get("v2_server", "The server's name and version"),
        "/v2/health/live": get("v2_live", "Alive", free=True),
        "/v2/health/ready": get("v2_ready", "Ready", free=True),
    }
    for name, address in {"": "/v2/models/churn", "_version": f"/v2/models/churn/versions/{version}"}.items():
        paths[address] = get(f"v2_model{name}", "The model's tensors")
        paths[f"{address}/ready"] = get(f"v2_model{name}_ready", "The model is ready", free=True)
        paths[f"{address}/infer"] = parts.post(
            f"v2_infer{name}", "Many customers, a tensor for each column", body=_json("Tensors"),
            answer=_json("TensorsAnswer"), shape="ProtocolError", tag=tag,
        )  # fmt: skip
    return paths


def _admin(parts: _Parts) -> dict[str, Any]:
    responses = {"200": {"description": "The version that answers from now on.", "content": _json({"type": "object"})}}
    operation = {"operationId": "reload", "summary": "Load a new bundle beside the old, and let it take over"}
    refusals = parts.refusals((*_ALWAYS, 400, 403, 408, 409, 413, 415, 422, 504))
    return {"/admin/reload": {"post": {**operation, "tags": ["Server"], "responses": {**responses, **refusals}}}}


__all__ = ["STATUSES", "openapi"]
