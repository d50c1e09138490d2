"""The REST server over a bundle, and its parts for servers of your own."""

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
