"""A TCP proxy in front of a server whose faults are switched at run time.

    with Proxy(server.address) as proxy:
        proxy.cut_on_reply(request=b"EVALSHA")   # done on the server, unknown to the client
        ...
        proxy.allow()

It runs in a process of its own (:mod:`tests.support.proxy_process`), so that a
test that stops its own event loop or is stopped by SIGSTOP does not stop the
network with it. Each call returns after the new mode took effect.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import process
from .ports import free_port, release_port

HOST = "127.0.0.1"


class Proxy:
    """A switchable connection to one server.

    Args:
        target: Host and port of the server, or a ``Server``'s ``address``.
    """

    def __init__(self, target: tuple[str, int]):
        self.target = target
        self.host = HOST
        self.port = free_port()
        program = Path(__file__).with_name("proxy_process.py")
        words = [sys.executable, "-I", str(program), str(self.port), target[0], str(target[1])]
        self._process = process.spawn(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._answer()  # it listens

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to."""
        return self.host, self.port

    @property
    def url(self) -> str:
        """The proxy as ``redis://``."""
        return f"redis://{self.host}:{self.port}/0"

    @property
    def counts(self) -> dict[str, int]:
        """Totals: connections, requests, replies, cut, swallowed, dropped."""
        return dict(self._call("counts"))

    def allow(self) -> None:
        """Pass everything (again); held-back bytes of a black hole are lost."""
        self._call("mode", name="pass")

    def delay(self, seconds: float) -> None:
        """Deliver each reply late by so many seconds."""
        self._call("mode", name="delay", seconds=seconds)

    def cut_on_reply(self, *, after: int = 0, times: int = 1, request: bytes = b"") -> None:
        """Close the connection in place of a reply: the work is done, the client is not told.

        Args:
            after: Let so many matching replies pass first.
            times: Cut so many connections, then pass again.
            request: Count only replies to requests that contain these bytes.
        """
        self._call("mode", name="cut", after=after, times=times, request=request.decode("latin-1"))

    def swallow_replies(self, *, request: bytes = b"") -> None:
        """Lose replies and keep connections open: clients run into their time-out."""
        self._call("mode", name="swallow", request=request.decode("latin-1"))

    def drop_requests(self, *, request: bytes = b"") -> None:
        """Lose requests on their way: the server never sees them."""
        self._call("mode", name="drop", request=request.decode("latin-1"))

    def black_hole(self) -> None:
        """Accept connections and move no byte in either direction (a half-open network)."""
        self._call("mode", name="hole")

    def refuse(self) -> None:
        """Reset all connections and stop listening."""
        self._call("mode", name="refuse")

    def disconnect(self) -> None:
        """Reset the connections that exist now; new ones are served as before."""
        self._call("disconnect")

    def close(self) -> None:
        """End the proxy process."""
        process.end(self._process)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        release_port(self.port)

    def _call(self, verb: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        line = json.dumps({"verb": verb, **arguments})
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the proxy process ended")
        return json.loads(line)
