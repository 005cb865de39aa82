"""What processes say happened: append-only files, one JSON object per line.

A line is written by one ``os.write`` on a descriptor opened with O_APPEND, so a process that is
killed in the next instruction has told everything up to there, and lines never mix.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Environment variable: what the wall clock is ahead of the monotonic one.
EPOCH_IS = "CHAOS_EPOCH"
#: All processes of a run tell the time by the monotonic clock and this, for some of them live by a
#: wall clock that is wrong.
EPOCH = float(os.environ.get(EPOCH_IS) or time.time() - time.monotonic())


def wall() -> float:
    """Return what the wall clock should say."""
    return time.monotonic() + EPOCH


class Recorder:
    """Writes the history of one process.

    Args:
        directory: Of the run.
        role: What the process is; part of the file's name.
    """

    def __init__(self, directory: str | Path, role: str) -> None:
        self.role = role
        self.directory = Path(directory)
        path = self.directory / f"{role}-{os.getpid()}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def __call__(self, event: str, **details: Any) -> None:
        """Record an event, when it happened, and which process says so."""
        line = {"ev": event, "wall": wall(), "says": os.getpid(), **details}
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


def read_all(directory: str | Path, of: str = "*") -> list[dict[str, Any]]:
    """Return the events of all processes, by wall clock; ``by`` names the file of each."""
    events = [event for path in Path(directory).glob(f"{of}.jsonl") for event in _read(path)]
    events.sort(key=lambda event: event["wall"])
    return events


def _read(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        event = json.loads(line)
        event["by"] = path.stem
        yield event
