"""The table of the doors that are not the single customer's hot path: what is posted where, and what each needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from churnlib.serving.answers import Answer
from churnlib.serving.bulk_answers import predict_batch
from churnlib.serving.feedback import Sink, feedback
from churnlib.serving.inference_protocol import HEADER_LENGTH, ProtocolRoutes, infer
from churnlib.serving.limits import Limits
from churnlib.serving.platforms import ALSO, CONTENT_TYPE, MEDIA, Platform, invocations
from churnlib.serving.reasons import explain
from churnlib.serving.requests import LIMITS

JSON = ("application/json",)
BINARY = "application/octet-stream"
"""What clients of the Open Inference Protocol announce where tensors stand behind the JSON."""


@dataclass(frozen=True, slots=True)
class Door:
    """An address that is posted to.

    Attributes:
        job: ``job(served, body, query) -> Answer``.
        media: Content types that are taken; a request without one counts as JSON.
        headers: Headers of the request that the job finds in its query, under their lower-case names, whatever the
            query itself says under these.
        bulk: Whether the limits of bulk requests hold (bytes, seconds), instead of those of one customer.
        protocol: Whether refusals take the shape of the Open Inference Protocol
            (:func:`~churnlib.serving.inference_protocol.in_protocol`), those before the job too.
    """

    job: Callable[..., Answer]
    media: tuple[str, ...] = JSON
    headers: tuple[str, ...] = ()
    bulk: bool = False
    protocol: bool = False

    def query(self, query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
        """Return what the job is told beside the body.

        Args:
            query: The parameters of the address.
            headers: Of the request, names in lower case.
        """
        return {**query, **{name: headers.get(name, "") for name in self.headers}}


def doors(
    protocol: ProtocolRoutes, platform: Platform, *, sink: Sink | None = None, limits: Limits = LIMITS
) -> dict[str, Door]:
    """Return the doors by address.

    Args:
        protocol: Addresses of the Open Inference Protocol.
        platform: Addresses that the surroundings ask for.
        sink: Keeps the labels of ``POST /feedback``.
        limits: How much one body may hold.
    """
    many = Door(partial(predict_batch, limits=limits), bulk=True)
    tensors = replace(
        many, job=partial(infer, limits=limits), media=(*JSON, BINARY), headers=(HEADER_LENGTH,), protocol=True
    )
    table = {
        "/predict/batch": many,
        "/explain": Door(explain),
        "/feedback": Door(partial(feedback, sink=sink)),
        **dict.fromkeys(protocol.infer, tensors),
    }
    for address, job in platform.jobs.items():
        door = replace(many, job=partial(job, limits=limits))
        table[address] = replace(door, media=(*MEDIA, *ALSO), headers=(CONTENT_TYPE,)) if job is invocations else door
    return table


__all__ = ["BINARY", "Door", "doors"]
