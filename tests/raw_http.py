"""A real uvicorn in a thread, and clients that speak to it byte by byte."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and answer its length.

    ``/early`` answers unread, ``/large`` with as many bytes as it is told, ``/wait`` when the client has gone.
    """
    body, more = 0, scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += len(message["body"])
        more = message["more_body"]
    if scope["path"] == "/wait":
        await receive()
    answer = b"x" * int(scope["query_string"] or 0) if scope["path"] == "/large" else str(body).encode()
    early = [(b"connection", b"close")] if scope["path"] == "/early" else []
    headers = [(b"content-length", str(len(answer)).encode()), *early]
    await send({"type": "http.response.start", "status": 413 if early else 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@contextmanager
def serving(protocol: Any, app: Any = echo, **options: Any) -> Iterator[tuple[uvicorn.Server, int]]:
    """A server with a protocol, and its port."""
    usual = {"ws": "none", "log_level": "critical", "lifespan": "off", "access_log": False}
    config = uvicorn.Config(app, http=protocol, **{**usual, **options})
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        listener.close()
    assert not thread.is_alive()


class Client:
    """A connection that reads and writes bytes."""

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Client:
        self.socket.sendall(data)
        return self

    def send_until_closed(self, piece: bytes, times: int, pause: float = 0.0) -> int:
        """Send a piece again and again; return how often that went well."""
        for sent in range(times):
            try:
                self.socket.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                return sent
            time.sleep(pause)
        return times

    def rest(self) -> bytes:
        """Everything until the server closes; the connection may also be reset."""
        received = b""
        try:
            while piece := self.socket.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        return received


def statuses(received: bytes) -> list[int]:
    """The status codes of the answers in a row."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
