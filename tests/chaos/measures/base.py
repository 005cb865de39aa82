"""What all measurements have in common: how big they are, what they tell, how they are judged."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, TypeVar

from ..checker.evidence import Entry
from ..checker.liveness import quantile
from ..options import FAST

T = TypeVar("T")

#: Heartbeats and time-outs as short as settings that suit a good network.
SHORT: dict[str, Any] = {
    **FAST,
    "worker_timeout": 1.0,
    "redis_grace": 0.7,
    "beat_interval": 0.2,
    "update_task_interval": 0.4,
    "task_timeout": 2.0,
    "max_reaps": 50,
}
#: Seconds between two lines of progress where lines cannot be overwritten.
LINE_INTERVAL = 10.0


@dataclass
class Row:
    """One line of the table.

    Attributes:
        what: Was measured.
        measured: As text.
        aim: As text.
        elsewhere: The best that others publish.
        is_met: Whether the aim is met.
        values: The numbers behind the text.
    """

    what: str
    measured: str
    aim: str
    elsewhere: str
    is_met: bool
    values: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as the report reads it, which shows ``measured`` as it is."""
        shown = asdict(self)
        if not self.is_met:
            shown["measured"] += "; **aim missed**"
        return shown


class Session:
    """How big the measurements are, and where they tell how far they are.

    Args:
        full: Whether the size is that of the report, or one for in between.
    """

    def __init__(self, full: bool) -> None:
        self.full = full
        self._name = ""
        self._began = self._told = 0.0

    def pick(self, small: T, full: T) -> T:
        return full if self.full else small

    def begin(self, name: str) -> None:
        self._name, self._began, self._told = name, time.monotonic(), 0.0
        self._write("begins")

    def rounds(self, small: int, full: int) -> Iterator[int]:
        """Count the rounds of a measurement and tell the person at the terminal."""
        total = self.pick(small, full)
        for number in range(total):
            self.tell(f"{number} of {total}")
            yield number

    def tell(self, text: str) -> None:
        """Say how far it is; often enough, not always."""
        now = time.monotonic()
        if sys.stderr.isatty() or now - self._told >= LINE_INTERVAL:
            self._told = now
            self._write(text)

    def end(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")

    def _write(self, text: str) -> None:
        line = f"  {self._name}, {time.monotonic() - self._began:.0f} s: {text}"
        sys.stderr.write(f"\r\033[K{line}" if sys.stderr.isatty() else f"{line}\n")
        sys.stderr.flush()


class Measure(NamedTuple):
    """A measurement: returns its lines, given the session."""

    run: Callable[[Session], list[Row]]

    @property
    def name(self) -> str:
        return self.run.__name__

    @property
    def about(self) -> str:
        return (self.run.__doc__ or "").strip().partition("\n")[0]


class Spread(NamedTuple):
    """Median, 99 % and longest of some durations in seconds."""

    p50: float
    p99: float
    longest: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        ordered = sorted(values)
        assert ordered, "nothing was measured"
        return cls(quantile(ordered, 0.5), quantile(ordered, 0.99), ordered[-1], len(ordered))

    def text(self, unit: str = "s", digits: int = 2) -> str:
        factor = 1000 if unit == "ms" else 1
        parts = " / ".join(f"{part * factor:.{digits}f}" for part in self[:3])
        return f"{parts} {unit} (p50 / p99 / max of {self.count:,})"

    def to_values(self) -> dict[str, float]:
        return self._asdict()


def between(entries: Sequence[Entry], first: str, second: str) -> list[float]:
    """Return the seconds from one transition of a task to the next one of another kind."""
    since: dict[str, float] = {}
    gaps = []
    for entry in entries:
        if entry["s"] == first:
            since[entry["i"]] = entry["at"]
        elif entry["s"] == second and entry["i"] in since:
            gaps.append(entry["at"] - since.pop(entry["i"]))
    return gaps
