"""One server as pytask talks to it: where it is, and its pools of connections.

Where a server is can change while the process runs: Sentinel names another master, an embedded
server is started again. An *endpoint* answers that question whenever a connection is opened, and
is told to forget its answer when the server turned out to be gone.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from redis import exceptions as redis_errors

from pytask.connection.errors import CLIENT_ERRORS, ERROR_REPLY, is_disconnect, translate
from pytask.connection.wire import Connection, Pool, Wire, WireFactory
from pytask.exceptions import NotReplicated, RedisUnavailable

#: How much longer than its own limit the reply of a blocking command may take, in seconds.
BLOCKING_MARGIN = 2.0

#: How long replicas have for a write that waits for them, in seconds.
CONFIRM_SECONDS = 1.0

#: Upper limit of blocking commands at the same time; there is one per partition.
MAX_BLOCKED = 10_000


class Endpoint(Protocol):
    """Says where a server is."""

    def resolve(self) -> Mapping[str, Any]:
        """Return host and port, or path, as arguments of a connection."""
        ...

    def forget(self) -> None:
        """Find out anew before the next connection."""
        ...


class FixedEndpoint:
    """A server that stays where it is."""

    def __init__(self, where: Mapping[str, Any]) -> None:
        self._where = dict(where)

    def resolve(self) -> Mapping[str, Any]:
        """Return the address given at construction."""
        return self._where

    def forget(self) -> None:
        """Do nothing: there is no other address."""


class SentinelEndpoint:
    """The master of a service, as the sentinels name it.

    They are asked for each new connection, in turn until one answers; that one is asked first
    the next time. An answer is not remembered: after a failover the old master closes its
    connections, and what is opened then must go to the new one.
    """

    def __init__(
        self,
        service: str,
        sentinels: tuple[tuple[str, int], ...],
        factory: WireFactory,
        remap: Callable[[tuple[str, int]], tuple[str, int]] | None = None,
    ) -> None:
        self._service = service
        self._sentinels = list(sentinels)
        self._factory = factory
        self._remap = remap

    def resolve(self) -> Mapping[str, Any]:
        """Return the address of the master.

        Raises:
            redis.ConnectionError: No sentinel can be reached, or none knows the service.
        """
        reasons = []
        for host, port in list(self._sentinels):
            try:
                reply = self._ask_one(host, port)
            except CLIENT_ERRORS as error:
                reasons.append(f"{host}:{port}: {error}")
                continue
            if reply is None:
                reasons.append(f"{host}:{port}: does not know the service")
                continue
            # One assignment: other threads may be asking at the same time.
            self._sentinels = sorted(self._sentinels, key=(host, port).__ne__)
            address = (reply[0].decode(), int(reply[1]))
            if self._remap is not None:
                address = self._remap(address)
            return {"host": address[0], "port": address[1]}
        raise redis_errors.ConnectionError(
            f"no sentinel names a master for {self._service!r} ({'; '.join(reasons)})"
        )

    def forget(self) -> None:
        """Do nothing: nothing is remembered."""

    def _ask_one(self, host: str, port: int) -> Any:
        wire = Wire(self._factory.open({"host": host, "port": port}))
        try:
            return wire.call(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service))
        finally:
            wire.close()


_ASKING = ("ASKING",)


class Node:
    """One server: a pool for short commands, another one for blocking commands."""

    def __init__(self, endpoint: Endpoint, factory: WireFactory, *, wait_seconds: float) -> None:
        """Create the pools; nothing is connected yet.

        Args:
            endpoint: Where the server is.
            factory: How connections are opened.
            wait_seconds: How long a call waits for a free connection.
        """
        self._endpoint = endpoint
        self._factory = factory
        self._pool = Pool(self._open, wait_seconds=wait_seconds)
        self._blocking_pool = Pool(self._open, limit=MAX_BLOCKED, wait_seconds=wait_seconds)

    def call(self, args: tuple[Any, ...]) -> Any:
        """Send one command once and return its reply; raises redis-py's errors."""
        return self._use(self._pool, lambda wire: wire.call(args))

    def call_confirmed(self, args: tuple[Any, ...], replicas: int, *, asking: bool = False) -> Any:
        """Like :meth:`call` for a write that so many replicas are to have when this returns.

        Raises:
            NotReplicated: Fewer had it after :data:`CONFIRM_SECONDS`; the server itself has it.
        """

        def call(wire: Wire) -> Any:
            if asking:
                wire.call(_ASKING)
            reply = wire.call(args)
            # By the same connection: Redis waits for what this one has written.
            found = int(wire.call(("WAIT", replicas, int(CONFIRM_SECONDS * 1000))))
            if found < replicas:
                raise NotReplicated(
                    f"Redis has carried it out, but only {found} of {replicas} replicas had it "
                    f"after {CONFIRM_SECONDS:g} s; start the task again under the same ID"
                )
            return reply

        return self._use(self._pool, call)

    def call_asking(self, args: tuple[Any, ...]) -> Any:
        """Like :meth:`call` for a slot that is on its way to this node."""
        return self._use(self._pool, lambda wire: wire.call_in_turn([_ASKING, args])[-1])

    def call_blocking(
        self,
        seconds: float,
        args: tuple[Any, ...],
        *,
        then: tuple[Any, ...] = (),
        asking: bool = False,
    ) -> Any:
        """Like :meth:`call` for a command that the server may hold for ``seconds``.

        With ``then`` a second command travels along, and its reply is returned.
        """
        commands = [args, then] if then else [args]
        if asking:
            commands = [one for command in commands for one in (_ASKING, command)]

        def call(wire: Wire) -> Any:
            wire.set_timeout(seconds + BLOCKING_MARGIN)
            return wire.call_in_turn(commands)[-1]

        return self._use(self._blocking_pool, call)

    def _use(self, pool: Pool, call: Callable[[Wire], Any]) -> Any:
        wire = pool.take()
        try:
            reply = call(wire)
        except (ERROR_REPLY, NotReplicated):
            pool.give(wire)
            raise
        except BaseException:
            pool.drop(wire)
            raise
        pool.give(wire)
        return reply

    def open_feed(self) -> Feed:
        """Return a connection of its own for pub/sub.

        Raises:
            RedisUnavailable: The server cannot be reached.
            RedisRejected: It refuses the credentials.
        """
        try:
            return Feed(Wire(self._open()))
        except CLIENT_ERRORS as error:
            self.failed(error)
            raise translate(error, "SUBSCRIBE") from error

    def failed(self, error: Exception) -> None:
        """Forget sockets and address if ``error`` says that the server is gone or was demoted."""
        if is_disconnect(error):
            self.reset()

    def reset(self) -> None:
        """Close idle connections now, those in use at their return, and look up the address."""
        self._endpoint.forget()
        self._pool.clear()
        self._blocking_pool.clear()

    def _open(self) -> Connection:
        return self._factory.open(self._endpoint.resolve())


class Feed:
    """A raw pub/sub connection to one server; belongs to one greenlet or thread."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        # redis-py would connect again by itself, without the subscriptions.
        self._is_open = True

    def send(self, *args: Any) -> None:
        """Send one command; its reply arrives among the messages.

        Raises:
            RedisUnavailable: The connection broke; it is closed.
        """
        self._check_open()
        try:
            connection = self._wire.connection
            connection.send_packed_command(connection.pack_command(*args), check_health=False)
        except BaseException as error:
            self._close_after(error, args[0])
            raise

    def read(self, timeout: float) -> list[Any] | None:
        """Return the next message or confirmation as the server sent it, None after ``timeout``.

        Args:
            timeout: Seconds to wait for its first byte; 0 looks only at what is there.

        Raises:
            RedisUnavailable: The connection broke; it is closed.
            RedisRejected: The server refused a subscription; the connection is closed.
        """
        self._check_open()
        try:
            connection = self._wire.connection
            if not connection.can_read(timeout):
                return None
            reply = connection.read_response()
        except BaseException as error:
            self._close_after(error, "SUBSCRIBE")
            raise
        if isinstance(reply, list):
            return reply
        # Without a subscription a PING is answered by a plain string.
        return [b"pong", reply]

    def wait(self, timeout: float, wakeup: int) -> bool:
        """Wait for a message, or until somebody wakes us.

        Args:
            timeout: Seconds to wait.
            wakeup: A file descriptor that can be read when we are to wake.

        Returns:
            Whether we are.

        Raises:
            RedisUnavailable: The connection broke; it is closed.
        """
        self._check_open()
        try:
            connection = self._wire.connection
            if connection.can_read(0):
                return False
            poll = select.poll()
            poll.register(connection._sock, select.POLLIN)
            poll.register(wakeup, select.POLLIN)
            return any(number == wakeup for number, _ in poll.poll(max(0.0, timeout) * 1000))
        except BaseException as error:
            self._close_after(error, "SUBSCRIBE")
            raise

    def close(self) -> None:
        """Close the socket; safe to repeat."""
        self._is_open = False
        self._wire.close()

    def _close_after(self, error: BaseException, command: Any) -> None:
        """Close, for a reply may be half read; raise what an error of the client means."""
        self.close()
        if isinstance(error, CLIENT_ERRORS):
            raise translate(error, command) from error

    def _check_open(self) -> None:
        if not self._is_open:
            raise RedisUnavailable("the subscription's connection is closed")
