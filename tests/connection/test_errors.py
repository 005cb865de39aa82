"""What each error reply of a server becomes: later, refused, or rejected for good."""

import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from pytask.connection import Link, Patience, connect, retrying
from pytask.exceptions import RedisRefused, RedisRejected, RedisUnavailable, WrongKeyType
from tests.support.servers import Server
from tests.support.waiting import PATIENCE


@pytest.fixture
def link(valkey_server: Server) -> Iterator[Link]:
    link = connect(valkey_server.url).link(timeout=10.0)
    yield link
    link.close()
    valkey_server.command("FLUSHALL")


def test_a_key_of_another_type_is_named_so(link: Link) -> None:
    link.execute("SET", "text", "")
    with pytest.raises(WrongKeyType, match="LPUSH"):
        link.execute("LPUSH", "text", "x")
    script = "return redis.call('LPUSH', KEYS[1], 'x')"
    with pytest.raises(WrongKeyType):
        link.execute("EVAL", script, 1, "text")
    assert link.execute("PING") == b"PONG"


def test_unknown_commands_and_wrong_arguments_are_rejected(link: Link) -> None:
    for command in (("NOSUCH",), ("GET",), ("EVAL", "this is no lua", 0), ("SET", "key", None)):
        with pytest.raises(RedisRejected):
            link.execute(*command)
    assert link.execute("PING") == b"PONG"


def test_missing_permission_is_rejected(disposable_server: Any) -> None:
    server = disposable_server("valkey")
    server.command("ACL", "SETUSER", "worker", "on", ">secret", "~task*", "+@all")
    link = connect(f"redis://worker:secret@127.0.0.1:{server.port}").link()
    assert link.execute("SET", "task-1", "") == b"OK"
    with pytest.raises(RedisRejected, match="NOPERM"):
        link.execute("SET", "other", "")


def test_a_full_server_refuses_writes(disposable_server: Any) -> None:
    server = disposable_server("valkey", maxmemory="1mb")
    link = connect(server.url).link()
    with pytest.raises(RedisRefused):
        for number in range(100):
            link.execute("SET", f"key-{number}", b"x" * 100_000)
    script = "#!lua\nreturn redis.call('SET', KEYS[1], ARGV[1])"
    with pytest.raises(RedisRefused):
        link.execute("EVAL", script, 1, "key", "x" * 100_000)
    assert link.execute("PING") == b"PONG"


def test_a_replica_and_a_lost_master_mean_later(disposable_server: Any) -> None:
    server = disposable_server("valkey", replica_serve_stale_data="no")
    link = connect(server.url).link()
    before = link.execute("CLIENT", "ID")
    server.command("REPLICAOF", "127.0.0.1", "1")
    for command in (("SET", "key", ""), ("GET", "key")):
        with pytest.raises(RedisUnavailable, match=r"READONLY|MASTERDOWN"):
            link.execute(*command)
    server.command("REPLICAOF", "NO", "ONE")
    assert link.execute("CLIENT", "ID") != before, "a demoted server's connection was kept"


def test_a_waiting_move_is_called_off_when_its_server_is_demoted(disposable_server: Any) -> None:
    server = disposable_server("valkey")
    link = connect(server.url).link()
    waiter = gevent.spawn(link.blocking, 60, "BLMOVE", "from", "to", "RIGHT", "LEFT", 60)
    while int(server.info("clients")["blocked_clients"]) == 0:
        gevent.sleep(0.01)
    server.command("REPLICAOF", "127.0.0.1", "1")
    gevent.joinall([waiter], timeout=PATIENCE)
    assert isinstance(waiter.exception, RedisUnavailable)


def test_too_few_replicas_mean_later(disposable_server: Any) -> None:
    server = disposable_server("valkey", min_replicas_to_write=1)
    link = connect(server.url).link()
    with pytest.raises(RedisUnavailable, match="NOREPLICAS"):
        link.execute("SET", "key", "")
    with pytest.raises(RedisUnavailable, match="NOREPLICAS"):
        link.execute("EVAL", "#!lua\nreturn redis.call('SET', KEYS[1], '')", 1, "key")


def test_a_long_script_means_later(disposable_server: Any) -> None:
    server = disposable_server("valkey", busy_reply_threshold=50)
    link = connect(server.url).link()
    link.execute("PING")
    loop = gevent.spawn(link.execute, "EVAL", "while true do end", 0)
    errors: list[Exception] = []
    deadline = time.monotonic() + PATIENCE
    while not errors and time.monotonic() < deadline:
        try:
            link.execute("PING")
        except RedisUnavailable as error:
            errors.append(error)
    assert "BUSY" in str(errors[0])
    link.execute("SCRIPT", "KILL")
    gevent.joinall([loop], timeout=PATIENCE)
    assert isinstance(loop.exception, RedisUnavailable), "a killed script wrote nothing"


def test_a_server_that_loads_its_data_means_later(disposable_server: Any) -> None:
    server = disposable_server("valkey", appendonly="yes", key_load_delay=500)
    server.command("DEBUG", "POPULATE", "5000")
    server.command("CONFIG", "SET", "appendonly", "no")
    server.command("CONFIG", "SET", "appendonly", "yes")
    while server.info("persistence")["aof_rewrite_in_progress"] != "0":
        gevent.sleep(0.01)
    link = connect(server.url).link()
    assert link.execute("PING") == b"PONG"
    server.kill()
    server.launch()
    seen: list[str] = []

    def load() -> Any:
        try:
            return link.execute("GET", "key:1")
        except RedisUnavailable as error:
            seen.append(str(error))
            raise

    assert retrying(load, Patience(60.0, cap=0.05)) == b"value:1"
    assert any("LOADING" in message for message in seen)


def test_a_full_disk_means_later(disposable_server: Any) -> None:
    server = disposable_server("valkey")
    link = connect(server.url).link()
    link.execute("SET", "key", "")
    # A snapshot that fails, as on a full disk: its name is taken.
    (server.directory / "dump.rdb" / "taken").mkdir(parents=True)
    server.command("CONFIG", "SET", "save", "3600 1")
    server.command("BGSAVE")
    while server.info("persistence")["rdb_last_bgsave_status"] != "err":
        gevent.sleep(0.01)
    with pytest.raises(RedisUnavailable, match="MISCONF"):
        link.execute("SET", "key", "")


def test_too_many_clients_mean_later(disposable_server: Any) -> None:
    server = disposable_server("valkey")
    server.command("CONFIG", "SET", "maxclients", "2")
    links = [connect(server.url).link() for _ in range(4)]
    with pytest.raises(RedisUnavailable):
        for link in links:
            link.execute("PING")
