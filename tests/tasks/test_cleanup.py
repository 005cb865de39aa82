"""Cleanup: the handler first, then the forgetting."""

from typing import Any

import gevent
import pytest
from greenlet import GreenletExit

from pytask import Cleanup, ConfigurationError
from pytask.records import Ended, Outcome, new_request_id
from pytask.states import State
from pytask.tasks import cleanup as module
from pytask.tasks.cleanup import find_handler
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.topologies("valkey")

SEEN: list[tuple[str, str]] = []
FAIL_FIRST: set[str] = set()


def handler(task_id: str, record: dict[str, str]) -> None:
    """Called by the Cleanup under test."""
    SEEN.append((task_id, record["state"]))
    if task_id in FAIL_FIRST:
        FAIL_FIRST.remove(task_id)
        raise RuntimeError("not now")


def end(helpers: Any, state: State, **options: Any) -> str:
    task_id: str = helpers.submit("x", **options).id
    [run] = helpers.store.claim(
        0, worker="w", queues=["default"], limit=1, request=new_request_id()
    ).claimed
    helpers.store.finish(0, [Outcome(task_id, run.token, state, b"1")])
    return task_id


@pytest.mark.parametrize("path", ["nomodule.at.all:f", "json:nothing", "json", "json:__name__"])
def test_a_handler_that_cannot_be_called_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="task_handler"):
        Cleanup(path)


def test_a_handler_may_be_an_attribute_of_an_attribute() -> None:
    assert find_handler("json:JSONDecoder.decode").__name__ == "decode"


def test_a_success_is_forgotten_and_a_failure_is_kept(helpers: Any, bind: Any) -> None:
    good, bad = end(helpers, State.SUCCESS), end(helpers, State.ERROR)
    assert bind(Cleanup()).clean_once(0, "w") == 2
    assert helpers.get_task(good) == {}
    assert helpers.get_task(bad, "state") == "ERROR"
    assert [task_id for task_id, _ in helpers.store.iterate_failed()] == [bad]


def test_a_handler_that_fails_gets_the_task_again(
    helpers: Any, bind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSE", 0.05)
    SEEN.clear()
    first, second = end(helpers, State.SUCCESS), end(helpers, State.SUCCESS)
    FAIL_FIRST.add(first)
    task = bind(Cleanup(f"{__name__}:handler"))
    drain = gevent.spawn(task.start)
    wait_until(lambda: [one for one, _ in SEEN].count(first) == 2)
    wait_until(lambda: helpers.get_task(first) == {} and helpers.get_task(second) == {})
    task.stop()
    drain.get(timeout=PATIENCE)
    assert SEEN.count((second, "SUCCESS")) == 1


def test_it_rides_out_a_foreign_key_and_goes_on(
    helpers: Any, bind: Any, raw: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSE", 0.05)
    queue = helpers.keys.partitions[0].end_queue
    raw.set(queue, "foreign")
    task = bind(Cleanup())
    drain = gevent.spawn(task.start)
    wait_until(lambda: "held up" in caplog.text)
    raw.delete(queue)
    task_id = end(helpers, State.SUCCESS)
    wait_until(lambda: helpers.get_task(task_id) == {})
    drain.kill()


def test_a_copy_in_a_forked_child_handles_nothing_and_gives_nothing_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a task forks has copies of all greenlets, also of those in the middle of a batch."""
    SEEN.clear()
    cleanup = Cleanup(f"{__name__}:handler")
    monkeypatch.setattr(module.os, "getpid", lambda: 1)
    with pytest.raises(GreenletExit):
        cleanup._handle(Ended("x", "1-a", {"state": "SUCCESS"}))
    assert SEEN == []
