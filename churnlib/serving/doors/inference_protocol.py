"""The Open Inference Protocol, version 2 over REST, for clients that speak it already (Triton's, KServe's, MLServer's).

A column of the table is a tensor of its name, ``[n]`` or ``[n, 1]``. Numbers come as FP64 (any other number is taken,
with what it cannot hold), all else as BYTES, texts in UTF-8. What is missing is NaN, an empty text, null in the JSON,
or a column that is left out. The protocol has one answer for a request: where a customer is refused, all of it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from churnlib.data.names import normalize_name
from churnlib.schema import Kind
from churnlib.serving.answering.accounting import accounted
from churnlib.serving.answering.limits import Limits
from churnlib.serving.answering.requests import LIMITS
from churnlib.serving.answering.rows import CUSTOMER_ID
from churnlib.serving.answering.scored import Scored, score
from churnlib.serving.answering.served import Served, answered
from churnlib.serving.answering.tables import table_of_columns
from churnlib.serving.answers import Answer, in_protocol
from churnlib.serving.doors.documents import check_rows, parse_object
from churnlib.serving.doors.tensors import Tensor, read_tensors, written
from churnlib.serving.problems import Problem, RequestError, refuse

HEADER_LENGTH = "inference-header-content-length"
"""Header with the length of the JSON, where tensors stand behind it."""

NAME = "churn"
"""Name of the model in addresses whatever model it is; its own name is one too."""

HUMAN_REVIEW = "human_review"

_DATATYPES = {Kind.numeric: "FP64", Kind.sequence: "FP64"}
_OUTPUTS = {"number": "FP64", "integer": "INT64", "string": "BYTES"}
_NOT_ANSWERED = {CUSTOMER_ID, "model_version", HUMAN_REVIEW, "warnings"}


@dataclass(frozen=True, slots=True)
class ProtocolRoutes:
    """The addresses of one model; another model, or version of it, has others.

    Attributes:
        documents: By address what GET is answered, JSON-ready.
        live: Addresses that are answered as ``/livez``.
        ready: Addresses that are answered as ``/readyz``, with their own body while ready.
        infer: Addresses of :func:`infer`.
    """

    documents: dict[str, dict[str, Any]]
    live: dict[str, dict[str, Any]]
    ready: dict[str, dict[str, Any]]
    infer: tuple[str, ...]


def protocol_routes(metadata: Mapping[str, Any]) -> ProtocolRoutes:
    """Return the addresses of a model.

    Args:
        metadata: What :func:`churnlib.serving.answering.metadata.describe` returned.
    """
    from churnlib import __version__

    version = metadata["model_version"]
    server = {"name": "churnlib", "version": __version__, "extensions": ["binary_tensor_data"]}
    documents: dict[str, dict[str, Any]] = {"/v2": server}
    ready: dict[str, dict[str, Any]] = {"/v2/health/ready": {"ready": True}}
    infer = []
    for name in dict.fromkeys((NAME, metadata["model"])):
        of_model = model_metadata(metadata, name)
        bare = f"/v2/models/{quote(name, safe='')}"
        for address in (bare, f"{bare}/versions/{quote(version, safe='')}"):
            documents[address] = of_model
            ready[f"{address}/ready"] = {"name": name, "ready": True}
            infer.append(f"{address}/infer")
    return ProtocolRoutes(documents, {"/v2/health/live": {"live": True}}, ready, tuple(infer))


def model_metadata(metadata: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what the protocol tells of a model: its tensors, and which columns must be there."""
    inputs = [
        {
            "name": column["name"],
            "datatype": _DATATYPES.get(column["kind"], "BYTES"),
            "shape": [-1, column.get("max_steps", -1)] if column["kind"] == Kind.sequence else [-1],
            "parameters": {"kind": column["kind"], "required": column["required"]},
        }
        for column in metadata["input_schema"]
    ]
    customer = {"name": CUSTOMER_ID, "datatype": "BYTES", "shape": [-1]}
    results = [field for field in metadata["output_schema"] if field["name"] not in _NOT_ANSWERED]
    outputs = [{"name": f["name"], "datatype": _OUTPUTS[f["type"]], "shape": [-1]} for f in results]
    return {
        "name": name,
        "versions": [metadata["model_version"]],
        "platform": "churnlib",
        "inputs": [*inputs, {**customer, "parameters": {"kind": "identifier", "required": False}}],
        "outputs": [*outputs, {"name": HUMAN_REVIEW, "datatype": "BOOL", "shape": [-1]}, customer],
    }


def infer(served: Served, body: bytes, query: Mapping[str, str], *, limits: Limits = LIMITS) -> Answer:
    """Answer ``POST /v2/models/NAME/infer``, refusals in the protocol's shape.

    Args:
        served: The model.
        body: JSON, and behind it the tensors that are not in it.
        query: The header :data:`HEADER_LENGTH` under this name, where the request has it.
        limits: How many customers there may be.
    """
    return in_protocol(_infer(served, body, query, limits.rows))


@answered
def _infer(served: Served, body: bytes, query: Mapping[str, str], max_rows: int) -> Answer:
    length, header_length = len(body), query.get(HEADER_LENGTH)
    if header_length:
        if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 12):
            raise refuse(400, "invalid_tensor", "Inference-Header-Content-Length must be a number")
        length = int(header_length)
        if length > len(body):
            raise refuse(400, "invalid_tensor", "Inference-Header-Content-Length is longer than the body")
    request = parse_object(body[:length])
    kind = served.reader.kind
    tensors = read_tensors(
        request.get("inputs"), body[length:], is_sequence=lambda name: kind(normalize_name(name)) is Kind.sequence
    )
    columns = {tensor.name: tensor.values for tensor in tensors}
    if len(columns) < len(tensors):
        raise refuse(400, "duplicate_field", "two inputs have one name")
    check_rows(max(map(len, columns.values())), max_rows)
    scored = score(served, table_of_columns(served.reader, columns))
    if scored.problems:
        raise RequestError(_of_row(scored.problems))
    content, headers = _answer(served, request, scored, _names_tensor(served, tensors))
    return accounted(served, scored, content, query, headers)


def _of_row(problems: Mapping[int, Problem]) -> Problem:
    """Return the refusal of a request for the first of its customers who is refused."""
    row = min(problems)
    problem = problems[row]
    more = f" ({len(problems) - 1:,} more rows are refused)" if len(problems) > 1 else ""
    return Problem(problem.status, problem.code, f"row {row}: {problem.message}{more}", problem.field, problem.headers)


def _names_tensor(served: Served, tensors: Sequence[Tensor]) -> Tensor | None:
    """Return the tensor with the customers' names, to be handed back as it came."""
    by_name = {normalize_name(tensor.name): tensor for tensor in tensors}
    return next((by_name[name] for name in served.reader.id_names if name in by_name), None)


def _answer(
    served: Served, request: Mapping[str, Any], scored: Scored, names: Tensor | None
) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """Return the outputs that are asked for, all when none are, in their order; and the headers that go with them."""
    there = _outputs(scored, names)
    whole = request.get("parameters")
    by_default = isinstance(whole, dict) and whole.get("binary_data_output") is True
    told, behind = [], []
    for name, binary in _asked(request.get("outputs"), there, by_default):
        datatype, values = there[name]
        tensor, raw = written(name, datatype, values, binary=binary)
        told.append(tensor)
        behind.append(raw)
    answer = {"model_name": NAME, "model_version": served.predictor.version, "outputs": told}
    if isinstance(request.get("id"), str):
        answer["id"] = request["id"]
    head = msgspec.json.encode(answer)
    if not any("data" not in tensor for tensor in told):
        return head, ()
    return b"".join([head, *behind]), (("content-type", "application/octet-stream"), (HEADER_LENGTH, str(len(head))))


def _outputs(scored: Scored, names: Tensor | None) -> dict[str, tuple[str, list[Any]]]:
    """Return datatype and values of each output there is."""
    datatypes = {"churn_prediction": "INT64", "prediction": "BYTES"}
    there = {name: (datatypes.get(name, "FP64"), values) for name, values in scored.results.items()}
    there[HUMAN_REVIEW] = ("BOOL", scored.review.tolist())
    if names is not None:
        there[CUSTOMER_ID] = (names.datatype, names.values)
    return there


def _asked(outputs: Any, there: Mapping[str, Any], by_default: bool) -> list[tuple[str, bool]]:
    """Return the names of the outputs that are asked for, and whether each shall stand behind the JSON."""
    if outputs is None or outputs == []:
        return [(name, by_default) for name in there]
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
        raise refuse(400, "invalid_tensor", "outputs must be an array of objects with a name")
    asked = []
    for each in outputs:
        name, parameters = each.get("name"), each.get("parameters")
        if not isinstance(name, str) or name not in there:
            raise refuse(400, "invalid_tensor", f"the outputs are {', '.join(there)}")
        parameters = parameters if isinstance(parameters, dict) else {}
        if "classification" in parameters or "shared_memory_region" in parameters:
            raise refuse(400, "invalid_tensor", "outputs are given as tensors, neither as classes nor in shared memory")
        asked.append((name, parameters.get("binary_data", by_default) is True))
    return asked


__all__ = ["HEADER_LENGTH", "ProtocolRoutes", "in_protocol", "infer", "model_metadata", "protocol_routes"]
