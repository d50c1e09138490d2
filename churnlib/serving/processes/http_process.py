"""One HTTP process: uvicorn, the front, and the model itself unless workers hold it. Started by the supervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import sys
import time
from typing import Any

from churnlib.errors import ChurnlibError
from churnlib.serving.options import ServeOptions
from churnlib.serving.problems import RequestError
from churnlib.serving.processes.lifecycle import BACKLOG, Channel
from churnlib.serving.processes.standby import call_it, stand_by

_KEEP_ALIVE_SECONDS = 75
_log = logging.getLogger(__name__)

_TICK_SECONDS = 0.01
_IDLE_SECONDS = 0.5
"""Time that clients on idle connections have during a drain to send once more and be told that the server ends."""


def main() -> None:
    """Serve until the supervisor says otherwise."""
    options, told, channel = stand_by("http")
    import uvicorn

    try:
        process = HttpProcess(options, told, channel)
    except ChurnlibError as error:
        channel.tell(event="failed", message=str(error))
        sys.exit(1)
    config = uvicorn.Config(
        process.front,
        access_log=False,
        log_config=None,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        ws="none",
        **process.protocol(),
    )
    runner = asyncio.Runner(loop_factory=config.get_loop_factory())
    code = runner.run(process.run(uvicorn.Server(config), socket.socket(fileno=told["listening"])))
    sys.stdout.flush()
    os._exit(code)  # neither threads of libraries keep it nor one that still reads a bundle, which to close would await


class HttpProcess:
    """What the process does, from its start to its end.

    Args:
        options: Of the server.
        told: What the supervisor says: ``sockets`` of the workers, and ``number`` of this process.
        channel: To the supervisor.
    """

    def __init__(self, options: ServeOptions, told: dict[str, Any], channel: Channel) -> None:
        from churnlib.serving.processes.building import front_of, recorder_of

        self.options, self.told, self.channel = options, told, channel
        self.recorder = recorder_of(options) if options.engine != "worker" else None
        self.front = front_of(options, admin=self._order if options.admin else None, recorder=self.recorder)
        self.watching = self.front.watching
        self._tls: ssl.SSLContext | None = None
        if options.tls_certificate:
            from churnlib.serving.http.tls import check, context

            check(options.tls_certificate, options.tls_key)
            self._tls = context(options.tls_certificate, options.tls_key)
        self._orders: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._drain = asyncio.Event()
        self._serves = asyncio.Event()
        self._models: Any = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._turn = asyncio.Lock()

    def protocol(self) -> dict[str, Any]:
        """Return uvicorn's options about connections."""
        from churnlib.serving.http.at_once import guarded
        from churnlib.serving.http.protocol import Guards

        guards = Guards(body_seconds=max(self.options.timeout, self.options.bulk_timeout) + 5.0)
        found: dict[str, Any] = {
            "http": guarded(guards, self.front.at_once),
            "timeout_keep_alive": _KEEP_ALIVE_SECONDS,
            "backlog": BACKLOG,
        }
        if self._tls is not None:
            found["ssl_context_factory"] = lambda config, default: self._tls
        return found

    def _renew_certificate(self) -> None:
        """Take the certificate's files as they are now; the ones before stay where that fails."""
        if self._tls is None:
            return
        from churnlib.serving.http.tls import renew

        try:
            renew(self._tls, self.options.tls_certificate, self.options.tls_key)
        except ChurnlibError as error:
            _log.error("the certificate stays as it was: %s", error)

    async def run(self, server: Any, listening: socket.socket) -> int:
        """Serve; returns the exit status."""
        loop = asyncio.get_running_loop()
        self.channel.end.setblocking(False)
        loop.add_reader(self.channel.fileno(), self._heard)
        starting = asyncio.create_task(self._start())
        draining = asyncio.create_task(self._drain.wait())
        if self.told[
            "restarted"
        ]:  # clients wait for it, or are taken by its siblings, instead of being told to come back
            await asyncio.wait({starting, draining}, return_when=asyncio.FIRST_COMPLETED)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await asyncio.wait({serving, draining, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done() and not starting.result():
            return 1
        await asyncio.wait({serving, draining}, return_when=asyncio.FIRST_COMPLETED)
        await self._end(server, listening)
        await serving
        if self.recorder is not None:
            self.recorder.close()
        self.watching.close()
        return 0

    async def _start(self) -> bool:
        """Load the model beside the probes, which are answered from the first moment."""
        from churnlib.serving.answering.job_thread import JobThread
        from churnlib.serving.answering.models import sentence
        from churnlib.serving.answering.pool import Pool
        from churnlib.serving.processes import building

        paths = self.told["sockets"]
        options = self.options
        pool = Pool(paths, shadow=options.shadow and options.engine == "worker") if paths else None
        if options.engine == "worker":
            assert pool is not None
            await pool.wait_until_there()
            self.front.engine, self.front.identity = pool, pool.identity
            pool.on_change = lambda: self._is_ready(self.front.state)
        else:
            models = building.models_of(options, recorder=self.recorder)
            try:
                await asyncio.to_thread(models.load)
                self.front.engine = building.engine_of(options, models, pool or JobThread(models), self.front)
            except Exception as error:
                self.channel.tell(event="failed", message=sentence(error))
                return False
            self._models, self.front.identity = models, building.identity_of(models)
        self.channel.tell(event="ready", **(self._models.introduction() if self._models else self._identity()))
        if self.told["restarted"]:  # the others may have changed their model; before the first are all there, none has
            await self._serves.wait()
        self._is_ready("ready")
        call_it("churn http")
        return True

    def _is_ready(self, state: str) -> None:
        self.front.state = state
        self.watching.state(state, self._identity())

    def _identity(self) -> dict[str, Any]:
        """Return what is served; nothing while nobody is answered, which is no reason not to start, or to end."""
        try:
            return self.front.identity()
        except RequestError:
            return {}

    async def _end(self, server: Any, listening: socket.socket) -> None:
        """Lose nothing: answer what was accepted, and tell clients of kept connections that it was the last answer."""
        loop = asyncio.get_running_loop()
        self._is_ready("draining")
        await asyncio.sleep(self.options.drain_delay)
        await self._take_no_more(server, listening)
        connections = server.server_state.connections
        until = loop.time() + self.options.drain_timeout
        idle = 0.0  # in turns that have read the sockets: when this process did not get to run, clients may have asked
        while connections and loop.time() < until and (self.front.active or idle < _IDLE_SECONDS):
            await asyncio.sleep(_TICK_SECONDS)
            idle += _TICK_SECONDS
        server.config.timeout_graceful_shutdown = max(1, int(until - loop.time()))
        server.should_exit = True

    async def _take_no_more(self, server: Any, listening: socket.socket) -> None:
        from churnlib.serving.processes.last_clients import take_the_last

        config = server.config

        def protocol() -> asyncio.Protocol:
            return config.http_protocol_class(
                config=config, server_state=server.server_state, app_state=server.lifespan.state
            )

        def close() -> None:
            for each in server.servers:
                each.close()

        if server.started:
            await take_the_last(listening, close, protocol, ssl=config.ssl)

    # --- the supervisor ---------------------------------------------------------------------------------------------

    def _heard(self) -> None:
        try:
            for message in self.channel.heard():
                task = asyncio.create_task(self._obey(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except EOFError:
            os._exit(1)  # the supervisor is gone

    async def _obey(self, message: dict[str, Any]) -> None:
        word = message["do"]
        if word == "prepare":
            self._renew_certificate()
        if word == "drain":
            self._drain.set()
        elif word == "serve":
            self._serves.set()
        elif word == "done":
            order = self._orders.pop(message["number"], None)
            if order is not None and not order.done():
                order.set_result(message)
        elif self._models is None:
            # The workers have the model, and each greets all HTTP processes anew before it says that it is done. An
            # order is answered when all are done, so that the greetings are in this process's sockets before anybody
            # who knows of the answer can ask, and the loop hands on all that is there before it begins with a request.
            self.channel.tell(event="done", word=word, change=message["change"], ok=True)
        else:
            async with self._turn:  # in the order that they were said: an abort must not meet the next preparation
                done = await asyncio.to_thread(obey, self._models, message)
            if word == "commit":
                self._is_ready(self.front.state)
            self.channel.tell(event="done", word=word, change=message["change"], **done)

    async def _order(self, word: str, body: bytes) -> Any:
        """Pass an operator's order on to the supervisor, who has all processes follow it, and say what came of it."""
        from churnlib.serving.answers import Answer
        from churnlib.serving.processes.orders import GOES_ON, LATE_SECONDS, bundle_of, outcome

        number, seconds = time.monotonic_ns(), self.options.bulk_timeout
        self._orders[number] = asyncio.get_running_loop().create_future()
        bundle, until = bundle_of(word, body), time.monotonic() + seconds
        self.channel.tell(event="order", word=word, number=number, bundle=bundle, until=until)
        try:
            return outcome(await asyncio.wait_for(self._orders[number], seconds + LATE_SECONDS))
        except TimeoutError:
            return Answer.refusal(GOES_ON)
        finally:
            self._orders.pop(number, None)


def obey(models: Any, message: dict[str, Any]) -> dict[str, Any]:
    """Do what the supervisor says about the models, and return what came of it."""
    from churnlib.serving.answering.models import sentence

    try:
        if message["do"] == "prepare":
            return {"ok": True, "version": models.prepare(message["bundle"])}
        if message["do"] == "prepare_rollback":
            if models.has_previous or not message["bundle"]:
                return {"ok": True, "version": models.prepare_rollback()}
            return {"ok": True, "version": models.prepare(message["bundle"])}  # it was served before this process was
        if message["do"] == "commit":
            return {"ok": True, "version": models.commit()}
        models.abort()
        return {"ok": True}
    except Exception as error:
        return {"ok": False, "message": sentence(error)}


if __name__ == "__main__":
    main()
