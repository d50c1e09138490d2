"""The REST server over a bundle: ``POST /predict``, ``GET /health``, ``GET /metadata``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from churnlib.serving.api import ChurnLitAPI
    from churnlib.serving.server import build_server, main

__all__ = ["ChurnLitAPI", "build_server", "main"]


def __getattr__(name: str) -> Any:
    """Import LitServe only when something of it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = "api" if name == "ChurnLitAPI" else "server"
    return getattr(import_module(f"churnlib.serving.{home}"), name)
