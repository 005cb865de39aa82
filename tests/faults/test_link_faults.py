"""F21 to F27: links that go half-open, slow or deaf, and connections that are cut."""

import logging
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from pytask.connection import connect
from pytask.exceptions import RedisUnavailable
from pytask.helpers import PyTaskHelpers
from tests.chaos.zones import Zone
from tests.faults.conftest import MONITOR, STEADY, Launch, Recovery, of_state, record_of
from tests.support import netns
from tests.support.servers import Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.topologies("valkey")

Client = Callable[[Any], Any]


@pytest.fixture
def client_of(namespace: Any) -> Iterator[Client]:
    """Make a client of a server of the test's own, with the names of the test."""
    made: list[Any] = []

    def make(address: Any) -> Any:
        made.append(PyTaskHelpers(address, **namespace.options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def far(disposable_server: Any, proxy: Any) -> Iterator[Any]:
    """A server with a link to it that can go down: ``url``, ``env``, ``down()``, ``up()``."""
    reason = netns.why_not()
    if not reason:
        link = netns.Link()
        try:
            server = disposable_server("valkey", bind=f"127.0.0.1 {link.host}", protected_mode="no")
            yield SimpleNamespace(
                server=server,
                url=f"redis://{link.host}:{server.port}/0",
                env={"NETWORK": link.name},
                down=link.down,
                up=link.up,
            )
        finally:
            link.close()
        return
    logging.getLogger(__name__).warning("a proxy stands in for the link: %s", reason)
    server = disposable_server("valkey")
    relay = proxy(server)
    yield SimpleNamespace(
        server=server, url=relay.url, env={}, down=relay.black_hole, up=relay.allow
    )


def ticks(worker: Any, attempt: int) -> list[float]:
    return [
        one["at"] for one in worker.events if one["event"] == "tick" and one["attempt"] == attempt
    ]


@pytest.mark.slow
def test_f21_a_worker_whose_link_goes_down_stops_before_others_start_and_writes_nothing(
    far: Any, client_of: Client, launch: Launch
) -> None:
    """Guard, ``redis_grace``; and BLMOVE: what the server hands to the dead link is not lost."""
    helpers = client_of(far.server.url)
    cut_off = launch(at=far.url, env=far.env, **STEADY)
    ticker = helpers.start_task("ticker")
    cut_off.wait_for_event("tick")
    far.down()
    clock = Recovery(STEADY["redis_grace"] + 1.5)
    # The server does not know yet, and moves some of these to the worker it cannot reach.
    ids = [ticker, *helpers.start_tasks([("echo", {})] * 20)]
    cut_off.wait_for_line("running tasks are stopped")
    clock.check()
    other = launch(MONITOR, at=far.server.url, **STEADY)
    other.wait_for_event("tick", attempt=2)
    assert max(ticks(cut_off, 1)) < min(ticks(other, 2)), "two runs at a time"
    of_state(helpers, ids[1:], "SUCCESS")
    assert helpers.get_new_task_ids() == []
    far.up()
    clock = Recovery(5.0)
    cut_off.wait_for_line("Redis answers again")
    clock.check()
    # It knows that its run is over, and takes tasks as before.
    own = helpers.submit("echo", {}).id
    of_state(helpers, [own], "SUCCESS")
    assert record_of(helpers, ticker)["attempts"] == "2"
    assert sorted(helpers.get_end_task_ids()) == sorted([*ids[1:], own])
    other.kill()
    of_state(helpers, [helpers.submit("echo", {}).id], "SUCCESS")
    assert cut_off.stop() == 0


@pytest.mark.slow
def test_f22_a_worker_that_hears_no_replies_stops_and_hoards_nothing(
    launch: Launch, helpers: Any, proxy: Any, valkey_server: Any
) -> None:
    """Its requests arrive: ``Heartbeat._is_unheard`` stops it from seeming alive for ever."""
    relay = proxy(valkey_server)
    deaf = launch(at=relay.url, concurrency=10, **STEADY)
    name = deaf.wait_for_event("ready")["worker"]
    helpers.start_task("ticker")
    deaf.wait_for_event("tick")
    relay.swallow_replies()
    ids = helpers.start_tasks([("echo", {})] * 50)
    deaf.wait_for_line("running tasks are stopped")
    clock = Recovery(STEADY["worker_timeout"] + 3.0)
    other = launch(MONITOR, **STEADY)
    held = [one for one in ids if record_of(helpers, one).get("worker") == name]
    assert len(held) <= 10
    other.wait_for_event("tick")
    of_state(helpers, ids, "SUCCESS")
    clock.check()
    assert max(ticks(deaf, 1)) < min(ticks(other, 2)), "two runs at a time"
    assert deaf.output.count('"echo"') == 0
    relay.allow()
    deaf.wait_for_line("Redis answers again")
    other.kill()
    of_state(helpers, [helpers.start_task("echo")], "SUCCESS")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["delay", "jitter", "trickle", "stall"])
def test_f23_a_slow_link_costs_time_and_no_lease(
    launch: Launch, helpers: Any, valkey_server: Server, how: str
) -> None:
    """With the default settings."""
    zone = Zone([valkey_server.address])
    try:
        worker = launch(at=f"redis://127.0.0.1:{zone.ports[0]}/0")
        launch(MONITOR, queues=["none"])
        ticker = helpers.start_task("ticker")
        worker.wait_for_event("tick")
        if how == "stall":
            os.kill(zone._process.pid, signal.SIGSTOP)
        else:
            zone.mode(how, seconds={"delay": 0.2, "jitter": 0.5, "trickle": 0.005}[how])
        ids = helpers.start_tasks([("echo", {"seconds": 0.05})] * 100)
        if how == "stall":
            time.sleep(2.0)
            os.kill(zone._process.pid, signal.SIGCONT)
        of_state(helpers, ids, "SUCCESS", 60)
        changed_at = float(record_of(helpers, ticker)["last_update"])
        wait_until(lambda: float(record_of(helpers, ticker)["last_update"]) > changed_at)
        ids.append(ticker)
        assert {record_of(helpers, one)["attempts"] for one in ids} == {"1"}
        assert "are stopped" not in worker.output
        others = [one["event"] for one in worker.events if one["event"] != "tick"]
        assert sorted(others) == ["echo"] * 100 + ["ready"]
    finally:
        os.kill(zone._process.pid, signal.SIGCONT)
        zone.close()


@pytest.mark.slow
def test_f24_connections_that_the_server_kills_all_the_time_cost_nothing(
    launch: Launch, helpers: Any, raw: Any
) -> None:
    worker = launch(MONITOR)
    sleeper = helpers.start_task("sleeper")
    ids: list[str] = []
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        ids += helpers.start_tasks([("echo", {})] * 10)
        for kind in ("normal", "pubsub"):
            raw.client_kill_filter(_type=kind, skipme=True)
        time.sleep(0.1)
    clock = Recovery(1.0)
    wait_until(lambda: raw.pubsub_numpat() == 1)
    clock.check()
    of_state(helpers, ids, "SUCCESS")
    assert sorted(helpers.get_end_task_ids()) == sorted(ids)
    assert {record_of(helpers, one)["attempts"] for one in [*ids, sleeper]} == {"1"}
    assert worker.output.count('"echo"') == len(ids)
    clock = Recovery(1.0)
    helpers.stop_task(sleeper)
    of_state(helpers, [sleeper], "STOPPED")
    clock.check()


@pytest.mark.slow
def test_f25_ten_thousand_interrupted_calls_leave_no_reply_to_another_call(address: Any) -> None:
    connector = connect(address)
    link = connector.link()
    wrong: list[Any] = []
    interrupted = 0

    def ask(number: int) -> None:
        words = ("ECHO", f"{number}") if number % 3 else ("BLMOVE", "no", "no", "LEFT", "LEFT", 9)
        reply = link.execute(*words) if number % 3 else link.blocking(9, *words)
        if reply != str(number).encode():
            wrong.append((number, reply))

    def ask_with_timeout(number: int) -> None:
        nonlocal interrupted
        with gevent.Timeout(random.choice((0.0, 0.0003, 0.001)), False):
            ask(number)
            return
        interrupted += 1

    number = 0
    while interrupted < 10_000:
        group = []
        for _ in range(20):
            number += 1
            group.append(gevent.spawn(ask if number % 2 else ask_with_timeout, number))
        gevent.sleep(random.choice((0, 0.0003, 0.001)))
        interrupted += sum(not one.dead for one in group)
        gevent.killall(group)
        ask(3 * number + 1)
    assert wrong == []
    assert not [one for one in group if isinstance(one.exception, RedisUnavailable)]
    connector.close()


@pytest.mark.slow
@pytest.mark.cluster
def test_f26_a_subscription_leaves_a_node_that_is_silent_or_dead(
    disposable_cluster: Any, client_of: Client, launch: Launch
) -> None:
    """``Subscription._keep_honest`` and ``ClusterLink.pubsub``, which avoids the last node."""
    cluster = disposable_cluster(masters=3, replicas=1, node_timeout=1500, proxied=True)
    helpers = client_of(cluster.addresses)
    worker = launch(MONITOR, at=cluster.addresses, redis_grace=9.0, worker_timeout=10.0)
    ids = helpers.start_tasks([("sleeper", {})] * 16)
    worker.wait_for_event("started", count=16)

    def listening() -> Server | None:
        found = [node for node in cluster.alive() if node.command("PUBSUB", "NUMPAT")]
        return found[-1] if found else None

    for fault in ("silence", "death"):
        node = wait_until(listening)
        served = {one: cluster.owner_of(helpers.keys.of(one).record(one)) for one in ids}
        to_stop = next(one for one in ids if served[one] is not node)
        ids.remove(to_stop)
        if fault == "silence":
            cluster.proxy_of(node).black_hole()
        else:
            node.kill()
        by_heartbeat = Recovery(5.0 + 1.5)  # update_task_interval
        moved = Recovery(2.0 + 1.5)  # two pings
        helpers.stop_task(to_stop)
        wait_until(lambda node=node: any_but(cluster, node))
        moved.check()
        of_state(helpers, [to_stop], "STOPPED")
        by_heartbeat.check()
        if fault == "silence":
            cluster.proxy_of(node).allow()
            wait_until(lambda node=node: not node.command("PUBSUB", "NUMPAT"))
    # By message again: the answer comes long before the next heartbeat.
    clock = Recovery(1.0)
    to_stop = next(one for one in ids if served[one] is not node)
    helpers.stop_task(to_stop)
    of_state(helpers, [to_stop], "STOPPED")
    clock.check()
    assert len([one for one in worker.events if one["event"] == "started"]) == 16


def any_but(cluster: Any, node: Server) -> bool:
    """Whether somebody listens at another node than this one."""
    return any(one.command("PUBSUB", "NUMPAT") for one in cluster.alive() if one is not node)


@pytest.mark.slow
def test_f27_a_worker_that_was_too_slow_to_listen_hears_what_it_missed(
    disposable_server: Any, client_of: Client, launch: Launch
) -> None:
    """``Control.run_once`` hurries the heartbeat once it listens again."""
    server = disposable_server("valkey", client_output_buffer_limit="pubsub 32k 0 0")
    helpers = client_of(server.url)
    worker = launch(at=server.url, update_task_interval=600.0, task_timeout=2000.0)
    to_stop, to_reload = helpers.start_tasks([("sleeper", {})] * 2)
    worker.wait_for_event("started", count=2)
    worker.pause()
    channel = helpers.keys.control_channel(to_stop)
    while server.command("PUBLISH", channel, b"x" * 200_000):
        pass
    helpers.stop_task(to_stop)
    helpers.reload_task(to_reload)
    clock = Recovery(3.0)  # long before a heartbeat is due
    worker.resume()
    worker.wait_for_line("subscription lost")
    worker.wait_for_event("started", id=to_reload, count=2)
    of_state(helpers, [to_stop], "STOPPED")
    clock.check()
    clock = Recovery(1.0)
    helpers.stop_task(to_reload)
    of_state(helpers, [to_reload], "STOPPED")
    clock.check()
