"""The REST server over a bundle, and its parts for servers of your own.

The rooms, in the order in which a request passes them:

    processes/    who listens and who answers: processes started, watched, given another model, ended
    http/         the wire, TLS, keys, rates and queues, and the front, which every request and every answer passes
    doors/        bodies in the wrappings of other protocols and clouds, and the documents that describe all doors
    answering/    bodies read strictly, customers scored by an engine, answers with reasons, warnings and reviews
    seeing/       what is told of it: metrics, logs, traces, records of predictions, labels

Beside them are what all share (options, problems, answers) and the ways in: server (the command ``serve``), application
(``asgi``) and api (LitServe's hooks).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from churnlib.serving.api import ChurnLitAPI
    from churnlib.serving.application import asgi
    from churnlib.serving.server import main, serve

__all__ = ["ChurnLitAPI", "asgi", "main", "serve"]

_HOMES = {"ChurnLitAPI": "api", "asgi": "application", "main": "server", "serve": "server"}


def __getattr__(name: str) -> Any:
    """Import LitServe, or whatever else is asked for, only then."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"churnlib.serving.{_HOMES[name]}"), name)
