"""How a server stops taking clients without losing one.

The kernel completes connections before a process has accepted them, and resets those that still wait when the listening
socket is closed, though their clients have sent a request already. So the kernel is first told to complete no further
one, then all are accepted that it has completed, and only then the socket is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
from collections.abc import Callable
from typing import Any

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_NO_NEW_CLIENT = (
    (0x30, 0, 0, 13),  # the flags of the TCP header
    (0x54, 0, 0, 0x12),  # SYN and ACK of them
    (0x15, 0, 1, 0x02),  # SYN alone opens a connection:
    (0x06, 0, 0, 0),  # it is dropped;
    (0x06, 0, 0, 0xFFFFFFFF),  # everything else is let pass
)
"""A packet filter (classic BPF: code, jumps, constant) for a listening socket; needs no privilege."""

_HANDSHAKE_SECONDS = 0.05
"""Time for a handshake that has begun to end."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def open_no_more(listening: socket.socket) -> None:
    """Let the kernel complete no further connection; a client's attempts are dropped, later refused."""
    instructions = b"".join(
        code.to_bytes(2, "little") + bytes((yes, no)) + constant.to_bytes(4, "little")
        for code, yes, no, constant in _NO_NEW_CLIENT
    )
    buffer = ctypes.create_string_buffer(instructions)
    program = _Program(len(_NO_NEW_CLIENT), ctypes.addressof(buffer))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
    except OSError:  # no Linux: the shortest queue that there is
        with contextlib.suppress(OSError):
            listening.listen(0)


async def take_the_last(
    listening: socket.socket, close: Callable[[], Any], protocol: Callable[[], asyncio.Protocol], **options: Any
) -> None:
    """Stop taking clients; those who are connected are served.

    Args:
        listening: Shared with other processes, perhaps.
        close: Ends the event loop's own acceptance, and closes the socket.
        protocol: Makes the protocol of a connection.
        options: Of ``connect_accepted_socket``: ``ssl``.
    """
    loop = asyncio.get_running_loop()
    taken: list[socket.socket] = []
    with listening.dup() as last:
        last.setblocking(False)
        open_no_more(last)
        await asyncio.sleep(_HANDSHAKE_SECONDS)
        close()
        with contextlib.suppress(OSError):
            while True:
                taken.append(last.accept()[0])
    for connection in taken:
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # it has left meanwhile
            await loop.connect_accepted_socket(protocol, connection, **options)
