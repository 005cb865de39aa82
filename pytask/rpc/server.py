"""A server for the WSGI app: a greenlet for each connection, so that who waits holds up nobody.

It is bounded everywhere: connections, bytes of a request, seconds until a request is there and
until it is answered. For TLS, put a reverse proxy before it.
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer

from pytask.exceptions import ConfigurationError
from pytask.rpc.application import MAX_WAIT, RpcApplication, wsgi

logger = logging.getLogger(__name__)

#: Hosts a server on loopback without a token is called by.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
#: Seconds a client may be silent in the middle of a request, or between two.
SILENCE = 30.0
#: Bytes of a refused body that are still read.
_READ_ON = 1_000_000


class Handler(WSGIHandler):
    """One connection, with an end to everything."""

    server: _Server

    def handle(self) -> None:
        """Serve requests until the client leaves, is silent for too long, or misbehaves."""
        self.socket.settimeout(SILENCE)
        super().handle()

    def handle_one_request(self) -> Any:
        """Serve one request, in a bounded time."""
        timer = gevent.Timeout.start_new(self.server.request_seconds)
        try:
            went_well = super().handle_one_request()
            return None if went_well is True and self.server.is_closing else went_well
        except gevent.Timeout as error:
            if error is not timer:
                raise
            return None
        finally:
            timer.close()

    def read_requestline(self) -> Any:
        """Wait for a request, in a way that a stop of the server can end."""
        self.server.resting.add(self.socket)
        try:
            return super().read_requestline()
        finally:
            self.server.resting.discard(self.socket)

    def get_environ(self) -> Any:
        """Return the WSGI environment; what the app leaves of the body is not read for ever."""
        environ = super().get_environ()
        self.wsgi_input: Any = _Rest(self)
        return environ

    def _handle_client_error(self, error: Exception) -> Any:
        # The base class writes tracebacks of what others sent.
        logger.info("a request from %s is no HTTP: %r", self.client_address, error)
        return "400", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class _Rest:
    """What the app has not read of a body; read on a little, so that the client sees the answer."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._body: Any = handler.wsgi_input

    def _discard(self) -> None:
        left = (self._body.content_length or 0) - self._body.position
        if self._body.chunked_input or left > _READ_ON:
            self._handler.close_connection = True
        else:
            self._body._discard()


class _Server(WSGIServer):
    #: Longest time one request may take, in seconds, that until it is there included.
    request_seconds = MAX_WAIT + 2 * SILENCE
    is_closing = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: Connections between two requests.
        self.resting: set[Any] = set()

    def end_connections(self) -> None:
        """End those that ask for nothing, and the others after their answer."""
        self.is_closing = True
        for connection in list(self.resting):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)


class RpcServer:
    """Listens, and serves until it is told to stop.

    Args:
        host: Where to listen.
        port: 0: any that is free.
        application: What answers.
        connections: Most connections at a time; others wait to be accepted.
        max_wait: Longest time a request may wait for tasks, as the application was told.
    """

    def __init__(
        self,
        host: str,
        port: int,
        application: RpcApplication,
        *,
        connections: int = 1_000,
        max_wait: float = MAX_WAIT,
    ) -> None:
        self._application = application
        self._pool = Pool(connections)
        self._server = _Server(
            _listener(host, port),
            application,
            spawn=self._pool,
            handler_class=Handler,
            log=None,
            error_log=logger,
        )
        self._server.request_seconds = max_wait + 2 * SILENCE

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._server.socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def start(self) -> None:
        """Begin to serve; connections are accepted from now on."""
        self._server.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Accept nothing more, end the waits, give the rest so many seconds."""
        self._server.close()
        self._application.close()
        self._server.end_connections()
        self._server.stop(timeout=timeout)


def make_server(
    app: Any,
    bind: str,
    *,
    token: str | None = None,
    allow_without_token: bool = False,
    connections: int = 1_000,
    max_wait: float = MAX_WAIT,
    **options: Any,
) -> RpcServer:
    """Make a server for an app.

    Args:
        app: Whose tasks.
        bind: ``host:port``.
        token: What clients authenticate with.
        allow_without_token: Listen elsewhere than on loopback without a token.
        connections: Most connections at a time.
        max_wait: Longest time a request may wait for tasks, in seconds.
        **options: See :func:`pytask.rpc.wsgi`.

    Raises:
        ConfigurationError: The address cannot be used, or would let everybody in.
    """
    host, port = read_bind(bind)
    on_loopback = is_loopback(host)
    if token is None and not on_loopback and not allow_without_token:
        raise ConfigurationError(
            f"{bind} is reached from elsewhere: give a token, or --allow-without-token if the "
            "network itself keeps strangers out"
        )
    if token is None and on_loopback:
        options.setdefault("hosts", {*LOOPBACK_NAMES, host})
    application = wsgi(app, token=token, max_wait=max_wait, **options)
    return RpcServer(host, port, application, connections=connections, max_wait=max_wait)


def read_bind(bind: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[host]:port``.

    Raises:
        ConfigurationError: It has another form.
    """
    host, colon, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigurationError(f"{bind!r}: HOST:PORT is needed, for example 127.0.0.1:8042")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _listener(host: str, port: int) -> Any:
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise ConfigurationError(f"{host}:{port}: {error.strerror or error}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror or error}"
        ) from None
    return listener
