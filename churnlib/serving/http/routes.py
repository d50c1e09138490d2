"""The table of addresses: under which name each is counted, what it answers, and whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from churnlib.serving.http import handlers
from churnlib.serving.http.handlers import Handler
from churnlib.serving.problems import Problem, RequestError, refuse


@dataclass(frozen=True, slots=True)
class Route:
    """What one address answers.

    Attributes:
        name: Label of logs and metrics.
        handlers: By method.
        scope: What a key must be for: predict, metrics, admin; None for everybody.
    """

    name: str
    handlers: Mapping[str, Handler]
    scope: str | None = "predict"

    def handler(self, method: str) -> Handler:
        """Return what answers a method.

        Raises:
            RequestError: 405 if the address does not have it.
        """
        found = self.handlers.get(method)
        if found is None:
            allowed = ", ".join(self.handlers)
            message = f"this address answers {allowed}"
            raise RequestError(Problem(405, "method_not_allowed", message, headers=(("Allow", allowed),)))
        return found


def _get(name: str, handler: Handler, scope: str | None = "predict") -> Route:
    return Route(name, {"GET": handler, "HEAD": handler}, scope)


def _post(name: str, handler: Handler, scope: str | None = "predict") -> Route:
    return Route(name, {"POST": handler}, scope)


_EVERYBODYS = {
    "/health": _get("health", handlers.ready, None),
    "/readyz": _get("readyz", handlers.ready, None),
    "/livez": _get("livez", handlers.alive, None),
    "/v2": _get("v2", handlers.job("protocol"), None),
    "/v2/health/live": _get("livez", handlers.protocol_is("live", handlers.alive), None),
    "/v2/health/ready": _get("readyz", handlers.protocol_is("ready", handlers.ready), None),
}

_CLIENTS = {
    "/predict": _post("predict", handlers.predict),
    "/predict/batch": _post("batch", handlers.bulk("batch")),
    "/explain": _post("explain", handlers.job("explain")),
    "/feedback": _post("feedback", handlers.job("feedback")),
    "/metadata": _get("metadata", handlers.job("metadata")),
    "/openapi.json": _get("openapi", handlers.job("openapi")),
    "/docs": _get("docs", handlers.job("docs")),
    "/metrics": _get("metrics", handlers.metrics, "metrics"),
}

_OPERATORS = {f"/admin/{word}": _post("admin", handlers.order(word), "admin") for word in ("reload", "rollback")}

_PROTOCOL = _get("v2", handlers.job("protocol"))
"""Addresses below ``/v2/`` that are not in the table: they hold a model's name."""

_PROTOCOL_BY_END = {
    "infer": _post("v2_infer", handlers.bulk("infer", needs=("content-type", "inference-header-content-length"))),
    "ready": _get("v2", handlers.job("protocol"), None),
}


class Routes:
    """All addresses of a server.

    Args:
        admin: Whether it takes orders.
    """

    def __init__(self, *, admin: bool) -> None:
        self.table: dict[str, Route] = {**_CLIENTS, **_EVERYBODYS, **(_OPERATORS if admin else {})}

    def add_platform(self, ready: Sequence[str], jobs: Mapping[str, str]) -> None:
        """Answer the addresses that a cloud asks for.

        Args:
            ready: Answered as ``/readyz``.
            jobs: Names of jobs by address.
        """
        self.table |= {path: _get("readyz", handlers.ready, None) for path in ready}
        self.table |= {path: _post(job, handlers.bulk(job, needs=("content-type",))) for path, job in jobs.items()}

    def find(self, path: str) -> Route:
        """Return what an address answers.

        Raises:
            RequestError: 404 if there is none.
        """
        route = self.table.get(path)
        if route is not None:
            return route
        if path.startswith("/v2/"):
            return _PROTOCOL_BY_END.get(path.rpartition("/")[2], _PROTOCOL)
        raise refuse(404, "not_found", "no such address; GET /openapi.json lists them")

    @property
    def paths(self) -> frozenset[str]:
        """All addresses but those of the models of the Open Inference Protocol."""
        return frozenset(self.table)

    @property
    def names(self) -> Sequence[str]:
        """Labels of all addresses."""
        routes = (*self.table.values(), _PROTOCOL, *_PROTOCOL_BY_END.values())
        return tuple(dict.fromkeys(route.name for route in routes))


__all__ = ["Route", "Routes"]
