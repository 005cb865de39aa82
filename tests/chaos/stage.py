"""A quiet stage for measurements: servers, workers, an observer; one fault at a time, or none."""

from __future__ import annotations

import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pytask.exceptions import PyTaskException
from pytask.records import NewTask, to_json

from . import audit, history
from .admin import Admin, save
from .checker import Evidence
from .fleet import Fleet, Member
from .targets import TARGETS, Target


class Stage:
    """Workers on a server; nothing between them.

    Args:
        settings: Of the workers.
        workers: How many.
        topology: Where.
        audited: Whether the scripts record what they write, which makes them slower.
        appendfsync: Of the servers.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        workers: int = 2,
        topology: str = "single",
        *,
        audited: bool = True,
        appendfsync: str = "everysec",
    ) -> None:
        if audited:
            audit.install()
        else:
            audit.uninstall()
        self.settings = settings
        self.directory = Path(tempfile.mkdtemp(prefix="pytask-stage-"))
        self.events_in = self.directory / "history"
        self.events_in.mkdir()
        self.record = history.Recorder(self.events_in, "stage")
        self.target: Target = TARGETS[topology]("redis", appendfsync)
        self.admin = Admin(self.target, settings, self.record)
        self.config = self.directory / "config.json"
        place = {"address": self.target.direct, "routes": []}
        save(
            self.config,
            {
                "seed": 0,
                "directory": str(self.events_in),
                "audited": audited,
                # The handler of chaos runs fails now and then, and pauses Cleanup by that.
                "handler": None,
                "settings": {**settings, "partitions": self.target.partitions},
                "monitor": {"task_timeout": settings.get("task_timeout", 60)},
                "places": [place] * workers,
            },
        )
        self.fleet = Fleet(
            [Member("worker", number, self.config, self.directory) for number in range(workers)]
        )

    def __enter__(self) -> Self:
        self.fleet.tick()
        self.wait(lambda: len(self.admin.living()) == len(self.fleet.workers))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.fleet.close()
        self.admin.close()
        self.target.close()
        if error is None:
            shutil.rmtree(self.directory)

    def wait(self, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        """Wait for a condition; workers that ended come back meanwhile.

        Raises:
            AssertionError: It did not come true.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.fleet.tick()
            try:
                if condition():
                    return
            except PyTaskException:
                pass
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds:g} s; see {self.directory}")

    def join(self, member: Member) -> None:
        """Start another process beside the workers; it ends with them."""
        self.fleet.members.append(member)
        self.fleet.tick()

    def submit(
        self, kind: str, ids: Iterable[str], seconds: float = 0.0, **options: Any
    ) -> list[str]:
        """Start tasks of one kind; all of them are there afterwards.

        Args:
            kind: Without ``chaos/``.
            ids: Of the tasks.
            seconds: How long they take.
            **options: Further fields of :class:`pytask.records.NewTask`.
        """
        names, data = list(ids), to_json({"seconds": seconds})
        self.enqueue([NewTask(one, f"chaos/{kind}", data, **options) for one in names])
        return names

    def enqueue(self, tasks: list[NewTask]) -> None:
        """Start tasks of any kinds, in this order; all of them are there afterwards."""
        names = [task.task_id for task in tasks]
        self.record("enq.invoke", ids=names)
        self.admin.store.patient(30).enqueue(tasks)
        self.record("enq.ok", ids=names)

    def states(self, ids: Iterable[str]) -> list[str | None]:
        return [self.admin.store.read_fields(one, ["state"])[0] for one in ids]

    def are(self, ids: list[str], state: str) -> bool:
        # The last ones first: while they are not, the others need not be read.
        return all(self.states([one]) == [state] for one in reversed(ids))

    def attempts(self, task_id: str) -> int:
        """Return how often a task was started."""
        return int(self.admin.store.read_fields(task_id, ["attempts"])[0] or 0)

    def remove(self, ids: Iterable[str]) -> None:
        """Make them go away, running or not."""
        for one in ids:
            self.record("remove.invoke", id=one)
            self.admin.store.remove(one, True)

    def owners(self, ids: Iterable[str]) -> dict[str, Member]:
        """Return the process that runs each task."""
        pids = {event["worker"]: event["pid"] for event in self.events("worker")}
        members = {member.pid: member for member in self.fleet.workers}
        names = {one: self.admin.store.read_fields(one, ["worker"])[0] for one in ids}
        return {one: members[pids[name]] for one, name in names.items() if name}

    def busiest(self, ids: Iterable[str]) -> Member:
        """Return the process that runs most of these tasks."""
        owners = list(self.owners(ids).values())
        return max(self.fleet.workers, key=owners.count)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of one name that processes have told so far."""
        return [event for event in history.read_all(self.events_in) if event["ev"] == name]

    def tallies(self) -> Iterator[int]:
        """Yield the number of each start of a ``tally``."""
        for path in self.events_in.glob("*.tally"):
            for (number,) in struct.iter_unpack("<I", path.read_bytes()):
                yield number

    def evidence(self) -> Evidence:
        return Evidence(
            audit=self.admin.read_audit(),
            history=history.read_all(self.events_in),
            codes=self.admin.read_codes(),
        )
