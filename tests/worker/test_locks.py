"""Locks: one holder at a time in the whole fleet."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from pytask import InvalidTask, LockLost, PyTaskHelpers, Task, WaitTimeout
from pytask.exceptions import TaskStateError
from tests.support.process import bare_environment
from tests.support.waiting import wait_until
from tests.worker.conftest import Serve

release = Event()
events: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_happened() -> Iterator[None]:
    events.clear()
    release.clear()
    yield
    release.set()


@pytest.fixture
def helpers(address: Any, namespace: Any) -> Iterator[PyTaskHelpers]:
    with PyTaskHelpers(address, **namespace.options) as made:
        yield made


def forget(helpers: PyTaskHelpers, name: str) -> None:
    """Take a lock away from its holder, as its time-out would."""
    pool = f"lock:{name}"
    helpers.store._link.execute("DEL", helpers.keys.of(pool).permits(pool))


def test_one_holds_it_at_a_time(helpers: PyTaskHelpers) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(3):
            with helpers.lock("a") as lock:
                inside.append(number)
                most.append(len(inside))
                events.append(lock.fence)
                gevent.sleep(0.001)
                inside.remove(number)

    gevent.joinall([gevent.spawn(work, number) for number in range(5)], raise_error=True)
    assert max(most) == 1
    assert events == sorted(set(events))
    assert len(events) == 15


def test_another_name_is_another_lock(helpers: PyTaskHelpers) -> None:
    with helpers.lock("a"), helpers.lock("b", wait=0), helpers.lock("ä {x}:waiting", wait=0):
        pass


def test_who_does_not_get_it_in_time_is_told(helpers: PyTaskHelpers) -> None:
    with helpers.lock("a"):
        for wait in (0, 0.05):
            with pytest.raises(WaitTimeout, match="lock 'a' was held by somebody else for 0"):
                helpers.lock("a", wait=wait).acquire()
    with helpers.lock("a", wait=0) as lock:
        assert lock.held and not lock.lost
        lock.check()
    assert not lock.held


def test_it_is_held_for_as_long_as_it_takes(helpers: PyTaskHelpers) -> None:
    pool = "lock:a"
    key = helpers.keys.of(pool).permits(pool)

    def runs_out_at() -> float:
        return float(helpers.store._link.execute("ZRANGE", key, 0, 0, "WITHSCORES")[1])

    with helpers.lock("a", timeout=3.0) as lock:
        for _ in range(2):
            before = runs_out_at()
            wait_until(lambda before=before: runs_out_at() > before, message="it was renewed")
            lock.check()
            with pytest.raises(WaitTimeout):
                helpers.lock("a", wait=0).acquire()


def test_a_holder_that_dies_frees_it_after_its_timeout(
    address: Any, helpers: PyTaskHelpers
) -> None:
    with PyTaskHelpers(address, **vars(helpers.settings)) as dying:
        lost = dying.lock("a", timeout=0.2).acquire()
        dying._renewer.remove(lost)  # nobody renews it any more
        with helpers.lock("a") as lock:
            assert lock.fence > lost.fence
            assert lost.lost


def test_a_holder_that_lost_it_learns_that(helpers: PyTaskHelpers) -> None:
    with (
        pytest.raises(LockLost, match="lost before it was released"),
        helpers.lock("a", timeout=0.4) as lock,
    ):
        forget(helpers, "a")
        with helpers.lock("a", wait=5) as other:
            wait_until(lambda: lock.lost)
            with pytest.raises(LockLost, match="lock 'a' is lost"):
                lock.check()
    assert other.fence > lock.fence


def test_an_error_of_the_block_is_not_hidden_by_the_loss(helpers: PyTaskHelpers) -> None:
    with pytest.raises(ZeroDivisionError), helpers.lock("a", timeout=0.4) as lock:
        forget(helpers, "a")
        wait_until(lambda: lock.lost)
        _ = 1 / 0


def test_a_lock_can_be_used_again_but_not_twice_at_a_time(helpers: PyTaskHelpers) -> None:
    lock = helpers.lock("a")
    with pytest.raises(TaskStateError, match="has not been acquired"):
        _ = lock.fence
    with lock:
        first = lock.fence
        with pytest.raises(TaskStateError, match="held by this object already"):
            lock.acquire()
    with lock:
        assert lock.fence > first
    lock.release()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": ""}, "name of a lock"),
        ({"name": "a\n"}, "name of a lock"),
        ({"timeout": 0}, "timeout=0 of lock 'a': seconds from 0.1"),
        ({"timeout": "1"}, "timeout='1' of lock 'a'"),
        ({"wait": -1}, "wait=-1 of lock 'a': seconds from 0"),
        ({"wait": True}, "wait=True of lock 'a'"),
    ],
)
def test_what_cannot_be_used_is_named(
    helpers: PyTaskHelpers, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidTask, match=says):
        helpers.lock(**{"name": "a", **options})


def test_the_renewer_ends_when_nothing_is_held(helpers: PyTaskHelpers) -> None:
    with helpers.lock("a"), helpers.lock("b"):
        assert [one.name for one in threading.enumerate()].count("pytask-locks") == 1
    wait_until(lambda: "pytask-locks" not in [one.name for one in threading.enumerate()])


def test_one_that_is_interrupted_while_it_waits_leaves_nothing(helpers: PyTaskHelpers) -> None:
    with helpers.lock("a"):
        waiting = gevent.spawn(helpers.lock("a").acquire)
        gevent.sleep(0.05)
        waiting.kill()
    helpers.lock("a", wait=0).acquire().release()


class Locks(Task):
    """Holds a lock until it is released."""

    NAME = "locks"

    def start(self) -> int:
        with self.lock("shared", timeout=5) as lock:
            events.append(self.id)
            release.wait()
            return lock.fence


def test_a_task_that_is_stopped_gives_its_lock_back(serve: Serve) -> None:
    worker = serve(Locks)
    first = worker.start("locks")
    wait_until(lambda: events == [first])
    second = worker.start("locks")
    pool = "lock:shared"
    key = worker.helpers.keys.of(pool).permits(pool)
    (holder,) = worker.helpers.store._link.execute("ZRANGE", key, 0, -1)
    assert holder.decode().endswith(f" {first}")
    worker.helpers.stop_task(first)
    wait_until(lambda: events == [first, second])
    release.set()
    assert worker.wait_for(second, "SUCCESS") > 0


PLAIN = """
import sys, threading, time
from pytask import PyTaskHelpers
assert "gevent" not in sys.modules
helpers = PyTaskHelpers(sys.argv[1], task_set=sys.argv[2], task_prefix=sys.argv[2] + "-",
                        new_queue=sys.argv[2] + "n", end_queue=sys.argv[2] + "e")
inside = most = 0
def work():
    global inside, most
    for _ in range(3):
        with helpers.lock("a") as lock:
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            inside -= 1
threads = [threading.Thread(target=work) for _ in range(4)]
[one.start() for one in threads]
[one.join() for one in threads]
with helpers.lock("a", timeout=1.5) as lock:
    time.sleep(2.0)
    lock.check()
assert most == 1
print("as it should be")
"""


@pytest.mark.topologies("valkey")
def test_it_works_in_threads_without_gevent(address: str, namespace: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, address, namespace.names["task_set"]],
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "as it should be\n", done.stderr
