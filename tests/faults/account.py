"""What must be true of tasks when a fault is over: each ended once, nothing is left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pytask import PyTaskHelpers
from pytask.exceptions import RedisUnavailable
from tests.support.namespace import Namespace
from tests.support.waiting import wait_until

#: A program for ``launch`` whose local tasks take arguments: ``pytask/monitor={...}``.
TUNED = str(Path(__file__).with_name("tuned_program.py"))

Client = Callable[..., Any]

#: The local tasks a worker of these tests may have.
LOCAL = {"pytask/monitor", "pytask/cleanup"}


@pytest.fixture
def client(namespace: Namespace) -> Iterator[Client]:
    """Make clients of the namespace at other places: ``client(server.url)``."""
    made: list[PyTaskHelpers] = []

    def make(address: Any, **options: Any) -> PyTaskHelpers:
        made.append(PyTaskHelpers(address, **{**namespace.options, **options}))
        return made[-1]

    yield make
    for helpers in made:
        helpers.close()


def wait_ended_once(helpers: Any, ids: list[str], timeout: float = 60.0) -> None:
    """Wait until all these tasks succeeded, then check that each did so once.

    Args:
        helpers: A client; no Cleanup may run, the records are looked at.
        ids: All tasks there are.
        timeout: Seconds until the last has ended.
    """

    def missing() -> dict[str, int]:
        states = Counter(helpers.get_task(one, "state") or "no record" for one in ids)
        return {state: count for state, count in states.items() if state != "SUCCESS"}

    wait_until(lambda: not missing(), timeout, lambda: f"all ended; left {missing()}", interval=0.1)
    wait_until(lambda: not left_behind(helpers), message=lambda: f"left: {left_behind(helpers)}")
    assert Counter(helpers.get_end_task_ids()) == Counter(ids)


def left_behind(helpers: Any) -> dict[str, Any]:
    """Return what still waits, runs or is held by somebody, apart from local tasks."""
    store = helpers.store
    active = [one for one in helpers.get_active_task_ids() if task_of(helpers, one) not in LOCAL]
    found = {
        "waiting": helpers.get_new_task_ids(),
        "delayed": list(store.iterate_delayed()),
        "active": active,
        "held": [one for one in set(store.find_claim_lists()) if length(store, one)],
        "leases": store.count()["running"] - len(local_tasks(helpers)),
    }
    return {name: value for name, value in found.items() if value}


def task_of(helpers: Any, task_id: str) -> str | None:
    task: str | None = helpers.get_task(task_id, "task")
    return task


def local_tasks(helpers: Any) -> list[str]:
    """Return the IDs of the local tasks that run."""
    return [one for one in helpers.get_active_task_ids() if task_of(helpers, one) in LOCAL]


def length(store: Any, key: str) -> int:
    return int(store._command("LLEN", key))


@contextmanager
def producing(helpers: Any, make_id: Callable[[int], str], pause: float = 0.01) -> Iterator[Any]:
    """Start small tasks one after the other while the block runs.

    Args:
        helpers: A client; its ``redis_patience`` bounds how long one request is repeated.
        make_id: Given a running number.
        pause: Seconds between two tasks.

    Yields:
        A list that grows by the ID of each task that Redis confirmed.
    """
    confirmed: list[str] = []
    stopping = Event()

    def produce() -> None:
        number = 0
        while not stopping.wait(pause):
            task_id = make_id(number)
            number += 1
            try:
                helpers.start_task("echo", task_id, value=number)
            except RedisUnavailable:
                continue  # perhaps it was started; nobody was promised anything
            confirmed.append(task_id)

    greenlet = gevent.spawn(produce)
    try:
        yield confirmed
    finally:
        stopping.set()
        greenlet.join()
