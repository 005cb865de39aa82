"""What the processes do that are to die: a worker, one that is asked to end, and a client."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from itertools import count
from typing import Any

import gevent
from gevent.event import Event

from pytask import Cleanup, Monitor, PyTask, PyTaskHelpers, Task
from pytask.exceptions import PyTaskException
from pytask.tasks import monitor as monitor_module
from tests.chaos.history import Recorder

#: Everything at a pace that lets a killed worker be missed within seconds.
SETTINGS: dict[str, Any] = {
    "update_task_interval": 0.5,
    "beat_interval": 0.25,
    "worker_timeout": 1.5,
    "redis_grace": 1.0,
    "task_timeout": 10.0,
    "block_seconds": 0.5,
    "stop_timeout": 1.0,
    # Killing workers is what this is about: no task becomes a dead letter.
    "max_reaps": 1_000_000,
    "missing_grace": 1.0,
}

#: A file of this name in the directory of the history ends what starts by itself.
QUIET = "quiet"

WORKER, ENDING, CLIENT = "worker", "ending worker", "client"

#: How long the handler of Cleanup remembers what it was given.
history: Recorder


class Quick(Task):
    """Ends at once."""

    NAME = "quick"

    def start(self) -> str:
        return self.token


class Naps(Task):
    """Takes a moment."""

    NAME = "naps"

    def start(self) -> str:
        gevent.sleep(random.uniform(0.1, 0.8))
        return self.token


class Gated(Task):
    """Takes a moment, four at a time; the first half of it under a lock that few want."""

    NAME = "gated"
    MAX_CONCURRENCY = 4

    def start(self) -> str:
        with self.lock(random.choice("abcdefgh"), timeout=1):
            gevent.sleep(random.uniform(0.02, 0.2))
        gevent.sleep(random.uniform(0.02, 0.3))
        return self.token


class Fails(Task):
    """Ends in ERROR."""

    NAME = "fails"

    def start(self) -> None:
        raise self.Error("as meant")


class Tells(Task):
    """Publishes an event, and starts another task."""

    NAME = "tells"

    def start(self) -> str:
        self.emit("here")
        self.helpers.start_task("quick", f"child-{self.id}")
        return self.token


class Service(Task):
    """Runs until it is stopped."""

    NAME = "service"

    def __init__(self) -> None:
        self._stopping = Event()

    def start(self) -> None:
        self._stopping.wait()

    def stop(self) -> None:
        self._stopping.set()


TASKS = (Quick, Naps, Gated, Fails, Tells, Service, Monitor, Cleanup)


def handle(task_id: str, record: Mapping[str, str]) -> None:
    """Note that Cleanup showed us the end of a task; fail now and then, to be asked again."""
    if random.random() < 0.1:
        raise RuntimeError("asks for another try")
    history("handled", id=task_id, state=record.get("state"))


def hurry_monitors() -> None:
    """Let every Monitor look at everything all the time."""
    monitor_module.LOOK_INTERVAL = 0.4

    class Certain:
        random = staticmethod(lambda: 0.0)

    monitor_module.random = Certain  # type: ignore[assignment]
    logging.getLogger("pytask.monitor").setLevel(logging.ERROR)
    logging.getLogger("pytask.cleanup").setLevel(logging.CRITICAL)


def work(url: str, recorder: Recorder, *, ends_after: float | None, concurrency: int) -> None:
    """Be a worker with Monitor and Cleanup, perhaps for a while only."""
    global history
    history = recorder
    hurry_monitors()
    app = PyTask(url, **SETTINGS, concurrency=concurrency)
    app.add_tasks(*TASKS)
    app.start_local_task("pytask/monitor", loop_interval=0.4, task_timeout=10)
    app.start_local_task("pytask/cleanup", task_handler="tests.crashpoints.roles:handle")
    quiet = recorder.directory / QUIET
    app.schedule(
        "quick",
        name="plain-tick",
        run_every=0.5,
        missed="all",
        is_due=lambda due: not quiet.exists(),
    )
    if ends_after is not None:
        gevent.spawn_later(ends_after, app.stop)
    app.run()


def ask(url: str, recorder: Recorder, *, rounds: int = 100) -> None:
    """Be a client that uses everything a client can."""
    helpers = PyTaskHelpers(url, **SETTINGS, redis_patience=5.0)
    me = random.randrange(10**9)
    for number in range(rounds):
        names = (f"c{me}-{number}-{part}" for part in count())
        try:
            _ask_once(helpers, recorder, names)
        except PyTaskException as error:
            recorder("client error", error=str(error)[:200])
            time.sleep(0.05)


def _ask_once(helpers: PyTaskHelpers, recorder: Recorder, names: Any) -> None:
    def confirmed(*ids: str) -> None:
        for one in ids:
            recorder("confirmed", id=one)

    one, many, late, watched, service = (f"plain-{next(names)}" for _ in range(5))
    helpers.start_task("quick", one)
    confirmed(one)
    group = [f"{many}-{index}" for index in range(3)]
    helpers.start_tasks([{"task": "naps", "task_id": name} for name in group])
    confirmed(*group)
    helpers.submit("quick", task_id=late, delay=0.2)
    confirmed(late)
    future = helpers.submit("quick", task_id=watched, watch=True)
    confirmed(watched)
    service = f"service-{service}"
    helpers.start_task("service", service)
    confirmed(service)
    future.wait(timeout=5)
    helpers.reload_task(service)
    helpers.get_task(service, "state")
    helpers.get_task(service)
    helpers.set_task(service, "note", "by hand")
    helpers.stop_task(service)
    gevent.sleep(0.1)
    helpers.restart_task(service)
    helpers.stop_task(service)
    for look in (helpers.get_active_task_ids, helpers.get_new_task_ids, helpers.get_end_task_ids):
        look()
    with helpers.lock(f"client-{next(names)}", timeout=1):
        gevent.sleep(0.3)
    spare = f"spare-{next(names)}"
    helpers.submit("quick", task_id=spare, queue="nobody")
    helpers.remove_task(spare)
    helpers.pause_queue("nobody")
    helpers.submit("quick", task_id=spare, queue="nobody")
    helpers.queues(scan=False)
    helpers.flush_queue("nobody")
    helpers.resume_queue("nobody")
