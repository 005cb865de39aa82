"""Worker processes of this program, ``python -m examples.linkcheck.worker``."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]


class WorkersLost(Exception):
    """There is nobody to run the tasks."""


class Workers:
    """Worker processes, which end with us whatever happens.

    Args:
        count: How many.
        redis: URL of the Redis they work for.
        log: Where they write to.
    """

    def __init__(self, count: int, redis: str, log: IO[bytes]) -> None:
        self._log = log
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "examples.linkcheck.worker"],
                cwd=ROOT,
                env={**os.environ, "PYTASK_REDIS": redis},
                # They read until it is closed, even if that is because we were killed.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C is for us; we tell them.
                start_new_session=True,
            )
            for _ in range(count)
        ]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def check(self) -> None:
        """Raise :class:`WorkersLost` if none is left; one takes over what the others ran."""
        if all(process.poll() is not None for process in self._processes):
            self._log.seek(0)
            raise WorkersLost(f"no worker is left; they wrote:\n{self._log.read().decode()}")

    def close(self) -> None:
        """Ask them to end, and wait for that."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
