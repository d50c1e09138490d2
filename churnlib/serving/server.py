"""The REST server: ``serve bundle=DIR port=8000``.

The main process reads the bundle once, to refuse a bad one with a sentence and to know what to tell about it; it then
starts ``workers`` model processes (spawned), as many HTTP processes (forked, without a model), and waits.
Neither Lightning nor Hydra nor wandb is imported in any of them.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import litserve
from litserve.utils import WorkerSetupStatus

from churnlib.errors import ChurnlibError, ConfigError
from churnlib.serving.api import ChurnLitAPI
from churnlib.serving.front import Front
from churnlib.serving.lifecycle import (
    WorkerProcess,
    children_follow,
    deaf_children,
    end_children,
    interrupt_on_signal,
    log_to_stderr,
)
from churnlib.serving.options import ServeOptions, parse_options, usage

_BACKLOG = 2048
_SETUP_SECONDS = 300.0
"""Time the workers have to load the bundle; one that is killed meanwhile ends the wait at once."""


class ServerError(ChurnlibError):
    """The server cannot start, or cannot go on."""


class ChurnServer(litserve.LitServer):
    """LitServe with a start that cannot hang and an end that loses nothing.

    Args:
        api: The model's hooks.
        on_listening: Called in the main process once customers can connect.
        kwargs: Further arguments of ``litserve.LitServer``.
    """

    def __init__(self, api: ChurnLitAPI, *, on_listening: Callable[[], None] = lambda: None, **kwargs: Any) -> None:
        super().__init__(api, **kwargs)
        self._on_listening = on_listening
        self._manager: Any = None

    def start_manager(self) -> None:
        """Start the process of LitServe's queues, to be called before ``run``.

        ``run`` would start it after binding the port, and a manager that holds the listening socket keeps new clients
        waiting for an answer that never comes while the server drains.
        """
        with deaf_children():
            self._manager = super()._init_manager(self.workers_per_device)

    def _init_manager(self, num_api_servers: int) -> Any:
        """Hand out the manager that ``start_manager`` started."""
        return self._manager or super()._init_manager(num_api_servers)

    def launch_inference_worker(self, lit_api: litserve.LitAPI) -> list:
        """Start the workers, which do not hear SIGTERM: LitServe ends them last, when nobody waits for them."""
        workers = super().launch_inference_worker(lit_api)
        for worker in workers:
            worker.terminate = worker.kill
        return workers

    def verify_worker_status(self) -> None:
        """Wait until every worker holds the model; LitServe waits for one, and for ever if it is killed meanwhile.

        Raises:
            ServerError: If a worker ended, failed to load the bundle, or took too long.
        """
        deadline = time.monotonic() + _SETUP_SECONDS
        while not all(state == WorkerSetupStatus.READY for state in self.workers_setup_status.values()):
            failed = WorkerSetupStatus.ERROR in self.workers_setup_status.values()
            if failed or any(worker.exitcode is not None for worker in self.inference_workers):
                raise ServerError("a worker could not load the bundle; the reason is printed above")
            if time.monotonic() > deadline:
                raise ServerError(f"the workers did not load the bundle within {_SETUP_SECONDS:g} s")
            time.sleep(0.02)

    def _start_server(
        self, port: int, num_uvicorn_servers: int, log_level: str, sockets: Any, *rest: Any, **kwargs: Any
    ) -> dict:
        """Start the HTTP processes and leave the listening socket to them, so that it closes when they drain."""
        for each in sockets:
            each.listen(_BACKLOG)  # from here on the kernel lets early clients wait instead of refusing them
        processes = super()._start_server(port, num_uvicorn_servers, log_level, sockets, *rest, **kwargs)
        for each in sockets:
            each.close()
        self._on_listening()
        return processes


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
        return serve(parse_options(arguments))
    except ChurnlibError as error:
        from rich.console import Console

        Console(stderr=True).print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


def serve(options: ServeOptions) -> int:
    """Read the bundle, start the processes, wait for the end, and leave none behind.

    Raises:
        ChurnlibError: If the port is taken, the bundle is bad, or a process died.
    """
    _check_environment(options)
    log_to_stderr()
    server = build_server(options)
    with interrupt_on_signal(), children_follow():
        try:
            server.start_manager()
            server.run(
                host=options.host,
                port=options.port,
                generate_client_file=False,
                log_level="warning",
                access_log=False,
                server_header=False,
            )
        except KeyboardInterrupt:  # before LitServe listens for it
            pass
        except SystemExit:  # uvicorn's way of saying so, if the port was taken while the bundle was read
            raise ServerError(f"cannot listen on {options.host}:{options.port}; choose another with port=...") from None
        except (EOFError, ConnectionError) as error:
            raise ServerError("a process of the server died, so the others were ended; start it again") from error
        finally:
            end_children()
    return 0


def build_server(options: ServeOptions) -> ChurnServer:
    """Return the server for a bundle, not yet running.

    Raises:
        BundleError: If the bundle is missing, damaged or of another version.
        DataError, ConfigError: If the list of customers who have objected cannot be read.
    """
    from churnlib.data.opt_out import read_opt_out
    from churnlib.predictor import load
    from churnlib.serving.metadata import describe, example_row

    predictor = load(options.bundle, trust=options.trust, backend=options.backend)
    if options.opt_out:
        read_opt_out(options.opt_out, id=predictor.schema.id)
    metadata = describe(predictor)
    example = example_row(predictor)
    api = ChurnLitAPI(
        options.bundle,
        trust=options.trust,
        backend=options.backend,
        threads=options.threads,
        max_batch_size=options.max_batch_size,
        batch_timeout=options.batch_timeout,
        unknown=options.unknown,
        opt_out=options.opt_out,
    )
    server = ChurnServer(
        api,
        on_listening=lambda: announce(options, metadata, example),
        accelerator="cpu",
        workers_per_device=options.workers,
        timeout=options.timeout,
        callbacks=[WorkerProcess(options.threads)],
        disable_openapi_url=True,
    )
    server.uvicorn_graceful_timeout = int(options.timeout) + 2  # every request is answered by its deadline
    server.app.add_middleware(
        Front,
        metadata=metadata,
        timeout=options.timeout,
        max_body_bytes=options.max_body_bytes,
        max_waiting=options.max_waiting,
        probe_seconds=options.batch_timeout + 2.0,  # a lone probe waits its batch out
    )
    return server


def announce(options: ServeOptions, metadata: Mapping[str, Any], example: Mapping[str, Any]) -> None:
    """Print where the server listens and a request to try."""
    from rich.console import Console

    console = Console(highlight=False)
    url = f"http://{'[::1]' if options.host == '::' else '127.0.0.1'}:{options.port}"
    console.print(f"[bold green]Serving[/] {metadata['model']} {metadata['model_version']} at [bold]{url}[/]")
    if options.host != "127.0.0.1":
        console.print(f"Every network can reach it (host={options.host}).")
    console.print("Ctrl-C or SIGTERM ends it. Try it:\n")
    console.print(curl(url, example), markup=False, soft_wrap=True)


def curl(url: str, row: Mapping[str, Any]) -> str:
    """Return a shell command that sends one customer.

    >>> print(curl("http://127.0.0.1:8000", {"plan": "it's"}))
    curl -s http://127.0.0.1:8000/predict -H 'Content-Type: application/json' -d '{"plan": "it'"'"'s"}'
    """
    body = shlex.quote(json.dumps(row, ensure_ascii=False))
    return f"curl -s {url}/predict -H 'Content-Type: application/json' -d {body}"


def _check_environment(options: ServeOptions) -> None:
    """Refuse what would fail later and less clearly."""
    if os.environ.get("LIT_SERVER_API_KEY"):
        raise ConfigError("LIT_SERVER_API_KEY is set, but this server checks no keys; unset it and guard the port")
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.host, options.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ServerError(f"port {options.port} is in use; choose another with port=...") from None
            raise ServerError(f"cannot listen on {options.host}:{options.port} ({error.strerror})") from None
