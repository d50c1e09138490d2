"""The REST server: ``serve bundle=DIR port=8000``.

    main (this process)      binds the port, starts the others, watches them, ends them: supervisor.py, children.py;
                             has all of them change the model together: changes.py
      http (``processes``)   uvicorn and the front, with the model unless engine=worker: http_process.py
      worker (``workers``)   LitServe's inference worker with our loop, for what would keep customers waiting:
                             bulk, explanations, and with engine=worker everything: worker_process.py
      spares (``spares``)    of both, which have imported everything and wait for one to die: standby.py

Neither Lightning nor Hydra nor wandb is imported in any of them, and nothing that computes in the first.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from churnlib.errors import ChurnlibError, ConfigError
from churnlib.serving.doors.platform_routes import platform_routes
from churnlib.serving.options import ServeOptions, parse_options, usage


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal ends it; the command ``serve``.

    Args:
        arguments: ``key=value`` words, or ``--help``.

    Returns:
        The exit status: 0 after a wanted end, 1 after a mistake that one sentence has told.
    """
    if any(word in ("-h", "--help") for word in arguments):
        print(usage())  # noqa: T201 - what was asked for
        return 0
    try:
        options = parse_options(arguments)
        if not any(word.startswith("port=") for word in arguments):
            options = dataclasses.replace(options, port=platform_routes(os.environ).port or options.port)
        return serve(options)
    except ChurnlibError as error:
        from rich.console import Console

        Console(stderr=True).print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


def serve(options: ServeOptions) -> int:
    """Serve until a signal ends it, and leave no process behind.

    Raises:
        ChurnlibError: If the port is taken, the bundle is bad, or a process keeps dying.
    """
    from churnlib.serving.processes.lifecycle import log_to_stderr
    from churnlib.serving.processes.supervisor import Supervisor

    _check_environment()
    log_to_stderr()
    return Supervisor(options, on_ready=lambda identity: announce(options, identity)).run()


def announce(options: ServeOptions, identity: Mapping[str, Any]) -> None:
    """Print where the server listens and a request to try."""
    from rich.console import Console

    console = Console(highlight=False)
    scheme = "https" if options.tls_certificate else "http"
    url = f"{scheme}://{'[::1]' if options.host == '::' else '127.0.0.1'}:{options.port}"
    console.print(f"[bold green]Serving[/] {identity['model']} {identity['model_version']} at [bold]{url}[/]")
    if options.host not in ("127.0.0.1", "localhost", "::1"):
        console.print(f"Every network can reach it (host={options.host}).")
    console.print(f"What it answers, with the model's columns: {url}/docs")
    console.print("Ctrl-C or SIGTERM ends it. Try it:\n")
    console.print(curl(url, identity.get("example", {}), key=bool(options.keys)), markup=False, soft_wrap=True)


def curl(url: str, row: Mapping[str, Any], *, key: bool = False) -> str:
    """Return a shell command that sends one customer.

    >>> print(curl("http://127.0.0.1:8000", {"plan": "it's"}))
    curl -s http://127.0.0.1:8000/predict -H 'Content-Type: application/json' -d '{"plan": "it'"'"'s"}'
    """
    body = shlex.quote(json.dumps(row, ensure_ascii=False))
    holder = ' -H "Authorization: Bearer $KEY"' if key else ""
    return f"curl -s {url}/predict{holder} -H 'Content-Type: application/json' -d {body}"


def _check_environment() -> None:
    """Refuse what would be ignored."""
    if os.environ.get("LIT_SERVER_API_KEY"):
        raise ConfigError("LIT_SERVER_API_KEY is set, but this server has keys of its own; unset it and give keys=FILE")
