"""One connection to one server, and the pool that keeps idle ones.

A redis-py ``Connection`` does the handshake, TLS and the parsing; its client and its pools are
not used. They send a command again after a lost reply (from version 6), count metrics, and take
twice the time per call. The rules here are few:

* A command is sent once. A connection that broke while a reply was due is closed, never reused.
* An idle connection that the server has closed meanwhile is noticed *before* anything is sent
  and replaced; the caller never learns of it.
* A connection goes back to its pool only after its reply was read to the end, so a greenlet that
  is killed in between cannot leave a stranger's reply behind.
"""

from __future__ import annotations

import inspect
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from redis import connection as redis_connection
from redis import exceptions as redis_errors

from pytask.connection.errors import ERROR_REPLY

#: Most idle connections of one kind to one server. A caller that finds all in use waits: Redis
#: serves one command at a time, so more sockets would only queue on the other side.
MAX_CONNECTIONS = 128

_pack_in_c: Callable[[tuple[Any, ...]], bytes] | None
try:
    from hiredis import pack_command as _pack_in_c
except ImportError:
    _pack_in_c = None

_POLLIN = getattr(select, "POLLIN", 1)


class Connection(Protocol):
    """The part of redis-py's ``Connection`` that pytask uses; the same from 3.5 to 8."""

    pid: int
    _sock: Any

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def pack_command(self, *args: Any) -> Any: ...

    def send_packed_command(self, command: Any, check_health: bool = ...) -> None: ...

    def read_response(self) -> Any: ...

    def can_read(self, timeout: float = ...) -> bool: ...


class Wire:
    """A connected socket together with the check whether it is still usable."""

    __slots__ = ("_poll", "_sock", "connection", "generation")

    def __init__(self, connection: Connection, generation: int = 0) -> None:
        self.connection = connection
        self._sock = connection._sock
        self.generation = generation
        self._poll = _readiness_check(connection)

    def call(self, args: tuple[Any, ...]) -> Any:
        """Send one command and return its reply; an error reply is raised as redis-py's."""
        connection = self.connection
        connection.send_packed_command(_pack(connection, args), check_health=False)
        return connection.read_response()

    def call_in_turn(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send commands in one go and return their replies; the first error reply is raised.

        All replies are read before that, so the connection stays usable.
        """
        connection = self.connection
        packed = [part for args in commands for part in _pack(connection, args)]
        connection.send_packed_command((b"".join(packed),), check_health=False)
        replies: list[Any] = []
        failure: Exception | None = None
        for _ in commands:
            try:
                replies.append(connection.read_response())
            except ERROR_REPLY as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return replies

    def is_stale(self) -> bool:
        """Return whether the idle socket was closed by the server or holds bytes of a reply."""
        return bool(self._poll(0))

    def set_timeout(self, seconds: float) -> None:
        """Let the next reply take ``seconds``."""
        self._sock.settimeout(seconds)

    def close(self) -> None:
        """Close the socket, whatever its state; safe to repeat."""
        with suppress(Exception):
            self.connection.disconnect()
        # redis-py 3.5 forgets a socket that the peer closed first without closing it.
        with suppress(OSError):
            self._sock.close()


class Pool:
    """Idle connections to one server, shared by greenlets and threads of one process.

    Taking and giving back costs two list operations and no lock; ``list.append`` and ``pop`` are
    atomic. Only a caller that finds all connections in use waits on a condition.
    """

    def __init__(
        self,
        open_connection: Callable[[], Connection],
        *,
        limit: int = MAX_CONNECTIONS,
        wait_seconds: float = 5.0,
    ) -> None:
        """Create an empty pool.

        Args:
            open_connection: Returns a connected connection, or raises redis-py's errors.
            limit: Most connections at the same time.
            wait_seconds: How long :meth:`take` waits for one when all are in use.
        """
        self._open_connection = open_connection
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._start_empty()

    def _start_empty(self) -> None:
        self._pid = os.getpid()
        self._idle: deque[Wire] = deque()
        self._generation = 0
        self._open_count = 0
        self._waiting = 0
        self._freed = threading.Condition()

    def take(self) -> Wire:
        """Return a usable connection; the caller gives it back or drops it.

        Raises:
            redis.ConnectionError: The server cannot be reached, or all connections stayed in use.
        """
        if self._pid != os.getpid():
            self._leave_to_parent()
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                if self._reserve_place():
                    return self._open()
                continue
            if not wire.is_stale():
                return wire
            self.drop(wire)

    def give(self, wire: Wire) -> None:
        """Take back a connection whose reply was read to the end."""
        if wire.generation != self._generation or wire.connection.pid != self._pid:
            self.drop(wire)
            return
        self._idle.append(wire)
        if self._waiting:
            with self._freed:
                self._freed.notify()

    def drop(self, wire: Wire) -> None:
        """Close a connection that may hold half a reply, or none."""
        wire.close()
        if wire.connection.pid == self._pid:
            self._release_place()

    def clear(self) -> None:
        """Close the idle connections now, and those in use when they come back."""
        self._generation += 1
        while True:
            try:
                wire = self._idle.pop()
            except IndexError:
                return
            self.drop(wire)

    def _reserve_place(self) -> bool:
        """Wait until a connection may be opened (true) or one was given back (false)."""
        with self._freed:
            self._waiting += 1
            try:
                if not self._freed.wait_for(self._has_room, self._wait_seconds):
                    raise redis_errors.ConnectionError(
                        f"all {self._limit} connections stayed in use for {self._wait_seconds} s"
                    )
                if self._idle:
                    return False
                self._open_count += 1
                return True
            except BaseException:
                # Killed while waiting: the notice may have been for this caller, pass it on.
                self._freed.notify()
                raise
            finally:
                self._waiting -= 1

    def _open(self) -> Wire:
        generation = self._generation
        try:
            return Wire(self._open_connection(), generation)
        except BaseException:
            self._release_place()
            raise

    def _has_room(self) -> bool:
        return bool(self._idle) or self._open_count < self._limit

    def _release_place(self) -> None:
        with self._freed:
            self._open_count -= 1
            self._freed.notify()

    def _leave_to_parent(self) -> None:
        # A forked child: the sockets belong to the parent. redis-py closes such a socket without
        # shutting it down, so the parent's end stays usable.
        inherited = self._idle
        self._start_empty()
        for wire in inherited:
            wire.close()


class WireFactory:
    """Opens connections of one kind: same class, credentials, TLS and time-outs."""

    def __init__(
        self,
        connection_class: Callable[..., Connection],
        options: Mapping[str, Any],
        *,
        timeout: float,
        connect_timeout: float,
    ) -> None:
        """Prepare the arguments once.

        Args:
            connection_class: A connection class of redis-py or the user's own.
            options: Credentials, TLS, database and the like; without host and port.
            timeout: Seconds a reply may take.
            connect_timeout: Seconds until a connection must be up.
        """
        self._connection_class = connection_class
        known = _parameters_of(connection_class)
        own = _own_options(timeout, connect_timeout)
        self._options = {**options, **{k: v for k, v in own.items() if k in known}}

    def open(self, where: Mapping[str, Any]) -> Connection:
        """Return a connected connection to ``where`` (host and port, or path).

        Raises:
            redis.RedisError: No connection within the time-out, or credentials refused.
        """
        connection = self._connection_class(**{**self._options, **where})
        try:
            connection.connect()
        except BaseException:
            with suppress(Exception):
                connection.disconnect()
            raise
        return connection


def _pack(connection: Connection, args: tuple[Any, ...]) -> Any:
    # What redis-py does before it calls the same function costs as much as all the rest of a call.
    if _pack_in_c is not None:
        try:
            return (_pack_in_c(args),)
        except TypeError:
            pass  # redis-py names the argument that has no form
    return connection.pack_command(*args)


def _own_options(timeout: float, connect_timeout: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "decode_responses": False,
        "encoding": "utf-8",
        "health_check_interval": 0,
        "protocol": 2,
        "retry_on_timeout": False,
        "socket_connect_timeout": connect_timeout,
        "socket_timeout": timeout,
        # Both versions of "do not send CLIENT SETINFO": two round trips per connection, and an
        # error where the ACL forbids CLIENT.
        "driver_info": None,
        "lib_name": None,
        "lib_version": None,
    }
    try:
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        pass
    else:
        options["retry"] = Retry(NoBackoff(), 0)
    return options


def _parameters_of(connection_class: Callable[..., Any]) -> frozenset[str]:
    """Return the argument names that reach the class, or a base to which it passes them on."""
    names: set[str] = set()
    for base in getattr(connection_class, "__mro__", (connection_class,)):
        initializer = base.__dict__.get("__init__")
        if initializer is None:
            continue
        parameters = inspect.signature(initializer).parameters.values()
        names.update(parameter.name for parameter in parameters)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
    if "driver_info" in names:
        names -= {"lib_name", "lib_version"}
    return frozenset(names)


def _readiness_check(connection: Connection) -> Callable[[int], Any]:
    # The poll object of the operating system, not gevent's: it answers without a switch to the
    # hub, and a native thread may use it while the hub runs elsewhere.
    make_poll = _native_poll()
    if make_poll is None:
        return lambda _timeout: connection.can_read(0)
    poll = make_poll()
    poll.register(connection._sock.fileno(), _POLLIN)
    check: Callable[[int], Any] = poll.poll
    return check


def _native_poll() -> Callable[[], Any] | None:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        with suppress(AttributeError):
            original: Callable[[], Any] = monkey.get_original("select", "poll")
            return original
    return getattr(select, "poll", None)


TCP: Any = redis_connection.Connection
TLS: Any = redis_connection.SSLConnection
UNIX: Any = redis_connection.UnixDomainSocketConnection
