"""What runs in a worker: LitServe's inference worker with a loop that takes its questions from a socket.

LitServe 0.2.19 hands each request through a manager process, four times pickled, and never answers one whose worker has
died. This loop waits without polling, takes all questions that are there, predicts for single customers together and
does one slow job at a time in between.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litserve.loops.base import LitLoop

from churnlib.serving.answering.frames import Ask, Frames, Told, frame
from churnlib.serving.answering.jobs import READY
from churnlib.serving.answering.served import log_failure
from churnlib.serving.answers import Answer
from churnlib.serving.problems import DEADLINE, INTERNAL

if TYPE_CHECKING:
    from churnlib.serving.answering.models import Models

_CHUNK = 1 << 20
_SEND_SECONDS = 30.0


class SocketLoop(LitLoop):
    """Answers questions from a Unix socket until its control channel ends.

    Args:
        path: Where to listen, in a folder that only this user may enter.
        control: From the supervisor: an object with ``fileno()``; ``ready(models)``, which waits until they may answer,
            and ``handle(changed)``, which calls ``changed`` after each change; both return False at the end.
        max_rows: Most customers of one call of the model.
    """

    def __init__(self, path: str, control: Any, *, max_rows: int) -> None:
        super().__init__()
        self._path, self._control, self._max_rows = path, control, max_rows

    def __call__(self, lit_api: Any, *args: Any, **kwargs: Any) -> None:
        """Run; LitServe's worker calls this once the model is set up."""
        models: Models = lit_api.models
        with selectors.DefaultSelector() as selector, socket.socket(socket.AF_UNIX) as listening:
            Path(self._path).unlink(missing_ok=True)  # of the worker before this one
            listening.bind(self._path)
            listening.listen(64)
            listening.setblocking(False)
            selector.register(listening, selectors.EVENT_READ, "listen")
            selector.register(self._control, selectors.EVENT_READ, "control")
            if not self._control.ready(models):
                return  # HTTP processes that have connected meanwhile go back to asking for a worker
            work = _Work(models, selector, self._max_rows)
            try:
                work.until_told(self._control)
            finally:
                work.close()


class _Client:
    """One HTTP process."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.frames = Frames.of_asks()


class _Work:
    def __init__(self, models: Models, selector: selectors.BaseSelector, max_rows: int) -> None:
        self._models, self._selector, self._max_rows = models, selector, max_rows
        self._clients: set[_Client] = set()
        self._version = models.champion.version
        self._quick: list[tuple[_Client, Ask]] = []
        self._slow: deque[tuple[_Client, Ask]] = deque()

    def until_told(self, control: Any) -> None:
        """Answer until the control channel says so."""
        while True:
            for key, _ in self._selector.select(0 if self._slow else None):
                if key.data == "listen":
                    self._accept(key.fileobj)
                elif key.data == "control":
                    if not control.handle(self._greet_again):
                        return
                else:
                    self._read(key.data)
            quick, self._quick = self._quick, []
            for start in range(0, len(quick), self._max_rows):
                self._predict(quick[start : start + self._max_rows])
            if self._slow:
                self._do(*self._slow.popleft())

    def close(self) -> None:
        """Leave the clients."""
        for client in tuple(self._clients):
            self._forget(client)

    def _accept(self, listening: Any) -> None:
        connection, _ = listening.accept()
        connection.setblocking(False)
        client = _Client(connection)
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client)
        self._tell(client, [self._greeting()])

    def _greeting(self) -> Told:
        champion = self._models.champion
        return Told(0, 200, champion.predictor.model_name.encode(), version=champion.version)

    def _greet_again(self) -> None:
        """Tell all who is served, once that has changed."""
        if self._version != self._models.champion.version:
            self._version = self._models.champion.version
            for client in tuple(self._clients):
                self._tell(client, [self._greeting()])

    def _read(self, client: _Client) -> None:
        try:
            data = client.connection.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._forget(client)
            return
        for ask in client.frames.feed(data):
            if ask.job == READY:
                self._do(client, ask)
            else:
                (self._quick if ask.job == "predict" else self._slow).append((client, ask))

    def _predict(self, asked: list[tuple[_Client, Ask]]) -> None:
        now = time.monotonic()
        told: dict[_Client, list[Told]] = {}
        groups: dict[int, tuple[Any, list[tuple[_Client, Ask, Any]]]] = {}
        for client, ask in asked:
            if ask.deadline <= now:
                told.setdefault(client, []).append(_told(ask, Answer.refusal(DEADLINE)))
                continue
            endpoint = self._models.champion
            item = endpoint.decode_request(ask.body, request_id=ask.request_id)
            if self._models.challenger is not None and not isinstance(item, Answer):
                chosen = self._models.choose(item.id)
                if chosen is not endpoint:
                    endpoint, item = chosen, chosen.decode_request(ask.body, request_id=ask.request_id)
            groups.setdefault(id(endpoint), (endpoint, []))[1].append((client, ask, item))
        for endpoint, members in groups.values():
            answers = endpoint.predict([item for _, _, item in members])
            for (client, ask, _), answer in zip(members, answers, strict=True):
                told.setdefault(client, []).append(_told(ask, answer))
        for client, messages in told.items():
            self._tell(client, messages)

    def _do(self, client: _Client, ask: Ask) -> None:
        late = ask.deadline <= time.monotonic()
        answer = Answer.refusal(DEADLINE) if late else self._models.run(ask.job, ask.body, ask.query, ask.request_id)
        self._tell(client, [_told(ask, answer)])

    def _tell(self, client: _Client, messages: list[Told]) -> None:
        if client.connection.fileno() < 0:
            return
        try:
            client.connection.settimeout(_SEND_SECONDS)
            client.connection.sendall(b"".join(map(frame, messages)))
            client.connection.setblocking(False)
        except OSError:
            self._forget(client)

    def _forget(self, client: _Client) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(client.connection)
        client.connection.close()
        self._clients.discard(client)


def _told(ask: Ask, answer: Answer) -> Told:
    try:
        body = answer.encode(ask.request_id)
    except (ValueError, TypeError) as error:
        log_failure(error)
        answer = Answer.refusal(INTERNAL)
        body = answer.encode(ask.request_id)
    return Told(
        ask.number,
        answer.status,
        body,
        list(answer.headers),
        answer.version,
        list(answer.decisions),
        list(answer.warned),
        "" if answer.problem is None else answer.problem.code,
        list(answer.refused),
    )
