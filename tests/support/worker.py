"""Run a worker (or any Python program) as a real process and watch what it says.

worker = WorkerProcess('''
    from pytask import PyTask
    from tests.support.tell import tell
    ...
    tell("started", task=self.id)
''', arguments=[address])
worker.wait_for_event("started")
worker.kill()
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import process
from .tell import MARK
from .waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
_ENDED = object()


class WorkerProcess:
    """A Python program under test; its output is collected while it runs.

    Args:
        script: Source text (indented as you like), a path that ends in ``.py``, or
            ``"-m module"``.
        arguments: Its command line; what is no string is passed as JSON.
        env: Added to the environment.
    """

    def __init__(
        self,
        script: str,
        arguments: Sequence[Any] = (),
        env: dict[str, str] | None = None,
    ):
        words = [one if isinstance(one, str) else json.dumps(one) for one in arguments]
        self._source: Path | None = None
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        # Scripts import `tests.support` and, without an installation, `pytask`.
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(ROOT), environment.get("PYTHONPATH")])
        )
        self._lines: list[str] = []
        self.process = process.spawn(
            [sys.executable, *self._program(script), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _program(self, script: str) -> list[str]:
        if script.startswith("-m "):
            return script.split()
        if script.endswith(".py") and "\n" not in script:
            return [script]
        descriptor, name = tempfile.mkstemp(prefix="pytask-script-", suffix=".py")
        with os.fdopen(descriptor, "w") as file:
            file.write(textwrap.dedent(script))
        self._source = Path(name)
        return [name]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line.decode(errors="replace").rstrip("\n"))

    # What it says

    @property
    def output(self) -> str:
        """Everything it wrote to stdout and stderr so far."""
        return "\n".join(self._lines)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Everything it told with ``tell``, in order: ``{"event": name, ...}``."""
        lines = (line.partition(MARK) for line in list(self._lines))
        return [json.loads(text) for _, mark, text in lines if mark]

    def wait_for_line(self, pattern: str, timeout: float = PATIENCE) -> re.Match[str]:
        """Wait until a line of its output matches a regular expression.

        Raises:
            AssertionError: The time ran out or it ended; the message carries its output.
        """

        def found() -> re.Match[str] | None:
            matches = (re.search(pattern, line) for line in list(self._lines))
            return next((one for one in matches if one), None)

        return self.wait_for(found, timeout, f"a line that matches {pattern!r}")

    def wait_for_event(
        self, name: str, timeout: float = PATIENCE, *, count: int = 1, **expected: Any
    ) -> dict[str, Any]:
        """Wait until it told an event.

        Args:
            name: The event.
            timeout: Seconds.
            count: Wait for so many of them.
            expected: Values the event must carry.

        Returns:
            The last of the awaited events.

        Raises:
            AssertionError: The time ran out or it ended; the message carries its output.
        """
        wanted = {"event": name, **expected}

        def found() -> dict[str, Any] | None:
            matches = [one for one in self.events if wanted.items() <= one.items()]
            return matches[count - 1] if len(matches) >= count else None

        return self.wait_for(found, timeout, f"{count} event(s) {wanted}")

    def wait_for(self, found: Callable[[], T | None], timeout: float, what: str) -> T:
        """Wait until a condition holds, as long as the process lives.

        Args:
            found: Polled; a true value ends the wait.
            timeout: Seconds.
            what: What is awaited, for the message.

        Returns:
            The true value.

        Raises:
            AssertionError: The time ran out or it ended; the message carries its output.
        """

        def found_or_ended() -> Any:
            ended = self.process.poll() is not None
            if ended:
                self._reader.join(2)
            return found() or (_ENDED if ended else None)

        def report() -> str:
            return f"{what}; its output:\n{self.output}"

        result: Any = wait_until(found_or_ended, timeout, report)
        if result is _ENDED:
            raise AssertionError(f"ended with {self.process.returncode} before {report()}")
        found_value: T = result
        return found_value

    # What is done to it

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def pause(self) -> None:
        """Freeze it (SIGSTOP), like a machine that swaps or a hypervisor that moves it."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it at this instant (SIGKILL) and wait for its end."""
        self.process.kill()
        self.wait()

    def stop(self, timeout: float = PATIENCE) -> int:
        """Ask it to end (SIGTERM), wait, and return its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end and the last of its output; return its exit status.

        Raises:
            AssertionError: It did not end in time; the message carries its output.
        """
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {timeout:g} s:\n{self.output}") from None
        self._reader.join(5)
        return status

    def close(self) -> None:
        """End it whatever state it is in, and remove the script."""
        if self.running:
            self.resume()
            self.process.kill()
        self.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        if self._source is not None:
            self._source.unlink(missing_ok=True)
