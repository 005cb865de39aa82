"""A link sends a command once, in time, and never mixes up replies."""

import hashlib
import os
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import monkey

from pytask.connection import Link, Patience, connect, retrying
from pytask.connection.wire import MAX_CONNECTIONS
from pytask.exceptions import RedisUnavailable
from tests.support.servers import Server
from tests.support.waiting import PATIENCE

SCRIPT = "return redis.call('INCR', KEYS[1])"
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()


@pytest.fixture
def server(valkey_server: Server) -> Iterator[Server]:
    yield valkey_server
    valkey_server.command("FLUSHALL")


@pytest.fixture
def link(server: Server) -> Iterator[Link]:
    link = connect(server.url).link(timeout=10.0)
    yield link
    link.close()


def connected_clients(server: Server) -> int:
    return int(server.info("clients")["connected_clients"])


def test_replies_come_as_the_server_sent_them(link: Link) -> None:
    link.execute("RPUSH", "list", b"\xff", "é", 3)
    assert link.execute("LRANGE", "list", 0, -1) == [b"\xff", "é".encode(), b"3"]
    assert link.execute("HGETALL", "none") == []
    assert link.execute("GET", "none") is None
    link.execute("HSET", "hash", "field", "value")
    assert link.execute("HGETALL", "hash") == [b"field", b"value"]


def test_a_command_whose_reply_is_lost_is_not_sent_again(server: Server, proxy: Any) -> None:
    between = proxy(server)
    link = connect(between.url).link(timeout=10.0)
    link.execute("PING")
    between.cut_on_reply(request=b"LPUSH", times=1)
    with pytest.raises(RedisUnavailable, match="LPUSH"):
        link.execute("LPUSH", "list", "once")
    assert server.command("LLEN", "list") == 1
    assert link.execute("LPUSH", "list", "twice") == 2


def test_a_script_whose_reply_is_lost_is_not_sent_again(server: Server, proxy: Any) -> None:
    between = proxy(server)
    link = connect(between.url).link(timeout=10.0)
    between.cut_on_reply(request=b"EVAL", times=1)
    with pytest.raises(RedisUnavailable):
        link.evalsha(SHA, SCRIPT, ["count"], [])
    assert int(server.client().get("count") or 0) <= 1


def test_a_missing_reply_is_noticed_after_the_timeout(server: Server, proxy: Any) -> None:
    between = proxy(server)
    link = connect(between.url).link(timeout=0.3)
    link.execute("PING")
    between.black_hole()
    started_at = time.monotonic()
    with pytest.raises(RedisUnavailable):
        link.execute("GET", "key")
    assert time.monotonic() - started_at > 0.25
    between.allow()
    assert link.execute("PING") == b"PONG"


def test_a_server_that_cannot_be_connected_is_unavailable(proxy: Any, server: Server) -> None:
    between = proxy(server)
    between.refuse()
    link = connect(between.url).link(connect_timeout=0.5)
    with pytest.raises(RedisUnavailable):
        link.execute("PING")
    with pytest.raises(RedisUnavailable):
        link.blocking(1, "BLMOVE", "a", "b", "RIGHT", "LEFT", 1)
    with pytest.raises(RedisUnavailable):
        link.pubsub().read(1.0)


def test_a_blocking_command_ends_in_time_and_empty(link: Link) -> None:
    started_at = time.monotonic()
    assert link.blocking(0.2, "BLMOVE", "none", "to", "RIGHT", "LEFT", 0.2) is None
    assert time.monotonic() - started_at > 0.15


def test_a_blocking_command_may_outlast_the_timeout_of_other_commands(server: Server) -> None:
    link = connect(server.url).link(timeout=1.0)
    assert link.blocking(2.0, "BLMOVE", "none", "to", "RIGHT", "LEFT", 2.0) is None


def test_a_blocking_command_returns_what_arrives(link: Link) -> None:
    waiter = gevent.spawn(link.blocking, 60, "BLMOVE", "from", "to", "RIGHT", "LEFT", 60)
    gevent.sleep(0)
    link.execute("LPUSH", "from", "id")
    assert waiter.get(timeout=PATIENCE) == b"id"


def test_idle_connections_closed_by_the_server_are_replaced_silently(
    link: Link, server: Server
) -> None:
    before = link.execute("CLIENT", "ID")
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert link.execute("CLIENT", "ID") > before


def test_a_forgotten_script_is_sent_in_full(link: Link, server: Server) -> None:
    assert link.evalsha(SHA, SCRIPT, ["count"], []) == 1
    assert link.evalsha(SHA, SCRIPT, ["count"], []) == 2
    server.command("SCRIPT", "FLUSH")
    assert link.evalsha(SHA, SCRIPT, ["count"], []) == 3
    assert "cmdstat_script|load" not in server.info("commandstats")


def test_a_link_finds_all_keys(link: Link) -> None:
    for number in range(1200):
        link.execute("SET", f"key-{number}", "")
    link.execute("SET", "other", "")
    assert len(set(link.scan_iter("key-*", count=100))) == 1200


def test_masters_execute_asks_the_one_server(link: Link) -> None:
    assert link.masters_execute("CONFIG", "GET", "maxmemory-policy") == [
        [b"maxmemory-policy", b"noeviction"]
    ]


def test_killed_greenlets_leave_no_reply_behind(link: Link, server: Server) -> None:
    """500 greenlets are killed at random points of a call; every later answer fits its call."""
    for number in range(50):
        link.execute("SET", f"key-{number}", number)
    wrong: list[Any] = []

    def ask() -> None:
        number = random.randrange(50)
        reply = link.execute("GET", f"key-{number}")
        if reply != b"%d" % number:
            wrong.append((number, reply))

    for _ in range(500):
        greenlets = [gevent.spawn(ask) for _ in range(3)]
        gevent.sleep(random.choice((0, 0, 0.0002, 0.0005)))
        gevent.killall(greenlets[:2], block=True)
        ask()
        gevent.joinall(greenlets)
    assert wrong == []
    assert connected_clients(server) < 20


def test_more_callers_than_connections_wait_for_their_turn(link: Link, server: Server) -> None:
    callers = [gevent.spawn(link.execute, "ECHO", str(n)) for n in range(MAX_CONNECTIONS * 4)]
    gevent.joinall(callers, timeout=60, raise_error=True)
    assert [caller.value for caller in callers] == [b"%d" % n for n in range(MAX_CONNECTIONS * 4)]
    assert connected_clients(server) <= MAX_CONNECTIONS + 10


def test_connections_that_stay_in_use_are_reported_as_unavailable(server: Server) -> None:
    link = connect(server.url).link(timeout=0.4)
    server.command("CLIENT", "PAUSE", "600000", "WRITE")
    callers = [gevent.spawn(link.execute, "SET", "key", "") for _ in range(MAX_CONNECTIONS * 2)]
    gevent.joinall(callers, timeout=60)
    server.command("CLIENT", "UNPAUSE")
    assert all(isinstance(caller.exception, RedisUnavailable) for caller in callers)
    assert retrying(lambda: link.execute("PING"), Patience(60.0)) == b"PONG"


def test_two_links_share_no_socket(server: Server) -> None:
    connector = connect(server.url)
    first, second = connector.link(), connector.link()
    assert first.execute("CLIENT", "ID") != second.execute("CLIENT", "ID")
    first.close()
    assert second.execute("PING") == b"PONG"
    connector.close()


def test_a_native_thread_uses_its_own_link_while_the_hub_works(server: Server) -> None:
    connector = connect(server.url)
    done: list[Any] = []

    def beat() -> None:
        link = connector.link()
        try:
            for _ in range(100):
                link.evalsha(SHA, SCRIPT, ["beats"], [])
            done.append("done")
        except BaseException as error:
            done.append(error)

    monkey.get_original("_thread", "start_new_thread")(beat, ())
    link = connector.link()
    deadline = time.monotonic() + 60
    while not done and time.monotonic() < deadline:
        link.execute("PING")
        sum(range(20_000))
    assert done == ["done"]
    assert server.command("GET", "beats") == "100"


# Everything a program without gevent does with a link, in threads.
PLAIN = """
import sys, threading
by_coverage = "gevent" in sys.modules
from pytask.connection import connect
from pytask.events import Subscription
from tests.support.tell import tell
connector = connect(sys.argv[1])
link = connector.link()
subscription = Subscription(connector.link(), channels=["news"])
assert subscription.wait_ready(30.0)
def work():
    for _ in range(50):
        link.execute("INCR", "count")
threads = [threading.Thread(target=work) for _ in range(150)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert link.blocking(0.1, "BLMOVE", "none", "to", "LEFT", "LEFT", 0.1) is None
link.execute("PUBLISH", "news", "hello")
message = subscription.get(30.0)
subscription.close()
connector.close()
tell("done", count=link.execute("GET", "count").decode(), data=message.data.decode(),
     gevent="gevent" in sys.modules and not by_coverage)
"""


def test_it_works_without_gevent(server: Server, worker_process: Any) -> None:
    done = worker_process(PLAIN, [server.url]).wait_for_event("done")
    assert (done["count"], done["data"], done["gevent"]) == ("7500", "hello", False)


def test_a_forked_child_opens_sockets_of_its_own(server: Server) -> None:
    link = connect(server.url).link()
    ours = link.execute("CLIENT", "ID")
    pid = os.fork()
    if pid == 0:
        try:
            theirs = link.execute("CLIENT", "ID")
            link.execute("SET", "theirs", theirs)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert int(link.execute("GET", "theirs")) != ours
    assert link.execute("CLIENT", "ID") == ours


def test_reset_drops_the_sockets(link: Link) -> None:
    before = link.execute("CLIENT", "ID")
    link.reset()
    assert link.execute("CLIENT", "ID") != before


def test_threads_share_a_link(link: Link) -> None:
    wrong: list[Any] = []

    def ask(name: str) -> None:
        for number in range(200):
            word = f"{name}-{number}".encode()
            if link.execute("ECHO", word) != word:
                wrong.append(word)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
