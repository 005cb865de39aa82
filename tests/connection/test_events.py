"""A subscription delivers messages and survives whatever happens to its connection."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from pytask.connection import connect
from pytask.events import Message, Subscription, Wakeup
from tests.support.servers import Server
from tests.support.waiting import PATIENCE


@pytest.fixture
def listen(valkey_server: Server) -> Iterator[Callable[..., Subscription]]:
    """Start a subscription to the session's server, or to another address."""
    made: list[Subscription] = []

    def start(address: Any = None, **options: Any) -> Subscription:
        connector = connect(address or valkey_server.url)
        options = {"channels": ["news"], "ping_interval": 0.3, **options}
        made.append(Subscription(connector.link(connect_timeout=3.0), **options))
        assert made[-1].wait_ready(PATIENCE)
        return made[-1]

    yield start
    for subscription in made:
        subscription.close()


def listen_until(subscription: Subscription, condition: Callable[[], bool]) -> None:
    """Serve the subscription until ``condition``."""
    started_at = time.monotonic()
    while not condition():
        assert time.monotonic() < started_at + PATIENCE, "it did not happen in time"
        subscription.get(0.02)


def test_channels_and_patterns_deliver_their_messages(listen: Any, valkey_server: Server) -> None:
    subscription = listen(channels=["news"], patterns=["task-*-control"])
    assert subscription.generation == 1
    valkey_server.command("PUBLISH", "news", b"\xff")
    valkey_server.command("PUBLISH", "task-é-control", "stop")
    assert subscription.get(PATIENCE) == Message("news", None, b"\xff")
    assert subscription.get(PATIENCE) == Message("task-é-control", "task-*-control", b"stop")
    assert subscription.get(0) is None


def test_nothing_is_connected_before_the_first_get(valkey_server: Server) -> None:
    subscription = Subscription(connect("redis://127.0.0.1:1").link(), channels=["news"])
    assert not subscription.ready
    assert subscription.get(0.1) is None
    assert not subscription.ready


def test_get_waits_as_long_as_asked(listen: Any) -> None:
    subscription = listen(ping_interval=1.0)
    started_at = time.monotonic()
    assert subscription.get(1.35) is None, "a ping comes in between"
    assert time.monotonic() - started_at > 1.3
    assert subscription.generation == 1


def test_channels_can_be_added_and_removed(listen: Any, valkey_server: Server) -> None:
    subscription = listen()
    subscription.subscribe("news", "more")
    assert not subscription.ready
    assert subscription.wait_ready(PATIENCE)
    assert subscription.generation == 2
    assert valkey_server.command("PUBLISH", "more", "1") == 1
    assert subscription.get(PATIENCE) == Message("more", None, b"1")
    subscription.unsubscribe("news", "unknown")
    listen_until(subscription, lambda: valkey_server.command("PUBLISH", "news", "") == 0)
    subscription.unsubscribe("more")
    assert subscription.get(0.7) is None, "pings go on without any channel"


def test_a_subscription_without_channels_waits_for_some(valkey_server: Server) -> None:
    subscription = Subscription(connect(valkey_server.url).link())
    assert subscription.get(0.05) is None
    subscription.subscribe("late")
    assert subscription.wait_ready(PATIENCE)
    valkey_server.command("PUBLISH", "late", "x")
    assert subscription.get(PATIENCE) == Message("late", None, b"x")
    subscription.close()


def test_a_closed_connection_is_replaced_at_once(listen: Any, valkey_server: Server) -> None:
    subscription = listen(ping_interval=600.0)  # nothing but the end of the connection tells
    valkey_server.command("CLIENT", "KILL", "TYPE", "pubsub")
    listen_until(subscription, lambda: subscription.generation == 2)
    valkey_server.command("PUBLISH", "news", "again")
    assert subscription.get(PATIENCE) == Message("news", None, b"again")


def test_a_half_open_connection_is_noticed(listen: Any, proxy: Any, valkey_server: Server) -> None:
    between = proxy(valkey_server)
    subscription = listen(between.url, ping_interval=0.3)
    # Let a ping be answered, so that silence is counted from there.
    subscription.get(0.4)
    between.black_hole()
    listen_until(subscription, lambda: not subscription.ready)
    between.allow()
    listen_until(subscription, lambda: subscription.generation == 2)
    valkey_server.command("PUBLISH", "news", "back")
    assert subscription.get(PATIENCE) == Message("news", None, b"back")


def test_a_busy_owner_does_not_take_its_own_delay_for_silence(
    listen: Any, valkey_server: Server
) -> None:
    subscription = listen(ping_interval=1.0)
    subscription.get(1.1)
    gevent.sleep(2.2)  # longer than two pings may take
    for _ in range(3):
        subscription.get(0)
        gevent.sleep(0.2)
    assert subscription.generation == 1


def test_an_outage_is_survived_without_an_exception(listen: Any, disposable_server: Any) -> None:
    server = disposable_server("valkey")
    subscription = listen(server.url)
    server.kill()
    listen_until(subscription, lambda: not subscription.ready)
    assert subscription.get(0.3) is None
    server.start()
    listen_until(subscription, lambda: subscription.generation == 2)


def test_a_slow_subscriber_that_was_cut_off_comes_back(listen: Any, disposable_server: Any) -> None:
    server = disposable_server("valkey", client_output_buffer_limit="pubsub 32k 0 0")
    subscription = listen(server.url)
    # More than the sockets between them hold.
    while server.command("PUBLISH", "news", b"x" * 200_000):
        pass
    listen_until(subscription, lambda: subscription.generation == 2)


def test_a_refused_subscription_is_tried_again(listen: Any, disposable_server: Any) -> None:
    server = disposable_server("valkey")
    server.command("ACL", "SETUSER", "worker", "on", "nopass", "~*", "+@all", "resetchannels")
    link = connect(f"redis://worker:x@127.0.0.1:{server.port}").link()
    subscription = Subscription(link, channels=["news"])
    assert subscription.get(0.2) is None
    assert not subscription.ready
    server.command("ACL", "SETUSER", "worker", "allchannels")
    assert subscription.wait_ready(PATIENCE)
    subscription.close()


def test_a_killed_owner_leaves_nothing_half_read(listen: Any, valkey_server: Server) -> None:
    subscription = listen()
    owner = gevent.spawn(subscription.get, 10)
    gevent.sleep(0)
    owner.kill()
    assert subscription.wait_ready(PATIENCE)
    valkey_server.command("PUBLISH", "news", "x")
    assert subscription.get(PATIENCE) == Message("news", None, b"x")


def test_a_closed_subscription_stays_closed(listen: Any, valkey_server: Server) -> None:
    subscription = listen()
    subscription.close()
    subscription.close()
    assert subscription.get(1.0) is None
    assert not subscription.wait_ready(0.1)
    assert not subscription.ready


def test_others_wake_who_listens_while_its_connections_are_cut(
    listen: Any, valkey_server: Server
) -> None:
    subscription = listen(wakeup=Wakeup(), ping_interval=60.0)
    for _ in range(5):
        valkey_server.command("CLIENT", "KILL", "TYPE", "pubsub")
        waker = gevent.spawn(lambda: [subscription.wake() for _ in range(10)])
        assert subscription.listen(PATIENCE) is None
        waker.join()
    # The last cut may not have been noticed yet.
    listen_until(subscription, lambda: valkey_server.command("PUBLISH", "news", "here") == 1)


def test_a_wakeup_comes_too_late_for_a_closed_subscription(listen: Any) -> None:
    subscription = listen(wakeup=Wakeup())
    subscription.close()
    subscription.wake()
    assert subscription.listen(PATIENCE) is None


def test_what_arrived_together_needs_no_wakeup(listen: Any, valkey_server: Server) -> None:
    subscription = listen(wakeup=Wakeup())
    for number in range(100):
        valkey_server.command("PUBLISH", "news", str(number))
    heard: list[bytes] = []
    while len(heard) < 100:
        message = subscription.listen(PATIENCE)
        assert message is not None
        heard.append(message.data)
    assert heard == [str(number).encode() for number in range(100)]
