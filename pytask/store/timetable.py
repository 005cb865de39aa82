"""When schedules are due: known to all, moved on by whoever is first."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pytask.keys import DEFAULT_QUEUE
from pytask.records import to_text
from pytask.store.calls import Calls


class Tick(NamedTuple):
    """The answer about one schedule; times are Unix seconds on the server's clock."""

    #: Whether this call moved it on.
    moved: bool
    #: When it is due next, None if nobody knows it.
    due: float | None
    now: float


class Timetable(Calls):
    """Verbs of schedules."""

    def server_time(self) -> float:
        """Return the time on the server's clock."""
        seconds, microseconds = self._command("TIME")
        return int(seconds) + int(microseconds) / 1e6

    def know_schedule(self, name: str, next_after: Callable[[float], float]) -> Tick:
        """Make a schedule known, or have it come sooner if it is due too late.

        Args:
            name: Names it.
            next_after: Returns the first due time after an instant.
        """
        return self._tick(name, "", next_after(self.server_time()), "", "", b"", "", 0.0)

    def tick_schedule(
        self,
        name: str,
        *,
        expected: float,
        following: float,
        started: float | None,
        task: str,
        data: bytes,
        queue: str = DEFAULT_QUEUE,
        expires: float = 0.0,
    ) -> Tick:
        """Move a schedule on and start its task, unless somebody else has.

        Args:
            name: Names the schedule.
            expected: The due time it is to be moved on from.
            following: The due time it gets.
            started: The due time to start a task for; None starts none.
            task: What is started.
            data: What it is given, JSON.
            queue: Where it waits.
            expires: Seconds after which it is not started any more; 0: never.
        """
        task_id = "" if started is None else self._id_beside(name, occurrence_id(name, started))
        return self._tick(name, _stamp(expected), following, task_id, task, data, queue, expires)

    def read_schedules(self) -> dict[str, float]:
        """Return when each schedule is due next, in Unix seconds."""
        found: dict[str, float] = {}
        for names in self.keys.partitions:
            flat = self._command("HGETALL", names.schedules)
            for name, due in zip(flat[::2], flat[1::2], strict=True):
                found[to_text(name)] = float(due)
        return found

    def forget_schedule(self, name: str) -> bool:
        """Forget a schedule nobody defines any more; return whether it was known."""
        return bool(self._command("HDEL", self.keys.of(name).schedules, name))

    def _id_beside(self, name: str, task_id: str) -> str:
        """Return an ID that lives in the partition of its schedule, the same for everybody."""
        home, number, found = self.partition_of(name), 0, task_id
        while self.partition_of(found) != home:
            number += 1
            found = f"{task_id}~{number}"
        return found

    def _tick(
        self,
        name: str,
        expected: str,
        following: float,
        task_id: str,
        task: str,
        data: bytes,
        queue: str,
        expires: float,
    ) -> Tick:
        names = self.keys.of(name)
        keys = [
            names.schedules,
            names.record(task_id or name),
            names.new_queue(queue or DEFAULT_QUEUE),
        ]
        named = "" if queue == DEFAULT_QUEUE else queue
        args: list[Any] = [name, expected, _stamp(following), task_id, task, data, named, expires]
        args += (self.keys.wake_channel, names.number, self.keys.fleet_channel)
        code, due, now = self._run("schedule_tick", keys, args)
        return Tick(code == 1, float(due) if due else None, float(now))


def _stamp(instant: float) -> str:
    return f"{instant:.3f}"


def occurrence_id(schedule: str, due: float) -> str:
    """Return the ID of the task of one due time: ``reports/daily@2026-11-21T06:00:00Z``."""
    text = datetime.fromtimestamp(due, UTC).isoformat(timespec="milliseconds")
    return f"{schedule}@{text.removesuffix('+00:00').removesuffix('.000')}Z"
