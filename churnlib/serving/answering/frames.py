"""Messages between the server's processes: length-prefixed MessagePack over a Unix socket, data and nothing else.

A socket tells both ends at once when the other process has died, which no queue does; and what is read from it is
numbers, texts and bytes, never code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

LARGEST = 256_000_000
"""Bytes of one message; more is taken for a broken stream."""

_LENGTH = 4


class Ask(msgspec.Struct, array_like=True):
    """What an HTTP process asks of a worker.

    Attributes:
        number: Of the question, unique on its socket.
        job: What to do.
        body: JSON as it came.
        query: Words of the address.
        deadline: On the monotonic clock, which all processes of a machine share; seconds.
        request_id: Written into refusals.
    """

    number: int
    job: str
    body: bytes
    query: dict[str, str]
    deadline: float
    request_id: str


class Told(msgspec.Struct, array_like=True):
    """What a worker answers.

    Attributes:
        number: Of the question; 0 for the greeting, whose body says what is served.
        status: HTTP status code.
        body: As it goes to the client.
        headers: Further response headers.
        version: Version of the model that answered.
        decisions: What was predicted, for the metrics.
        warned: Kinds of the warnings in it, and how many customers each concerns.
        code: Of a refusal.
        refused: Codes of refusals among others' results, and how many each has met.
    """

    number: int
    status: int
    body: bytes
    headers: list[tuple[str, str]] = []
    version: str = ""
    decisions: list[int | str] = []
    warned: list[tuple[str, int]] = []
    code: str = ""
    refused: list[tuple[str, int]] = []


_encoder = msgspec.msgpack.Encoder()
_ask, _told = msgspec.msgpack.Decoder(Ask), msgspec.msgpack.Decoder(Told)


def frame(message: Ask | Told) -> bytes:
    """Return a message with its length before it."""
    content = _encoder.encode(message)
    return len(content).to_bytes(_LENGTH, "little") + content


class Frames:
    """Takes messages out of a stream of bytes.

    Args:
        decoder: Of the messages.
    """

    def __init__(self, decoder: msgspec.msgpack.Decoder[Any]) -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    @classmethod
    def of_asks(cls) -> Frames:
        """Read questions."""
        return cls(_ask)

    @classmethod
    def of_answers(cls) -> Frames:
        """Read answers."""
        return cls(_told)

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield the messages that are whole now.

        Raises:
            ValueError: If the stream is broken; msgspec's errors are of that kind.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _LENGTH:
                length = int.from_bytes(buffer[start : start + _LENGTH], "little")
                if length > LARGEST:
                    raise ValueError(f"a message of {length:,} bytes")
                end = start + _LENGTH + length
                if len(buffer) < end:
                    break
                content = bytes(memoryview(buffer)[start + _LENGTH : end])
                start = end
                yield self._decoder.decode(content)
        finally:
            del buffer[:start]
