"""Tasks of all kinds, and everything people do to them, over and over again."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any, Self

from pytask.exceptions import TaskFailed
from pytask.helpers import PyTaskHelpers
from pytask.records import NewTask, to_json

from ..stage import Stage


class Traffic:
    """One round after the other; when a round is over, nothing of it is left.

    Args:
        stage: Where; its workers run the tasks.
    """

    #: Tasks of a round, about.
    SIZE = 10_000
    #: How many of these are not simply run.
    ENDS, LATE, WAITING, SERVICES, WATCHED, KEPT = 150, 150, 50, 40, 20, 20

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._store = stage.admin.store.patient(10)
        self._helpers = PyTaskHelpers(stage.target.direct)
        self._names = 0
        #: What was done, how often.
        self.acted: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._helpers.close()

    def run(self, number: int) -> None:
        """Do one round and wait until all of it has ended."""
        first = number * self.SIZE
        self._stage.submit("tally", [f"s{one}" for one in range(first, first + self.SIZE)])
        self._end()
        self._expire()
        self._stop_waiting()
        self._serve()
        self._watch()
        self._keep()
        self._stage.wait(lambda: not self._stage.admin.left(), 120)

    def quiet(self) -> set[str]:
        """Forget the failures, as Cleanup does every minute, and return the names of all keys."""
        for partition in self._store.partitions:
            while self._store.forget_failed(partition, 0.0):
                pass
        link: Any = self._store._link
        return {key.decode() for key in link.scan_iter("*", 1000)}

    def connections(self) -> int:
        """Return how many connections Redis has, our own few included."""
        answer: bytes = self._store._command("INFO", "clients")
        line = next(one for one in answer.splitlines() if one.startswith(b"connected_clients:"))
        return int(line.partition(b":")[2])

    def _new(self, kind: str, count: int, **options: Any) -> list[str]:
        names = [f"{kind}-{self._names + one}" for one in range(count)]
        self._names += count
        data = to_json({"seconds": 0.01})
        self._stage.enqueue([NewTask(one, f"chaos/{kind}", data, **options) for one in names])
        return names

    def _end(self) -> None:
        for kind in ("error", "exception"):
            self._new(kind, self.ENDS)
            self.acted["failed"] += self.ENDS

    def _expire(self) -> None:
        self._new("quick", self.LATE, delay=0.2)
        self._new("quick", self.LATE, delay=0.2, expires=0.1)
        self.acted["delayed"] += self.LATE
        self.acted["expired"] += self.LATE

    def _stop_waiting(self) -> None:
        for one in self._new("quick", self.WAITING, delay=60):
            self._store.stop(one)
            self._store.remove(one)
            self.acted["stopped before the start"] += 1

    def _serve(self) -> None:
        stage, store = self._stage, self._store
        ids = self._new("service", self.SERVICES)
        stage.wait(lambda: stage.are(ids, "RUNNING"))
        for one in ids:
            store.reload(one)
        self.acted["reloaded"] += len(ids)
        half = ids[::2]
        for one in half:
            store.stop(one)
        stage.wait(lambda: stage.are(half, "STOPPED"))
        for one in half:
            store.restart(one)
        stage.wait(lambda: stage.are(half, "RUNNING"))
        self.acted["stopped"] += len(half)
        self.acted["restarted"] += len(half)
        for one in ids[1::2]:
            store.remove(one, force=True)
        self.acted["removed"] += len(ids) - len(half)
        for one in half:
            store.stop(one)
        stage.wait(lambda: stage.are(half, "STOPPED"))
        for one in half:
            store.remove(one)

    def _watch(self) -> None:
        for number in range(self.WATCHED):
            name = "chaos/error" if number % 4 == 0 else "chaos/sleep"
            future = self._helpers.future(f"watched-{self._names + number}")
            future.watch()
            self._helpers.submit(name, {"seconds": 0.005}, task_id=future.id)
            with suppress(TaskFailed):
                future.result(timeout=10)
        self._names += self.WATCHED
        self.acted["watched"] += self.WATCHED

    def _keep(self) -> None:
        ids = self._new("quick", self.KEPT, cleanup=False)
        self._stage.wait(lambda: self._stage.are(ids, "SUCCESS"))
        for one in ids:
            self._store.remove(one)
        self.acted["kept"] += len(ids)
