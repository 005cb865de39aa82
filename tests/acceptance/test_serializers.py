"""A fleet whose members write JSON and MessagePack."""

import os
import signal
from typing import Any

import pytest

from pytask import PyTaskHelpers
from pytask.serializers import is_msgpack
from tests.support.launch import MONITOR, STEADY, Launch
from tests.support.waiting import wait_until

pytestmark = pytest.mark.topologies("valkey", "cluster")


@pytest.mark.slow
def test_a_killed_workers_task_goes_on_at_one_that_writes_the_other_format(
    launch: Launch, address: Any, namespace: Any
) -> None:
    clients = {
        name: PyTaskHelpers(address, **namespace.options, serializer=name)
        for name in ("json", "msgpack")
    }
    packed = launch(serializer="msgpack", **STEADY)
    pids = dict.fromkeys(clients, 0)
    # Each sleeps at its first attempt, in the worker that is killed.
    futures = {
        name: client.submit("sleeper", {"seconds": 0, "first": 600}, cleanup=False)
        for name, client in clients.items()
    }
    packed.wait_for_event("started", count=2)
    plain = launch(MONITOR, serializer="json", **STEADY)
    packed.signal(signal.SIGKILL)

    for name, future in futures.items():
        pids[name] = future.result(60)
        assert clients["json"].get_task(future.id, "attempts") == "2"
        assert is_msgpack(clients["json"].get_task(future.id, "data") or "") is (name == "msgpack")
    assert set(pids.values()) == {plain.pid}
    again = launch(serializer="msgpack", **STEADY)
    plain.stop()
    last = clients["json"].submit("sleeper", {"seconds": 0}, cleanup=False)
    wait_until(lambda: last.done())
    assert last.result() == again.pid != os.getpid()
    assert is_msgpack(clients["json"].get_task(last.id, "output") or "")
    for client in clients.values():
        client.close()
