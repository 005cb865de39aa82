"""A quiet stage for measurements: servers, workers, an observer; one fault at a time, or none."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
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
    """

    def __init__(
        self, settings: dict[str, Any], workers: int = 2, topology: str = "single"
    ) -> None:
        audit.install()
        self.settings = settings
        self.directory = Path(tempfile.mkdtemp(prefix="pytask-stage-"))
        self.events_in = self.directory / "history"
        self.events_in.mkdir()
        self.record = history.Recorder(self.events_in, "stage")
        self.target: Target = TARGETS[topology]("redis")
        self.admin = Admin(self.target, settings, self.record)
        config = self.directory / "config.json"
        place = {"address": self.target.direct, "routes": []}
        save(
            config,
            {
                "seed": 0,
                "directory": str(self.events_in),
                "settings": {**settings, "partitions": self.target.partitions},
                "monitor": {"task_timeout": settings.get("task_timeout", 60)},
                "places": [place] * workers,
            },
        )
        self.fleet = Fleet(
            [Member("worker", number, config, self.directory) for number in range(workers)]
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

    def submit(self, kind: str, ids: Iterable[str], seconds: float = 0.0) -> list[str]:
        """Start tasks of one kind; all of them are there afterwards."""
        names, data = list(ids), to_json({"seconds": seconds})
        self.record("enq.invoke", ids=names)
        self.admin.store.patient(30).enqueue([NewTask(one, f"chaos/{kind}", data) for one in names])
        self.record("enq.ok", ids=names)
        return names

    def states(self, ids: Iterable[str]) -> list[str | None]:
        return [self.admin.store.read_fields(one, ["state"])[0] for one in ids]

    def are(self, ids: list[str], state: str) -> bool:
        return all(found == state for found in self.states(ids))

    def remove(self, ids: Iterable[str]) -> None:
        """Make them go away, running or not."""
        for one in ids:
            self.record("remove.invoke", id=one)
            self.admin.store.remove(one, True)

    def member_of(self, worker: str) -> Member:
        """Return the process of a worker."""
        pids = {
            event["worker"]: event["pid"]
            for event in history.read_all(self.events_in)
            if event["ev"] == "worker"
        }
        return next(one for one in self.fleet.workers if one.pid == pids[worker])

    def busiest(self, ids: Iterable[str]) -> Member:
        """Return the process that runs most of these tasks."""
        owners = [self.admin.store.read_fields(one, ["worker"])[0] for one in ids]
        return self.member_of(max((one for one in owners if one), key=owners.count))

    def evidence(self) -> Evidence:
        return Evidence(
            audit=self.admin.read_audit(),
            history=history.read_all(self.events_in),
            codes=self.admin.read_codes(),
        )
