"""What the server tells about its model: the body of ``GET /metadata``, and a customer to try."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from churnlib.bundle import package_versions

if TYPE_CHECKING:
    from churnlib.predictor import Predictor


def describe(predictor: Predictor) -> dict[str, Any]:
    """Return the body of ``GET /metadata``.

    Returns:
        JSON-ready values: ``model``, ``model_version``, ``created``, ``classes``, ``threshold``, ``own_threshold`` (how
        each customer's follows from his value, or null), ``flops`` (operations that one customer takes, or null where
        no ``model.onnx`` answers), ``input_schema``, ``output_schema``, ``trained_on`` (number of customers, and the
        first and last of their snapshots' times, or nulls where there are none), ``metrics`` (of training, on
        validation and test rows), ``versions`` (of what runs here).
    """
    own = predictor.bundle.own_threshold
    return {
        "model": predictor.model_name,
        "model_version": predictor.version,
        "created": predictor.bundle.created,
        "classes": list(predictor.classes),
        "threshold": predictor.threshold,
        "own_threshold": None if own is None else own.to_dict(),
        "flops": predictor.flops,
        "input_schema": predictor.input_schema(),
        "output_schema": output_schema(predictor.classes),
        "trained_on": _trained_on(predictor),
        "metrics": _finite(predictor.metrics),
        "versions": {**package_versions(), "litserve": version("litserve")},
    }


def output_schema(classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the fields of an answer, in their order.

    >>> [field["name"] for field in output_schema(("stayed", "left"))][:3]
    ['customer_id', 'churn_probability', 'churn_prediction']
    """
    if len(classes) == 2:
        results = [
            _field("churn_probability", "number", f"calibrated probability of {classes[1]!r}, unrounded"),
            _field("churn_prediction", "integer", "1 if the probability is at least the threshold, else 0"),
        ]
    else:
        results = [_field(f"probability_{name}", "number", f"calibrated probability of {name!r}") for name in classes]
        results.append(_field("prediction", "string", "the most probable class"))
    return [
        _field("customer_id", "any", "as sent, null if it was not"),
        *results,
        _field("model_version", "string", "version of the model that answered"),
        _field("human_review", "boolean", "true where a person should look before anything follows", required=False),
        _field("warnings", "array", "what was unusual about the row, as field and message", required=False),
    ]


def example_row(predictor: Predictor) -> dict[str, Any]:
    """Return a made-up customer as a client would send it: the first golden row that is answered, without its gaps."""
    rows = [golden["row"] for golden in predictor.bundle.golden]
    answered = (~predictor.read(rows).bad).argmax() if rows else 0
    row = rows[int(answered)] if rows else {}
    return {"customer_id": "C-1", **{name: value for name, value in row.items() if value is not None}}


def _trained_on(predictor: Predictor) -> dict[str, Any]:
    """Return how many customers a model has learnt from, and of which time."""
    profile, time = predictor.bundle.profile, predictor.bundle.schema.time
    times = profile.get("columns", {}).get(time, {}).get("quantiles") or [None]
    return {"customers": profile.get("n"), "from": times[0], "to": times[-1]}


def _field(name: str, kind: str, text: str, *, required: bool = True) -> dict[str, Any]:
    return {"name": name, "type": kind, "required": required, "description": text}


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold (a metric of a side with one class may be NaN) by null."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
