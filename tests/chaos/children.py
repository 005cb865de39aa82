"""The child processes of workers, as the machine sees them: whose they are, who outlived whom."""

from __future__ import annotations

import os
import signal
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path

#: In the command line of those that execute tasks.
_PROGRAM = b"pytask.concurrency.child"


def children_of(pid: int) -> Iterator[int]:
    """Yield the processes that a process has started, whatever they are."""
    with suppress(OSError):
        for listed in Path(f"/proc/{pid}/task").glob("*/children"):
            yield from map(int, listed.read_text().split())


def task_children_of(pid: int) -> list[int]:
    """Return those of a worker that execute tasks."""
    return [one for one in children_of(pid) if _worker_of(one) == pid]


def strays(directory: Path, workers: Container[int | None]) -> list[int]:
    """Return the children of a run whose worker is not among the living ones.

    Args:
        directory: Where the history of the run goes.
        workers: Process IDs of the living workers.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (worker := _worker_of(int(entry.name))) is not None:
            with suppress(OSError):
                is_ours = str(directory).encode() in (entry / "environ").read_bytes()
                if is_ours and worker not in workers:
                    found.append(int(entry.name))
    return found


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


def _worker_of(child: int) -> int | None:
    """Return the worker a child was started by; None: it is no such child, or has ended."""
    try:
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    if len(words) < 5 or _PROGRAM not in words[2]:
        return None
    return int(words[3])
