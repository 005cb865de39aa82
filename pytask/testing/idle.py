"""A worker in the test's own process, until there is nothing left to do."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pytask.exceptions import ConfigurationError, WaitTimeout
from pytask.pytask import PyTask
from pytask.records import shown, to_text
from pytask.scripts import Script
from pytask.store import Store

#: Seconds between two looks.
_LOOK = 0.01
#: Most tasks a report names in each place.
_NAMED = 5
#: Ended tasks per call.
_BATCH = 100

#: One look at everything at once: a task that moves on between two commands would be seen by none.
_IDLE = """#!lua
-- idle: read only
-- What a worker that runs now would still do.
--
-- KEYS[1] delayed (zset)  KEYS[2] leases (zset)  KEYS[3] schedules (hash)
-- KEYS[4…] new queues and claim lists (list)
-- ARGV[1] prefix of records
--
-- Returns {number of tasks that wait, some of their IDs, number that are due, some IDs,
-- number that run, some IDs, names of schedules that are due, names of all schedules}
--
--- @include "clock"

local some = 5
local number, waiting, running, late, known = 0, {}, {}, {}, {}
for at = 4, #KEYS do
  number = number + redis.call('LLEN', KEYS[at])
  for _, id in ipairs(redis.call('LRANGE', KEYS[at], -some, -1)) do table.insert(waiting, id) end
end
local time = now()
local count = redis.call('ZCOUNT', KEYS[1], '-inf', stamp(time))
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', stamp(time), 'LIMIT', 0, some)
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if redis.call('HGET', ARGV[1] .. id, 'local') ~= 'true' then table.insert(running, id) end
end
-- What a limit holds back is delayed, and called when its turn comes: that is no matter of time.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. stamp(time), '+inf')) do
  if redis.call('HEXISTS', ARGV[1] .. id, 'held') == 1 then
    count = count + 1
    table.insert(due, id)
  end
end
local schedules = redis.call('HGETALL', KEYS[3])
for at = 1, #schedules, 2 do
  table.insert(known, schedules[at])
  if tonumber(schedules[at + 1]) <= time then table.insert(late, schedules[at]) end
end
return {number, waiting, count, due, #running, running, late, known}
"""

_HOW_TO_PATCH = """\
run_until_idle() runs a worker, which needs the standard library patched before anything else is \
imported. Put this into pytest.ini, or its equivalent into pyproject.toml:

    [pytest]
    addopts = -p pytask.testing.patch"""


class NotIdle(WaitTimeout):
    """There was still something to do when the time was over."""


class Left(NamedTuple):
    """What is left to do."""

    #: How many tasks there are in each place, and some of their IDs.
    tasks: dict[str, tuple[int, list[str]]]
    #: Names of schedules.
    schedules: list[str]

    def __bool__(self) -> bool:
        return bool(self.schedules) or any(number for number, _ in self.tasks.values())


def run_until_idle(app: PyTask, timeout: float = 30.0) -> None:
    """Run a worker here until no task waits, runs or is due; then stop it.

    It is a whole worker, and serves the queues of the app. A task that is delayed, a retry and a
    schedule that are not due yet are left for later: move a :class:`FakeClock` on and run it again.
    Local tasks of the app run meanwhile, and do not count. Ended tasks stay for the test to look
    at; see :func:`clean_up`.

    Args:
        app: The app, on a single server.
        timeout: Real seconds after which it gives up.

    Raises:
        NotIdle: There was still something to do; the message says what. What ran was stopped, and
            waits again.
        ConfigurationError: gevent has not patched the standard library, the app runs already, or
            is on a cluster.
    """
    from gevent import Greenlet, monkey, sleep

    if not monkey.is_module_patched("socket"):
        raise ConfigurationError(_HOW_TO_PATCH)
    if app.helpers.connector.is_cluster:
        raise ConfigurationError("run_until_idle() needs a single server, not a cluster")
    if app.is_at_work:
        raise ConfigurationError("this app runs already")
    outcome: list[BaseException | None] = []
    worker = Greenlet(_run, app, outcome)
    look = _Look(app)
    deadline = time.monotonic() + timeout
    left = Left({}, [])
    worker.start()
    try:
        while not worker.dead:
            left = look()
            if (not left and look.has_begun) or time.monotonic() > deadline:
                break
            sleep(_LOOK)
    finally:
        while not app.is_at_work and not worker.dead:
            sleep(_LOOK)
        app.stop()
        worker.join()
    if outcome[0] is not None:
        raise outcome[0]
    if left:
        raise NotIdle(_report(app, left, timeout))


def _run(app: PyTask, outcome: list[BaseException | None]) -> None:
    try:
        app.run()
    except BaseException as error:
        outcome.append(error)
    else:
        outcome.append(None)


class _Look:
    """Looks whether the worker of an app has anything to do."""

    def __init__(self, app: PyTask) -> None:
        self._app = app
        self._script = Script.parse("idle", _IDLE)
        schedules = app.registry.schedules if app.settings.schedule_periodic else []
        self._expected = {one.name for one in schedules}
        self._queues = dict.fromkeys(app.settings.queues)
        #: Whether the worker has told which queues it serves, which may be more than the app's.
        self.has_begun = False

    def __call__(self) -> Left:
        app = self._app
        if not self.has_begun:
            self._ask_worker()
        names = app.helpers.keys.partitions[0]
        keys = [names.delayed, names.leases, names.schedules]
        for queue in self._queues:
            keys += [names.new_queue(queue), names.new_claim(queue, app.worker_id)]
        reply = app.helpers.link.evalsha(
            self._script.sha, self._script.source, keys, [names.record("")]
        )
        *found, late, known = reply
        places = zip(("wait", "are due", "run"), found[::2], found[1::2], strict=True)
        tasks = {place: (number, [to_text(one) for one in ids]) for place, number, ids in places}
        # One that is not known yet cannot be due, but its worker has to make it known first.
        punctual = {to_text(one) for one in known} - {to_text(one) for one in late}
        return Left(tasks, sorted(self._expected - punctual))

    def _ask_worker(self) -> None:
        for worker in self._app.helpers.store.list_workers():
            if worker.worker == self._app.worker_id:
                self._queues |= dict.fromkeys(worker.queues)
                self.has_begun = True


def _report(app: PyTask, left: Left, timeout: float) -> str:
    lines = [f"still something to do after {timeout:g} s:"]
    for place, (number, ids) in left.tasks.items():
        if number:
            lines.append(f"{number} tasks {place}: {_names(app, ids)}")
    if left.schedules:
        lines.append(f"schedules are due: {', '.join(map(shown, left.schedules[:_NAMED]))}")
    return "\n  ".join(lines)


def _names(app: PyTask, ids: list[str]) -> str:
    named = [f"{shown(one)} ({app.helpers.get_task(one, 'task')})" for one in ids[:_NAMED]]
    return ", ".join(named)


def clean_up(app: PyTask, handler: Callable[[str, dict[str, str]], Any] | None = None) -> int:
    """Do once what the bundled Cleanup does all the time.

    Ended tasks are handed over; successes are forgotten, or kept for ``keep_results``, and failures
    are forgotten when ``keep_failed`` is over.

    Args:
        app: The app.
        handler: Called with ID and record of each ended task; what it raises is raised here.

    Returns:
        How many ended tasks there were.
    """
    store: Store = app.helpers.store
    me, number = f"clean-up-{secrets.token_hex(4)}", 0
    settings = app.settings
    for partition in store.partitions:
        while ended := store.take_ended(partition, me, _BATCH):
            number += len(ended)
            for item in ended:
                if handler is not None:
                    handler(item.task_id, item.record)
            store.acknowledge_ended(
                partition,
                me,
                ended,
                keep_failed=settings.keep_failed > 0,
                keep_results=settings.keep_results,
            )
        store.give_back(partition, worker=me, queues=(), forget=True)
        while store.forget_failed(partition, settings.keep_failed, _BATCH) == _BATCH:
            pass
    return number
