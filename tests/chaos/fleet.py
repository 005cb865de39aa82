"""The processes of a run: workers in their slots, producers, controllers; ended ones come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.support import process

from . import children, history
from .zones import ROOT


class Member:
    """One process that is started again whenever it has ended.

    Args:
        role: ``worker``, ``producer`` or ``controller``.
        number: Which of them.
        config: Path of the configuration of the run.
        logs: Directory of its output.
        env: Added to its environment.
    """

    def __init__(
        self,
        role: str,
        number: int,
        config: Path,
        logs: Path,
        env: dict[str, str] | None = None,
    ) -> None:
        self.role = role
        self.number = number
        self.starts = 0
        self.paused = False
        self.wanted = True
        self.comes_back_at = 0.0
        #: Exit statuses that no fault explains, and those that need no explanation.
        self.unexpected: list[int] = []
        self.may_end_with: set[int] = set()
        self._config = config
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", history.EPOCH_IS: str(history.EPOCH)}
        self._env |= env or {}
        self._log = logs / f"{role}{number}.log"
        self._process: subprocess.Popen[bytes] | None = None
        #: A fault explains whatever its exit status will be.
        self.excused = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self.is_running and self._process is not None else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def tick(self, now: float, pause: float) -> None:
        """Start it again some time after it ended."""
        if self.is_running or not self.wanted:
            return
        if self._process is not None:
            status = self._process.wait()
            if status not in (0, *self.may_end_with) and not self.excused:
                self.unexpected.append(status)
            self._process = None
            self.comes_back_at = now + pause
        if now >= self.comes_back_at:
            self._start()

    def _start(self) -> None:
        self.starts += 1
        self.paused = self.excused = False
        module = ["-m", "gevent.monkey", "--module", f"tests.chaos.{self.role}"]
        with self._log.open("ab") as log:
            self._process = process.spawn(
                [sys.executable, *module, str(self._config), str(self.number)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self._env,
            )

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        self.excused = True
        self.signal(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it with its children, as a container or a machine is."""
        self.paused = True
        self.signal(signal.SIGSTOP)
        if self.pid is not None:
            children.freeze(self.pid)

    def resume(self) -> None:
        self.paused = False
        self.signal(signal.SIGCONT)
        if self._process is not None:
            # Also of one that has died meanwhile.
            children.wake(self._process.pid)

    def end(self, patience: float) -> None:
        """Ask it to end and wait; kill it if it does not."""
        self.wanted = False
        if self._process is not None:
            process.end(self._process, patience)

    def rss(self) -> int:
        """Resident memory in KiB, 0 if unknown."""
        with suppress(OSError, IndexError, ValueError):
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
            return int(pages) * 4
        return 0

    def descriptors(self) -> int:
        with suppress(OSError):
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        return 0


class Fleet:
    """All members of a run."""

    def __init__(self, members: list[Member], pause: float = 0.4) -> None:
        self.members = members
        self._pause = pause

    def of(self, role: str) -> list[Member]:
        return [member for member in self.members if member.role == role]

    @property
    def workers(self) -> list[Member]:
        return self.of("worker")

    def awake_workers(self) -> Iterator[Member]:
        for member in self.workers:
            if member.is_running and not member.paused:
                yield member

    def tick(self) -> None:
        now = time.monotonic()
        for member in self.members:
            member.tick(now, self._pause)

    def heal(self) -> None:
        for member in self.members:
            member.resume()

    def close(self) -> None:
        for member in self.members:
            member.wanted = False
            member.kill()
        for member in self.members:
            member.end(1.0)
