"""on_events, remove_event_callback and events: what happens in the fleet is heard."""

import json
import logging
import os
import queue
from itertools import count, islice
from typing import Any

import pytest

from pytask import Notice, PyTaskHelpers, State, WaitTimeout
from pytask.records import Outcome, new_request_id
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.topologies("valkey", "cluster")


class Heard:
    """A callback that remembers its calls."""

    def __init__(self) -> None:
        self._calls: queue.Queue[tuple[str, str, Notice]] = queue.Queue()

    def __call__(self, channel: str, event: str, notice: Notice) -> None:
        self._calls.put((channel, event, notice))

    def get(self) -> tuple[str, str, Notice]:
        return self._calls.get(timeout=PATIENCE)

    def event(self) -> tuple[str, str]:
        """Return the name of the next event, and whose it is."""
        _, event, notice = self.get()
        return event, notice.id

    @property
    def is_empty(self) -> bool:
        return self._calls.empty()


@pytest.fixture
def hear(helpers: Any) -> Any:
    """Listen: ``hear("task", "queued").event()``."""

    def listen(kind: str = "task", event_re: str = ".*") -> Heard:
        heard = Heard()
        helpers.on_events(kind, event_re, heard)
        return heard

    return listen


def claim(helpers: Any, task_id: str, worker: str = "w", queues: Any = ("default",)) -> Any:
    """Claim a task as a worker would."""
    partition = helpers.store.partition_of(task_id)
    reply = helpers.store.claim(
        partition, worker=worker, queues=queues, limit=10, request=new_request_id()
    )
    return next(run for run in reply.claimed if run.task_id == task_id)


def neighbour(helpers: Any, task_id: str) -> str:
    """Return an ID in the partition of another; between partitions messages keep no order."""
    partition_of = helpers.store.partition_of
    others = (f"{task_id}-{number}" for number in count())
    return next(one for one in others if partition_of(one) == partition_of(task_id))


def finish(helpers: Any, run: Any, state: State, output: bytes = b"null", **rest: Any) -> None:
    partition = helpers.store.partition_of(run.task_id)
    helpers.store.finish(partition, [Outcome(run.task_id, run.token, state, output, **rest)])


def test_queued_started_and_done_come_with_the_task(helpers: Any, hear: Any) -> None:
    heard = hear("task", r"queued|started|done")
    task_id = helpers.start_task("x", n=1)
    channel, event, notice = heard.get()
    assert (event, notice.event, notice.id, notice.task) == ("queued", "queued", task_id, "x")
    assert channel == helpers.keys.fleet_channel == notice.channel
    assert notice.record["data"] == '{"n":1}'
    assert notice.state is State.WAIT and notice.output is None

    run = claim(helpers, task_id)
    channel, event, notice = heard.get()
    assert (event, channel) == ("started", helpers.keys.events_channel(task_id))
    assert notice.data == {"attempt": 1}
    assert notice.state is State.RUNNING

    finish(helpers, run, State.SUCCESS, b"[1]")
    _, event, notice = heard.get()
    assert (event, notice.event, notice.data) == ("done", "success", [1])
    assert (notice.state, notice.output) == (State.SUCCESS, [1])


@pytest.mark.parametrize("state", ["SUCCESS", "ERROR", "EXCEPTION", "REVOKED", "STOPPED"])
def test_each_end_has_its_name_and_is_done_too(helpers: Any, hear: Any, state: str) -> None:
    done, named = hear("task", "done"), hear("task", state.lower())
    task_id = helpers.start_task("x")
    finish(helpers, claim(helpers, task_id), State(state))
    assert done.event() == ("done", task_id)
    assert named.event() == (state.lower(), task_id)


def test_a_stop_of_a_waiting_task_and_its_expiry_are_ends(helpers: Any, hear: Any) -> None:
    heard = hear("task", "done")
    stopped = helpers.start_task("x")
    helpers.stop_task(stopped)
    assert heard.event() == ("done", stopped)
    expired = helpers.submit("x", expires=60).id
    helpers.set_task(expired, {"expires": "1"})
    store = helpers.store
    store.claim(
        store.partition_of(expired),
        worker="w",
        queues=["default"],
        limit=10,
        request=new_request_id(),
    )
    _, event, notice = heard.get()
    assert (event, notice.event, notice.id) == ("done", "revoked", expired)


def test_tasks_that_come_into_their_queue_later_are_told_then(helpers: Any, hear: Any) -> None:
    heard = hear("task", "queued|retry|done")
    task_id = helpers.submit("x", delay=0.05).id
    partition = helpers.store.partition_of(task_id)
    assert heard.is_empty
    wait_until(lambda: helpers.store.promote(partition)[0])
    assert heard.event() == ("queued", task_id)
    finish(helpers, claim(helpers, task_id), State.RETRY, b'"again"', delay=0.05)
    _, event, notice = heard.get()
    assert (event, notice.data, notice.state) == ("retry", "again", State.RETRY)
    wait_until(lambda: helpers.store.promote(partition)[0])
    assert heard.event() == ("queued", task_id)
    finish(helpers, claim(helpers, task_id), State.ERROR)
    assert heard.event() == ("done", task_id)
    helpers.restart_task(task_id)
    assert heard.event() == ("queued", task_id)


def test_a_start_that_finds_the_task_waiting_is_not_told(helpers: Any, hear: Any) -> None:
    heard = hear("task", "queued")
    helpers.start_task("x", task_id="one")
    helpers.start_task("x", task_id="one")
    other = helpers.start_task("x", task_id=neighbour(helpers, "one"))
    assert [heard.event(), heard.event()] == [("queued", "one"), ("queued", other)]


def test_tasks_given_back_or_taken_back_are_requeued(helpers: Any, hear: Any) -> None:
    heard = hear("task", "requeued|stopped|removed")
    given, taken = helpers.start_task("x"), helpers.start_task("x")
    run = claim(helpers, given)
    helpers.store.requeue(helpers.store.partition_of(given), [(given, run.token)])
    assert heard.event() == ("requeued", given)
    claim(helpers, given)
    run = claim(helpers, taken) if helpers.get_task(taken, "state") == "WAIT" else None
    helpers.store.requeue(
        helpers.store.partition_of(given), [(given, helpers.get_task(given, "run"))]
    )
    assert heard.event() == ("requeued", given)
    partition = helpers.store.partition_of(taken)
    wait_until(
        lambda: helpers.store.reap(
            partition, task_timeout=60, worker_timeout=0.01, dead_workers=["w"]
        )[1]
    )
    assert heard.event() == ("requeued", taken)
    helpers.remove_task(taken)
    assert heard.event() == ("removed", taken)
    helpers.start_task("x", task_id="flushed")
    helpers.flush_queue("default")
    assert {heard.event()[0] for _ in range(2)} == {"removed"}


def test_local_tasks_that_go_with_their_worker_are_removed(helpers: Any, hear: Any) -> None:
    heard = hear("task", "removed")
    store = helpers.store
    for task_id in ("given", "taken"):
        assert store.start_local(task_id, "x", b"{}", "w", f"1-{task_id}")
    store.requeue(store.partition_of("given"), [("given", "1-given")])
    channel, _, notice = heard.get()
    assert (channel, notice.id) == (helpers.keys.events_channel("given"), "given")
    assert (notice.record, notice.task, notice.state, notice.output) == ({}, None, None, None)
    partition = store.partition_of("taken")
    wait_until(
        lambda: store.reap(partition, task_timeout=60, worker_timeout=0.01, dead_workers=["w"])[1]
    )
    assert heard.event() == ("removed", "taken")


def test_an_event_of_a_task_comes_whatever_its_format(helpers: Any, hear: Any) -> None:
    heard = hear("task", "half.*|queued")
    task_id = helpers.start_task("x")
    assert heard.event() == ("queued", task_id)
    helpers.store.publish(task_id, "halfway", b'{"left": 2}')
    _, event, notice = heard.get()
    assert (event, notice.id, notice.data, notice.task) == ("halfway", task_id, {"left": 2}, "x")
    helpers.store.publish(task_id, "half", b"\xc1\xc4\x01\xff")
    assert heard.get()[2].data == b"\xff"


def test_what_is_no_event_is_no_matter(helpers: Any, hear: Any) -> None:
    heard = hear()
    channel = helpers.keys.events_channel("x")
    for message in (b"", b"\xff\xfe", b"[1]", b'{"event":1}', b"\xc1\xff", b'{"data":"queued"}'):
        helpers.store._link.execute("PUBLISH", channel, message)
    helpers.store._link.execute("PUBLISH", helpers.keys.control_channel("x"), "stop")
    for message in (b"7", b'{"tasks":7}', b'{"tasks":[7]}', b'{"event":"up","worker":[]}'):
        helpers.store._link.execute("PUBLISH", helpers.keys.fleet_channel, message)
    helpers.store.publish("y", "hello")
    assert heard.event() == ("hello", "y")


def test_an_id_of_any_bytes_hides_no_other(helpers: Any, hear: Any) -> None:
    heard = hear("task", "queued")
    odd = b'caf\xe9 "/\\'.decode("utf-8", "surrogateescape")
    helpers.store._link.execute(
        "PUBLISH", helpers.keys.fleet_channel, b'{"event":"queued","tasks":["caf\xe9 \\"\\/\\\\"]}'
    )
    assert heard.event() == ("queued", odd)
    for task_id in ("ü/{}", 'with "quotes"', "with \\"):
        helpers.start_task("x", task_id=task_id)
        assert heard.event() == ("queued", task_id)


def test_workers_come_and_go_once_each(helpers: Any, hear: Any) -> None:
    heard = hear("worker", "up|down")
    store = helpers.store
    for _ in range(2):
        store.beat_worker("a/1", {"host": "h"})
    channel, event, notice = heard.get()
    assert (channel, event) == (helpers.keys.fleet_channel, "up")
    assert (notice.kind, notice.id, notice.record) == ("worker", "a/1", {})
    for _ in range(2):
        store.leave_fleet("a/1")
    assert heard.event() == ("down", "a/1")
    store.forget_worker("a/1")
    store.beat_worker("b", {})
    assert heard.event() == ("up", "b")
    wait_until(lambda: store.forget_worker("b") == 1, message="b is silent for long enough")
    assert heard.event() == ("down", "b")
    store.forget_worker("b")
    store.leave_fleet("b")
    store.beat_worker("b", {})
    assert heard.event() == ("up", "b")


def test_a_callback_that_fails_or_waits_harms_nobody(
    helpers: Any, hear: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("on purpose")

    helpers.on_events("task", "queued", fails)
    heard = hear("task", "queued")
    with caplog.at_level(logging.ERROR):
        first, second = helpers.start_task("x"), helpers.start_task("x")
        assert {heard.event(), heard.event()} == {("queued", first), ("queued", second)}
    assert "on purpose" in caplog.text and first in caplog.text

    gate: queue.Queue[None] = queue.Queue()
    helpers.on_events("task", "done", lambda *_: gate.get())
    workers = hear("worker", "up")
    helpers.stop_task(first)
    helpers.store.beat_worker("w", {})
    assert workers.event() == ("up", "w")
    third = helpers.start_task("x")
    gate.put(None)
    assert heard.event() == ("queued", third)


def test_a_callback_is_called_until_it_is_removed(helpers: Any, hear: Any) -> None:
    one, other = hear("task", "queued"), hear("task", "queued")
    helpers.start_task("x", task_id="a")
    assert one.event() == other.event() == ("queued", "a")
    helpers.remove_event_callback("task", "queued", one)
    for unknown in (("task", "queued", one), ("task", "other", other), ("nothing", "(", other)):
        helpers.remove_event_callback(*unknown)
    helpers.start_task("x", task_id="b")
    assert other.event() == ("queued", "b")
    helpers.remove_event_callback("task", "queued", other)
    assert helpers._listeners == {}
    anew = hear("task", "queued")
    helpers.start_task("x", task_id="c")
    # On a cluster it may hear late what another connection has heard before.
    wait_until(lambda: anew.event() == ("queued", "c"))
    assert one.is_empty and other.is_empty


def test_a_callback_may_remove_itself(helpers: Any, hear: Any) -> None:
    calls = []

    def once(_: str, event: str, notice: Notice) -> None:
        calls.append(notice.id)
        helpers.remove_event_callback("task", "queued", once)

    helpers.on_events("task", "queued", once)
    heard = hear("task", "queued")
    helpers.start_tasks([("x", {})] * 3)
    assert len({heard.event() for _ in range(3)}) == 3
    assert len(calls) == 1


def test_bad_input_is_refused_and_nothing_listens(helpers: Any) -> None:
    for kind, event_re in (("tasks", ".*"), ("task", "(")):
        with pytest.raises(ValueError, match=r"one of task, worker|no regular expression"):
            helpers.on_events(kind, event_re, print)
        with pytest.raises(ValueError, match=r"one of task, worker|no regular expression"):
            helpers.events(kind, event_re)
    assert helpers._listeners == {}


def test_the_iterator_yields_what_happens_from_the_call_on(helpers: Any) -> None:
    before = helpers.start_task("before")
    events = helpers.events("task", "queued|done", timeout=PATIENCE)
    after = helpers.start_tasks([("x", {})] * 5)
    # What was published just before may still be on its way from another node.
    found = list(islice((one for one in events if one.task == "x"), 5))
    assert sorted(one.id for one in found) == sorted(after)
    assert {(one.event, one.task) for one in found} == {("queued", "x")}
    helpers.stop_task(before)
    assert next(one.id for one in events if one.event == "stopped") == before
    assert list(helpers.events("task", "never", timeout=0.05)) == []


def test_many_events_come_with_records_read_in_batches(
    helpers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = type(helpers.store).read_records
    monkeypatch.setattr(
        type(helpers.store),
        "read_records",
        lambda store, ids: (reads.append(len(ids)), read(store, ids))[1],
    )
    events = helpers.events("task", "queued", timeout=PATIENCE)
    ids = helpers.start_tasks([("x", {})] * 1000)
    found = [next(events) for _ in range(1000)]
    assert {one.id for one in found} == set(ids)
    assert all(one.task == "x" for one in found)
    assert len(reads) <= 20


def test_closing_the_helpers_ends_who_listens(helpers: Any, hear: Any) -> None:
    heard = hear("task", "queued")
    events = helpers.events("task")
    listener = helpers._listeners["task"]
    helpers.close()
    assert list(events) == []
    wait_until(lambda: listener._subscription._is_closed, message="the listener ended")
    helpers.start_task("x")
    anew = hear("task", "queued")
    task_id = helpers.start_task("x")
    wait_until(lambda: anew.event() == ("queued", task_id))
    assert heard.is_empty


@pytest.mark.topologies("valkey")
def test_a_lost_connection_is_survived_and_leaves_a_gap(
    valkey_server: Any, proxy: Any, namespace: Any
) -> None:
    relay = proxy(valkey_server)
    with PyTaskHelpers(relay.url, **namespace.options) as helpers:
        all_, queued = Heard(), Heard()
        helpers.on_events("task", ".*", all_)
        helpers.on_events("task", "queued", queued)
        events = helpers.events("task", "gap|queued", timeout=PATIENCE)
        relay.disconnect()
        gap = next(events)
        assert (gap.event, gap.id, gap.record, gap.state) == ("gap", "", {}, None)
        assert all_.event() == ("gap", "")
        task_id = helpers.start_task("x")
        assert all_.event() == queued.event() == ("queued", task_id)
        assert next(events).id == task_id


@pytest.mark.topologies("valkey")
def test_without_redis_it_is_said(disposable_server: Any, namespace: Any) -> None:
    server = disposable_server()
    with PyTaskHelpers(server.url, **{**namespace.options, "redis_patience": 0.3}) as helpers:
        helpers.start_task("x")
        server.stop()
        with pytest.raises(WaitTimeout, match=r"no subscription within 0\.3 s"):
            helpers.on_events("task", ".*", print)
        with pytest.raises(WaitTimeout, match=r"no subscription within 0\.3 s"):
            helpers.events("worker")
        assert helpers._listeners == {}


@pytest.mark.topologies("valkey", "cluster", by_url=True)
@pytest.mark.parametrize("patch", ["", "from gevent import monkey; monkey.patch_all()"])
def test_it_works_in_plain_threads_and_in_greenlets(
    address: Any, namespace: Any, worker_process: Any, helpers: Any, patch: str
) -> None:
    script = f"""
        {patch or "pass"}
        import json, sys, threading

        from pytask import PyTaskHelpers
        from tests.support.tell import tell

        helpers = PyTaskHelpers(json.loads(sys.argv[1]), **json.loads(sys.argv[2]))
        enough = threading.Event()

        def hear(channel, event, notice):
            tell("heard", what=event, id=notice.id, task=notice.task)
            if event == "done":
                enough.set()

        helpers.on_events("task", "queued|started|done", hear)
        events = helpers.events("worker", "up")
        tell("listening")
        tell("worker", id=next(events).id)
        assert enough.wait(60)
        helpers.close()
        tell("gevent", loaded="gevent" in sys.modules)
    """
    # Coverage imports gevent.
    unmeasured = {name: "" for name in os.environ if "COVERAGE" in name}
    program = worker_process(script, [json.dumps(address), namespace.options], **unmeasured)
    program.wait_for_event("listening")
    helpers.store.beat_worker("w", {})
    program.wait_for_event("worker", id="w")
    task_id = helpers.start_task("x")
    program.wait_for_event("heard", what="queued", id=task_id, task="x")
    finish(helpers, claim(helpers, task_id), State.SUCCESS)
    program.wait_for_event("heard", what="started", id=task_id)
    program.wait_for_event("heard", what="done", id=task_id)
    program.wait_for_event("gevent", loaded=bool(patch))
    assert program.wait() == 0
