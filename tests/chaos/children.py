"""The child processes of workers, as the machine sees them: whose they are, who outlived whom."""

from __future__ import annotations

import os
import signal
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path

#: In the command line of those that execute tasks.
_PROGRAM = b"pytask.concurrency.child"


def children_of(worker: int) -> list[int]:
    """Return the processes that execute tasks for a worker, even if that is gone."""
    return [child for child, parent in _all() if parent == worker]


def strays(directory: Path, workers: Container[int | None]) -> list[int]:
    """Return the children of a run whose worker is not among the living ones.

    Args:
        directory: Where the history of the run goes.
        workers: Process IDs of the living workers.
    """
    return [child for child, worker in _all() if worker not in workers and _is_of(child, directory)]


def send(pid: int, number: int) -> None:
    """Send a signal to a child, unless it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def freeze(pid: int) -> None:
    """Freeze the children of a worker."""
    for child in children_of(pid):
        send(child, signal.SIGSTOP)


def wake(pid: int) -> None:
    """Let them go on."""
    for child in children_of(pid):
        send(child, signal.SIGCONT)


def _all() -> Iterator[tuple[int, int]]:
    """Yield each process that executes tasks, and the worker that has started it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if len(words) > 4 and _PROGRAM in words[2]:
                    yield int(entry.name), int(words[3])


def _is_of(child: int, directory: Path) -> bool:
    with suppress(OSError):
        return str(directory).encode() in Path(f"/proc/{child}/environ").read_bytes()
    return False
