"""How a child process begins: it imports what it will need, and only then hears which place it is to take.

Nine tenths of a start are imports. A process that was started ahead waits behind them, and takes the place of a dead
one in the time that its model needs to load. It is a process like any other: nothing is forked, since polars and ONNX
Runtime run threads from the moment they are imported.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from churnlib.serving.options import ServeOptions
from churnlib.serving.processes.lifecycle import Channel, become_child

_HTTP = (
    "uvloop",
    "churnlib.serving.processes.building",
    "churnlib.serving.answering.models",
    "churnlib.serving.answering.pool",
    "churnlib.serving.http.at_once",
    "churnlib.serving.seeing.watching",
    "churnlib.serving.processes.last_clients",
    "churnlib.serving.seeing.logs",
    "churnlib.serving.seeing.metrics",
    "churnlib.serving.doors.platform_routes",
    "churnlib.serving.seeing.spans",
)
_WORKER = (
    "litserve.callbacks",
    "litserve.loops.loops",
    "churnlib.serving.processes.worker_api",
    "churnlib.serving.processes.worker_loop",
)
_MODEL = (
    "churnlib.predictor",
    "churnlib.column_predictor",
    "churnlib.data.opt_out",
    "churnlib.serving.answering.limits",
    "churnlib.serving.answering.metadata",
    "churnlib.serving.answering.review",
    "churnlib.serving.answering.rows",
)
_BACKENDS = {"onnx": "onnxruntime", "torch": "torch"}

_PR_SET_NAME = 15  # linux/prctl.h


def stand_by(role: str) -> tuple[ServeOptions, dict[str, Any], Channel]:
    """Become a child of the supervisor, import, and wait until it says which place to take.

    Args:
        role: http or worker.

    Returns:
        The options, what the supervisor has said, and the channel to it. Does not return if the supervisor ends first.
    """
    told = json.loads(sys.argv[1])
    options = ServeOptions(**{**told["options"], "trust": tuple(told["options"]["trust"])})
    become_child(told["parent"], options.threads)
    channel = Channel(socket.socket(fileno=told["control"]))
    call_it(f"start {role}")
    for name in needed(role, options.engine, told["backend"]):
        with suppress(ModuleNotFoundError):  # what it has no use for here is not installed
            import_module(name)
    call_it(f"spare {role}")
    try:
        told |= channel.next()
    except EOFError:
        os._exit(0)
    call_it(f"load {role}")
    return ServeOptions(**{**told["options"], "trust": options.trust, "bundle": told["bundle"]}), told, channel


def needed(role: str, engine: str, backend: str) -> tuple[str, ...]:
    """Return the modules that a process imports before it serves.

    Args:
        role: http or worker.
        engine: Of the server; with ``worker`` HTTP processes have no model.
        backend: What answers; empty where that is not known yet.
    """
    model = (*_MODEL, *filter(None, [_BACKENDS.get(backend)])) if role == "worker" or engine != "worker" else ()
    return (*(_WORKER if role == "worker" else _HTTP), *model)


def call_it(what: str) -> None:
    """Let lists of processes (``ps -e -o pid,comm``) tell in 15 letters what this one is (Linux only).

    One that imports is called ``start ROLE``, one that waits for a place ``spare``, one that has a place and loads the
    model ``load``, and one that serves ``churn``.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, what.encode(), 0, 0, 0)


__all__ = ["needed", "stand_by"]
