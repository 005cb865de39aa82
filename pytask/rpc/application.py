"""HTTP around the protocol: a WSGI app that takes POST requests, under any prefix."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pytask.exceptions import ConfigurationError
from pytask.records import to_json
from pytask.rpc.errors import ErrorCode, internal_error
from pytask.rpc.methods import MethodTable
from pytask.rpc.protocol import RpcRequest, answer, failure
from pytask.rpc.tasks import TaskMethods

if TYPE_CHECKING:
    from pytask.pytask import PyTask

logger = logging.getLogger(__name__)

#: Largest body, in bytes: somewhat more than the largest data of a task.
MAX_BODY = 2_000_000
#: Most calls in one batch.
MAX_BATCH = 100
#: Longest time one request may wait for tasks, in seconds; a whole batch shares it.
MAX_WAIT = 60.0
#: Fewest characters of a token.
SHORTEST_TOKEN = 16

_JSON_TYPES = {"application/json", "application/json-rpc", "application/jsonrequest"}

#: start_response, as PEP 3333 has it.
StartResponse = Callable[..., Any]


class HttpError(Exception):
    """A request that does not get as far as the protocol.

    Args:
        status: Code and reason.
        message: What is wrong with it.
        headers: More of the answer's headers.
    """

    def __init__(self, status: str, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class RpcApplication:
    """The WSGI app; :func:`wsgi` makes it.

    Args:
        methods: What may be called.
        token: What clients authenticate with; None lets everybody in.
        max_body: Largest body, in bytes.
        max_batch: Most calls in one batch.
        max_wait: Longest time one request may wait for tasks, in seconds.
        hosts: Values of the Host header that are served, without ports; None: all. Keeps pages in a
            browser on this machine from reaching a server that asks for no token.

    Raises:
        ConfigurationError: The token is too short, or a bound is none.
    """

    def __init__(
        self,
        methods: MethodTable,
        *,
        token: str | None = None,
        max_body: int = MAX_BODY,
        max_batch: int = MAX_BATCH,
        max_wait: float = MAX_WAIT,
        hosts: Collection[str] | None = None,
    ) -> None:
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ConfigurationError(
                f"the token has less than {SHORTEST_TOKEN} characters; make one with "
                "python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        for name, bound in (("body", max_body), ("batch", max_batch), ("wait", max_wait)):
            if not bound > 0:
                raise ConfigurationError(f"max_{name}={bound!r} is out of range")
        self.methods = methods
        self._token = None if token is None else token.encode()
        self._max_body = max_body
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._hosts = hosts

    def close(self) -> None:
        """End the waits that are under way, with an error that says so."""
        self.methods.tasks.closing = True

    def __call__(
        self, environ: Mapping[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""
        headers: list[tuple[str, str]] = []
        try:
            self._check(environ)
            body = self._read(environ)
            request = RpcRequest(environ, time.monotonic() + self._max_wait)
            reply = answer(body, self.methods.bound_to(request), self._max_batch)
            status = "204 No Content" if reply is None else "200 OK"
        except HttpError as error:
            # The body may not have been read: what follows on the connection is no request.
            headers = [("Connection", "close"), *error.headers]
            reply = to_json(failure(None, ErrorCode.INVALID_REQUEST, str(error)))
            status = error.status
        except Exception as error:
            told = internal_error(error, "a request", {})
            reply = to_json(failure(None, told.code, told.message, told.data))
            status = "500 Internal Server Error"
        if reply is not None:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(reply)))]
        headers += [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
        start_response(status, headers)
        return [] if reply is None else [reply]

    def _check(self, environ: Mapping[str, Any]) -> None:
        host = _host_of(str(environ.get("HTTP_HOST", "")))
        if self._hosts is not None and host not in self._hosts:
            raise HttpError("403 Forbidden", f"this server is not called {host[:100]!r}")
        self._authenticate(str(environ.get("HTTP_AUTHORIZATION", "")))
        if environ.get("PATH_INFO", "") not in ("", "/"):
            raise HttpError("404 Not Found", "there is nothing here; the path is /")
        if environ.get("REQUEST_METHOD") != "POST":
            raise HttpError("405 Method Not Allowed", "calls are sent by POST", ("Allow", "POST"))
        kind = str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
        if kind not in _JSON_TYPES:
            # A page in a browser cannot send this type elsewhere without being allowed to.
            raise HttpError("415 Unsupported Media Type", "the Content-Type is application/json")

    def _authenticate(self, header: str) -> None:
        if self._token is None:
            return
        scheme, _, given = header.partition(" ")
        # WSGI headers are bytes that were read as Latin-1.
        is_right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._token)
        if scheme.lower() != "bearer" or not is_right:
            challenge = ("WWW-Authenticate", 'Bearer realm="pytask"')
            raise HttpError("401 Unauthorized", "Authorization: Bearer … is needed", challenge)

    def _read(self, environ: Mapping[str, Any]) -> bytes:
        stream, length = environ["wsgi.input"], str(environ.get("CONTENT_LENGTH") or "")
        too_long = HttpError(
            "413 Content Too Large", f"the body has more than {self._max_body} bytes"
        )
        if not length:
            is_chunked = "chunked" in str(environ.get("HTTP_TRANSFER_ENCODING", "")).lower()
            if not is_chunked and not environ.get("wsgi.input_terminated"):
                raise HttpError("411 Length Required", "a Content-Length is needed")
            wanted = self._max_body + 1
        elif not (length.isascii() and length.isdigit()):
            raise HttpError("400 Bad Request", "the Content-Length is no number")
        elif len(length) > 18 or int(length) > self._max_body:
            raise too_long
        else:
            wanted = int(length)
        try:
            body = _read_all(stream, wanted)
        except (OSError, ValueError) as error:
            raise HttpError("400 Bad Request", "the body is incomplete") from error
        if len(body) > self._max_body:
            raise too_long
        if length and len(body) < wanted:
            raise HttpError("400 Bad Request", "the body is incomplete")
        return body


def wsgi(
    app: PyTask,
    *,
    token: str | None = None,
    task_request_parameters: Callable[[RpcRequest], Mapping[str, Any]] | None = None,
    methods: TaskMethods | None = None,
    **bounds: Any,
) -> RpcApplication:
    """Return a WSGI app that serves the tasks of an app by JSON-RPC.

    It may be mounted under a prefix of another WSGI app, which can also be what authenticates.

    Args:
        app: Whose tasks.
        token: What clients send as ``Authorization: Bearer …``; None lets everybody in who can
            reach it.
        task_request_parameters: Called with each request that starts a task; see
            :meth:`pytask.rpc.TaskMethods.task_request_parameters`.
        methods: An object of a subclass of :class:`pytask.rpc.TaskMethods`, in place of the
            function.
        **bounds: ``max_body``, ``max_batch``, ``max_wait`` and ``hosts``; see
            :class:`pytask.rpc.RpcApplication`.

    Raises:
        ConfigurationError: The token is too short, a bound cannot be used, or a plug-in has a
            method of a name that is taken.
    """
    tasks = methods if methods is not None else TaskMethods(app, task_request_parameters)
    return RpcApplication(MethodTable(tasks), token=token, **bounds)


def _read_all(stream: Any, wanted: int) -> bytes:
    """Read so many bytes, or all there are."""
    parts: list[bytes] = []
    while wanted > 0 and (part := stream.read(wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def _host_of(header: str) -> str:
    """Return a Host header without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
