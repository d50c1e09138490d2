"""What a server does besides the answer for one customer: jobs by name, done where they do not keep customers waiting.

Each takes the model, the body of the request and the words of its query, and returns an answer. Under ``:path``,
``:request-id`` and the like the query holds what a job needs of the request's head; a client's own word has no colon.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from churnlib.serving.answers import Answer, in_protocol
from churnlib.serving.problems import refuse

if TYPE_CHECKING:
    from churnlib.serving.answering.endpoint import Endpoint, Job, Query

PATH, REQUEST_ID = ":path", ":request-id"

READY = "ready"
"""The job that HTTP processes have their workers do, for health probes."""


def _batch(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    from churnlib.serving.answering.bulk_answers import predict_batch

    return predict_batch(endpoint, body, query, limits=endpoint.limits)


def _explain(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    from churnlib.serving.answering.reasons import explain

    return explain(endpoint, body, query)


def _feedback(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    from churnlib.serving.answering.feedback import feedback

    return feedback(endpoint, body, query, sink=endpoint.labels)


def _metadata(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    return Answer(200, endpoint.describe())


def _ready(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    return Answer(200, endpoint.identity())


def _openapi(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    return Answer(200, endpoint.openapi())


def _docs(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    from churnlib.serving.doors.docs_page import docs_page

    page = docs_page(endpoint.openapi()).encode()
    return Answer(200, page, (("content-type", "text/html; charset=utf-8"),))


def _infer(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    from churnlib.serving.doors.inference_protocol import infer

    if query[PATH] not in endpoint.protocol().infer:
        return in_protocol(Answer.refusal(refuse(404, "not_found", "no such model").problem))
    return infer(endpoint, body, query, limits=endpoint.limits)


def _protocol(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    routes, path = endpoint.protocol(), query[PATH]
    for known in (routes.documents, routes.ready, routes.live):
        if path in known:
            return Answer(200, known[path])
    return in_protocol(Answer.refusal(refuse(404, "not_found", "no such address of the protocol").problem))


def _vertex(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    from churnlib.serving.doors.platforms import vertex

    return vertex(endpoint, body, query, limits=endpoint.limits)


def _invocations(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    from churnlib.serving.doors.platforms import invocations

    return invocations(endpoint, body, query, limits=endpoint.limits)


JOBS: dict[str, Job] = {
    "batch": _batch,
    "docs": _docs,
    "explain": _explain,
    "feedback": _feedback,
    "infer": _infer,
    "invocations": _invocations,
    "metadata": _metadata,
    "openapi": _openapi,
    "protocol": _protocol,
    READY: _ready,
    "vertex": _vertex,
}

QUICK = frozenset({"docs", "metadata", "openapi", "protocol"})
"""Jobs that are done at once, where the model is."""


def done(endpoint: Endpoint, job: str, body: bytes, query: Query) -> Answer:
    """Do a job, and say which version of the model has answered."""
    answer = JOBS[job](endpoint, body, query)
    if answer.problem is None and not answer.version:
        return replace(answer, version=endpoint.version)
    return answer
