"""F19 and F20: each call of a client and of a worker, with its request or its reply lost."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from pytask.helpers import PyTaskHelpers
from pytask.scripts import load
from tests.faults.conftest import FAST, STEADY, Launch, of_state, record_of, state_of
from tests.support.proxy import Proxy
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.topologies("valkey")

#: What a client calls, and how to make it: a name, and what to do with a running and an ended task.
CLIENT_CALLS: dict[str, Callable[[Any, str, str], Any]] = {
    "enqueue": lambda client, running, ended: client.start_task("echo"),
    "stop": lambda client, running, ended: client.stop_task(running),
    "reload": lambda client, running, ended: client.reload_task(running),
    "restart": lambda client, running, ended: client.restart_task(ended),
    "remove": lambda client, running, ended: client.remove_task(ended),
}
#: What a worker calls while it works, has a Monitor and a Cleanup, and a neighbour has died.
WORKER_CALLS = ("reap", "give_back", "forget_worker", "beat_worker", "claim", "heartbeat", "finish")
WORKER_CALLS += ("promote", "read_workers", "take_ended", "acknowledge_ended", "sweep")


@pytest.fixture
def relay(proxy: Any, valkey_server: Any) -> Proxy:
    made: Proxy = proxy(valkey_server)
    return made


@pytest.fixture
def far_helpers(relay: Proxy, namespace: Any) -> Iterator[Any]:
    """A client behind the relay."""
    with PyTaskHelpers(relay.url, **namespace.options) as helpers:
        yield helpers


def lose_the_reply(relay: Proxy, name: str) -> None:
    relay.cut_on_reply(request=load(name).sha.encode())


def lose_the_request(relay: Proxy, name: str) -> None:
    relay.drop_requests(request=load(name).sha.encode())


def is_lost(relay: Proxy, before: dict[str, int]) -> bool:
    """Whether the fault has happened; a lost request is then followed by a cut connection."""
    counts = relay.counts
    if counts["dropped"] > before["dropped"]:
        relay.allow()
        relay.disconnect()
        return True
    return counts["cut"] > before["cut"]


Lose = Callable[[Proxy, str], None]


def check_client_calls(lose: Lose, relay: Proxy, far_helpers: Any, launch: Launch) -> list[str]:
    """Let each call of a client go wrong once; every answer is that of a call that did not."""
    worker = launch()
    running = far_helpers.submit("sleeper", {}, task_id="running").id
    ended = far_helpers.start_task("echo", task_id="ended")
    worker.wait_for_event("started")
    of_state(far_helpers, [ended], "SUCCESS")
    expected_runs = [ended]
    for name in ("reload", "stop", "enqueue", "restart", "remove"):
        before = relay.counts
        lose(relay, name)
        call = gevent.spawn(CLIENT_CALLS[name], far_helpers, running, ended)
        wait_until(lambda before=before: is_lost(relay, before), message=name)
        answer = call.get(timeout=PATIENCE)
        assert answer, name
        if name == "enqueue":
            expected_runs.append(answer)
            of_state(far_helpers, [answer], "SUCCESS")
        elif name == "stop":
            of_state(far_helpers, [running], "STOPPED")
        elif name == "reload":
            worker.wait_for_event("started", id=running, count=2)
        elif name == "restart":
            expected_runs.append(ended)
            wait_until(lambda: sorted(ids_of(worker, "echo")) == sorted(expected_runs))
            of_state(far_helpers, [ended], "SUCCESS")
    assert record_of(far_helpers, ended) == {}
    assert ids_of(worker, "started") == [running] * 2
    return sorted(ids_of(worker, "echo"))


def ids_of(worker: Any, event: str) -> list[str]:
    return [str(one["id"]) for one in worker.events if one["event"] == event]


def check_worker_calls(lose: Lose, relay: Proxy, launch: Launch, helpers: Any, dump: Any) -> None:
    """Let each call of a worker go wrong once; every task runs once and ends once."""
    victim = launch(queues=["victim"], **FAST)
    orphan = helpers.submit("sleeper", {"seconds": 0, "first": 600}, queue="victim").id
    victim.wait_for_event("started")
    local = ('pytask/monitor={"loop_interval": 1.0}', "pytask/cleanup")
    options = {**STEADY, "queues": ["default", "victim"]}
    worker = launch(*local, at=relay.url, **options)
    last = helpers.start_task("sleeper")
    worker.wait_for_event("started", id=last)
    victim.kill()
    ids: list[str] = []
    for name in WORKER_CALLS:
        before = relay.counts
        lose(relay, name)
        deadline = time.monotonic() + PATIENCE
        while not is_lost(relay, before):
            assert time.monotonic() < deadline, f"{name} was not called"
            ids.append(helpers.submit("echo", {}, delay=0.05 * (name == "promote")).id)
            time.sleep(0.05)
    wait_until(lambda: len(ids_of(worker, "echo")) == len(ids))
    wait_until(lambda: helpers.get_end_task_ids() == [], message="Cleanup took all")
    for name in ("requeue", "leave_fleet"):
        before = relay.counts
        lose(relay, name)
        if name == "requeue":
            worker.signal(signal.SIGTERM)
        wait_until(lambda before=before: is_lost(relay, before), message=name)
    assert worker.wait() == 0
    assert sorted(ids_of(worker, "echo")) == sorted(ids)
    assert ids_of(worker, "started") == [last, orphan]
    # All that is left is the task that was requeued, and the worker's farewell.
    assert {
        key: value
        for key, value in dump().items()
        if "worker" not in key and ":partitions" not in key
    } == {
        helpers.keys.of(last).record(last): record_of(helpers, last),
        helpers.keys.of(last).new_queue(): [last],
    }
    assert state_of(helpers, last) == "WAIT"


def test_f19_a_call_of_a_client_whose_reply_is_lost_has_one_effect_and_one_answer(
    relay: Proxy, far_helpers: Any, launch: Launch
) -> None:
    check_client_calls(lose_the_reply, relay, far_helpers, launch)


@pytest.mark.slow
def test_f19_a_call_of_a_worker_whose_reply_is_lost_has_one_effect(
    relay: Proxy, launch: Launch, helpers: Any, dump: Any
) -> None:
    check_worker_calls(lose_the_reply, relay, launch, helpers, dump)


def test_f20_a_call_of_a_client_whose_request_is_lost_has_one_effect_and_one_answer(
    relay: Proxy, far_helpers: Any, launch: Launch
) -> None:
    check_client_calls(lose_the_request, relay, far_helpers, launch)


@pytest.mark.slow
def test_f20_a_call_of_a_worker_whose_request_is_lost_has_one_effect(
    relay: Proxy, launch: Launch, helpers: Any, dump: Any
) -> None:
    check_worker_calls(lose_the_request, relay, launch, helpers, dump)
