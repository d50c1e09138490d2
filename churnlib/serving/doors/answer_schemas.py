"""The shapes of requests and answers, as JSON Schema, for ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from churnlib.serving.answering.limits import Limits
from churnlib.serving.doors.column_schemas import CUSTOMER_ID, row_schema
from churnlib.serving.doors.tensors import DTYPES

if TYPE_CHECKING:
    from churnlib.predictor import Predictor


def ref(name: str) -> dict[str, str]:
    """Return what stands for a shape wherever it is used."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas(predictor: Predictor, *, unknown: str, limits: Limits) -> dict[str, Any]:
    """Return all shapes by name; the arguments are those of :func:`churnlib.serving.doors.openapi.openapi`."""
    results = _results(predictor.classes)
    version, item = {"model_version": {"type": "string"}}, {"customer_id": CUSTOMER_ID, **results}
    unusual = {"human_review": {"const": True}, "warnings": {"type": "array", "items": ref("Warning")}}
    reasons = _reasons(several=len(predictor.classes) > 2)
    fault = {"code": {"type": "string"}, "message": {"type": "string"}, "field": {"type": ["string", "null"]}}
    among = {"anyOf": [_object({**item, **unusual}, optional=unusual), _object({"error": _object(fault)})]}
    return {
        "Customer": row_schema(predictor, unknown=unknown, longest=limits.text),
        "Answer": _object({**item, **version, **unusual}, optional=unusual),
        "Explained": _object({**item, **reasons, **version, **unusual}, optional=(*unusual, "fidelity")),
        "Reason": _reason(),
        "Warning": _object({"field": {"type": ["string", "null"]}, "message": {"type": "string"}}),
        "Batch": {"oneOf": [_instances(limits), _columns(predictor)]},
        "BatchAnswer": {
            "oneOf": [
                _object({"predictions": {"type": "array", "items": among}, **version}),
                _columns_answer(results, fault, version),
            ]
        },
        "Feedback": _feedback(predictor.classes),
        "Health": _object({name: {"type": "string"} for name in ("status", "model", "model_version")}),
        "Error": _object({"error": _object({**fault, "request_id": {"type": ["string", "null"]}})}),
        "ProtocolError": _object({"error": {"type": "string"}}),
        **_tensors(),
    }


def _object(properties: Mapping[str, Any], *, optional: Iterable[str] = ()) -> dict[str, Any]:
    """Return the schema of an object whose members are all there, but for some."""
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "properties": dict(properties), "required": required}


def _results(classes: tuple[str, ...]) -> dict[str, Any]:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    if len(classes) == 2:
        decision = {"type": "integer", "enum": [0, 1], "description": "1 from the threshold on, else 0"}
        return {"churn_probability": share, "churn_prediction": decision}
    shares = {f"probability_{name}": share for name in classes}
    return {**shares, "prediction": {"type": "string", "enum": list(classes)}}


def _reasons(*, several: bool) -> dict[str, Any]:
    number = {"type": "number"}
    said = {
        "reasons": {"type": "array", "items": ref("Reason"), "description": "the largest effect first"},
        "base": {**number, "description": "mean log-odds of the background customers"},
        "log_odds": {**number, "description": "of this customer"},
        "explanation_error": {**number, "description": "base and all effects, minus log_odds: near 0, or do not trust"},
        "stability": {"type": "number", "minimum": 0, "maximum": 1},
        "sensitive_among_reasons": {"type": "boolean"},
        "method": {"type": "string", "enum": ["gradients", "shapley", "exact", "linear"]},
        "fidelity": {**number, "description": "of method linear alone"},
    }
    return {**said, "explained_class": {"type": "string"}} if several else said


def _reason() -> dict[str, Any]:
    texts = {name: {"type": "string"} for name in ("feature", "value", "direction", "text", "code")}
    return _object({**texts, "effect": {"type": "number"}, "actionable": {"type": "boolean"}})


def _instances(limits: Limits) -> dict[str, Any]:
    customers = {"type": "array", "items": ref("Customer"), "maxItems": limits.rows}
    return {**_object({"instances": customers}), "additionalProperties": False, "title": "rows"}


def _columns(predictor: Predictor) -> dict[str, Any]:
    about = "an array for each column, all of one length"
    required = [column["name"] for column in predictor.input_schema() if column["required"]]
    columns = {"type": "object", "additionalProperties": {"type": "array"}, "required": required, "description": about}
    return {**_object({"columns": columns}), "additionalProperties": False, "title": "columns"}


def _columns_answer(results: Mapping[str, Any], fault: Mapping[str, Any], version: Mapping[str, Any]) -> dict[str, Any]:
    named = ("customer_id", *results, "human_review")
    rows = {"type": ["array", "null"], "items": {"type": "integer"}, "description": "null for all"}
    text = {"type": "string"}
    return _object(
        {
            "columns": _object({name: {"type": "array"} for name in named}),
            "errors": {"type": "array", "items": _object({"row": {"type": "integer"}, **fault})},
            "warnings": {"type": "array", "items": _object({"field": text, "message": text, "rows": rows})},
            **version,
        }
    )


def _feedback(classes: tuple[str, ...]) -> dict[str, Any]:
    label = {"enum": [0, 1, *classes]} if len(classes) == 2 else {"enum": list(classes)}
    named = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 256}, {"type": ["number", "boolean"]}]}
    fields = {
        "customer_id": named,
        "label": {**label, "description": "what the customer did"},
        "at": {"type": ["string", "null"], "format": "date-time", "description": "when it was known; now when absent"},
        "model_version": {"type": ["string", "null"], "maxLength": 256},
    }
    return {**_object(fields, optional=("at", "model_version")), "additionalProperties": False}


def _tensors() -> dict[str, Any]:
    text, anything = {"type": "string"}, {"type": "object"}
    sizes = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2}
    told = {
        "name": {"type": "string", "minLength": 1},
        "shape": {**sizes, "description": "[n] or [n, 1]; of a list column [n, steps]"},
        "datatype": {"enum": ["BYTES", *DTYPES]},
        "data": {"type": "array", "description": "left out where the values stand behind the JSON"},
        "parameters": anything,
    }
    tensors = {"type": "array", "items": _object(told, optional=("data", "parameters"))}
    asked = {"id": text, "parameters": anything, "inputs": {**tensors, "minItems": 1}}
    outputs = {"type": "array", "items": _object({"name": text, "parameters": anything}, optional=("parameters",))}
    answer = {"model_name": text, "model_version": text, "id": text, "outputs": tensors}
    return {
        "Tensors": _object({**asked, "outputs": outputs}, optional=("id", "parameters", "outputs")),
        "TensorsAnswer": _object(answer, optional=("id",)),
    }


__all__ = ["ref", "schemas"]
