"""A back-end of a third party: ``plain://host:port``, on sockets of its own.

It shares no code with pytask's connections and knows only what :mod:`pytask.backends` asks for, so
it shows that this is enough.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from pytask.backends import error_of_reply, register
from pytask.exceptions import ConfigurationError, NotReplicated, RedisUnavailable


class Wire:
    """One connection, in the second version of Redis' protocol."""

    def __init__(self, address: tuple[str, int], connect_timeout: float, timeout: float) -> None:
        try:
            self._socket = socket.create_connection(address, connect_timeout)
        except OSError as error:
            raise RedisUnavailable(f"{address[0]}:{address[1]}: {error}") from error
        self._socket.settimeout(timeout)
        self._replies = self._socket.makefile("rb")

    def send(self, *args: Any) -> None:
        parts = [one if isinstance(one, bytes) else str(one).encode() for one in args]
        packed = b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in parts)
        try:
            self._socket.sendall(b"*%d\r\n%b" % (len(parts), packed))
        except OSError as error:
            raise RedisUnavailable(str(error)) from error

    def receive(self) -> Any:
        try:
            reply = self._read()
        except OSError as error:
            raise RedisUnavailable(str(error)) from error
        if isinstance(reply, Exception):
            raise reply
        return reply

    def read(self, timeout: float) -> Any:
        """Return what arrived in time, None if nothing did: a feed's way to read."""
        # Bytes that were read ahead do not show on the socket.
        if not self._peek() and not select.select([self._socket], [], [], timeout)[0]:
            return None
        reply = self.receive()
        return reply if isinstance(reply, list) else [reply]

    def _peek(self) -> bytes:
        self._socket.settimeout(0)
        try:
            return self._replies.peek(1)  # type: ignore[attr-defined]
        except OSError:
            return b""
        finally:
            self._socket.settimeout(5)

    def _read(self) -> Any:
        line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            return error_of_reply(rest.decode("utf-8", "replace"))
        if kind in (b"+", b":"):
            return int(rest) if kind == b":" else rest
        if rest == b"-1":
            return None
        if kind == b"$":
            return self._replies.read(int(rest) + 2)[:-2]
        return [self._read() for _ in range(int(rest))]

    def close(self) -> None:
        self._replies.close()
        self._socket.close()


class PlainLink:
    """Takes a connection for each call, from those that are idle."""

    def __init__(self, address: tuple[str, int], timeout: float, connect_timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._idle: list[Wire] = []
        self._lock = threading.Lock()

    def execute(self, *args: Any) -> Any:
        return self._call(args)

    def blocking(self, seconds: float, *args: Any, then: tuple[Any, ...] = ()) -> Any:
        wire = Wire(self._address, self._connect_timeout, seconds + 2)
        try:
            wire.send(*args)
            if not then:
                return wire.receive()
            wire.send(*then)
            wire.receive()
            return wire.receive()
        finally:
            wire.close()

    def evalsha(
        self,
        sha: str,
        source: str | bytes,
        keys: Sequence[str | bytes],
        args: Sequence[str | bytes | int | float],
        replicas: int = 0,
    ) -> Any:
        try:
            return self._call(("EVALSHA", sha, len(keys), *keys, *args), replicas)
        except Exception as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            return self._call(("EVAL", source, len(keys), *keys, *args), replicas)

    def pubsub(self) -> Wire:
        return Wire(self._address, self._connect_timeout, self._timeout)

    def scan_iter(self, match: str | bytes, count: int = 500) -> Iterator[bytes]:
        cursor: bytes | int = 0
        while True:
            cursor, keys = self.execute("SCAN", cursor, "MATCH", match, "COUNT", count)
            yield from keys
            if int(cursor) == 0:
                return

    def masters_execute(self, *args: Any) -> list[Any]:
        return [self.execute(*args)]

    def reset(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for wire in idle:
            wire.close()

    close = reset

    def _call(self, args: Sequence[Any], replicas: int = 0) -> Any:
        with self._lock:
            wire = self._idle.pop() if self._idle else None
        wire = wire or Wire(self._address, self._connect_timeout, self._timeout)
        try:
            wire.send(*args)
            reply = wire._read()
            if replicas:
                wire.send("WAIT", replicas, 1000)
                if wire.receive() < replicas:
                    raise NotReplicated()
        except OSError as error:
            wire.close()
            if isinstance(error, RedisUnavailable):
                raise
            raise RedisUnavailable(str(error)) from error
        except BaseException:
            # Killed between two bytes of a reply.
            wire.close()
            raise
        with self._lock:
            self._idle.append(wire)
        if isinstance(reply, Exception):
            raise reply
        return reply


class PlainBackend:
    """One server, without a password."""

    is_cluster = False
    is_temporary = False
    url = None

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self._links: list[PlainLink] = []
        self.description = f"plain://{host}:{port}"

    @property
    def user_client(self) -> Any:
        raise ConfigurationError("tasks on plain:// have no self.redis")

    def link(self, *, timeout: float = 5.0, connect_timeout: float = 2.0) -> PlainLink:
        self._links.append(PlainLink(self.address, timeout, connect_timeout))
        return self._links[-1]

    def close(self) -> None:
        for link in self._links:
            link.close()


def connect(url: str) -> PlainBackend:
    """Make a back-end of a URL."""
    parts = urlsplit(url)
    return PlainBackend(parts.hostname or "localhost", parts.port or 6379)


register("plain", connect)
