"""Messages between a worker and its child processes: four bytes of length, then MessagePack.

A message is a list that begins with its kind. To a child::

    ["hello", {"argv", "main", "level"}]                     once, first: what is as here
    ["task", {…}]                                            execute this
    ["stop"]                                                 call stop() of the task
    ["answer", number, kind, value]                          kind: "value", "future", "error"

From a child::

    ["log", {…}]                                             a record of its logging
    ["ask", number, target, name, args, kwargs]              do this, and answer
    ["stop_ended", text or None]                             stop() is over; why it failed
    ["done", output]                                         start() returned; encoded
    ["failed", {…}]                                          start() raised, see ChildError
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_LENGTH = 4
#: What comes after is no frame of ours.
_LONGEST = 1 << 31

_decoder = msgspec.msgpack.Decoder()


def pack(message: list[Any]) -> bytes:
    """Return the bytes of a message.

    Raises:
        TypeError: It holds something that is no plain data.
    """
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(_LENGTH, "big") + body


class FrameReader:
    """Puts messages together from pieces of a stream."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[list[Any]]:
        """Take a piece and yield the messages that are complete with it.

        Raises:
            ValueError: These are no messages.
        """
        buffer = self._buffer
        buffer += piece
        while len(buffer) >= _LENGTH:
            length = int.from_bytes(buffer[:_LENGTH], "big")
            if length > _LONGEST:
                raise ValueError(f"a message of {length:,} bytes")
            end = _LENGTH + length
            if len(buffer) < end:
                return
            message = _decoder.decode(bytes(buffer[_LENGTH:end]))
            del buffer[:end]
            yield message
