"""The Redis user of the documentation can do all that pytask does, and nothing else."""

import re
import secrets
from typing import Any

import pytest
import redis

from pytask import PyTaskHelpers
from pytask.exceptions import RedisRejected
from tests.docs.blocks import DOCS, read_blocks
from tests.support.servers import find_binary
from tests.support.topologies import missing_server
from tests.support.waiting import PATIENCE, wait_until

from .programs import WORKER, run_command

SECRET = secrets.token_hex(8)
HOWTO = DOCS / "howto" / "secure-redis.md"


def documented(role: str, page: Any = HOWTO) -> list[str]:
    """Return the words of the ACL command on a page, with a password of our own."""
    [block] = [block for block in read_blocks(page) if block.role == role]
    return block.text.replace("SECRET", SECRET).split()


@pytest.fixture(params=["valkey", "redis"])
def server(request, disposable_server):
    """A server that knows the documented user, and where its administrator is locked out."""
    if find_binary(request.param) is None:
        missing_server("redis-server is not installed (apt-get install redis-server)")
    server = disposable_server(request.param)
    assert server.command(*documented("acl")) == "OK"
    return server


@pytest.fixture
def url(server):
    return f"redis://pytask:{SECRET}@{server.host}:{server.port}/0"


@pytest.fixture
def helpers(url):
    helpers = PyTaskHelpers(url, redis_patience=2)
    yield helpers
    helpers.connector.close()


def refusals(server) -> list[str]:
    """What the server refused so far, but for the two commands the page tells of."""
    entries = server.client().acl_log(128)
    told = ("info", "client|setinfo")
    return [f"{one['reason']} {one['object']}" for one in entries if one["object"] not in told]


def test_worker_client_and_command_line_do_their_work_with_the_documented_user(
    server, url, helpers, worker_process
):
    worker = worker_process(WORKER, [url, "cleanup"])
    worker.wait_for_line("takes tasks from")
    # A client.
    future = helpers.submit("security/add", {"a": 1, "b": 2}, watch=True)
    future.wait(PATIENCE)
    assert future.result() == 3
    ids = helpers.start_tasks([("security/rest", {}), ("security/rest", {})])
    worker.wait_for_event("resting", count=2)
    assert set(ids) <= set(helpers.get_active_task_ids())
    assert helpers.reload_task(ids[0])
    worker.wait_for_event("resting", count=3)
    helpers.submit("security/add", {"a": 1}, task_id="later", delay=0.2, queue="default")
    wait_until(lambda: not helpers.get_task("later"), message="Cleanup forgot the delayed task")
    events = helpers.events("task", "queued", timeout=PATIENCE)
    failed = helpers.submit("security/unknown", {}, watch=True)
    wait_until(lambda: helpers.get_task(failed.id, "state") == "EXCEPTION", message="its end")
    assert next(events).id == failed.id
    helpers.set_task(failed.id, {"note": "seen"})
    assert helpers.remove_task(failed.id)
    # The command line.
    for words, expected in (
        (["start", "security/add", "a:=2", "b:=3", "--wait", "10"], "5"),
        (["status"], "running"),
        (["list"], ids[0]),
        (["show", ids[0]], "security/rest"),
        (["reload", ids[0]], "reload"),
        (["stop", ids[0]], "stopped"),
    ):
        done = run_command(*words, "--redis", url)
        assert done.returncode == 0, (words, done)
        assert expected in done.stdout, (words, done)
    wait_until(lambda: helpers.get_task(ids[0], "state") == "STOPPED", message="it stopped")
    for words in (["restart", ids[0]], ["stop", ids[0]], ["remove", "--force", ids[0]]):
        done = run_command(*words, "--redis", url)
        assert done.returncode == 0, (words, done)
    # A worker that dies leaves work for the Monitor of another.
    worker.kill()
    other = worker_process(WORKER, [url, "cleanup"])
    other.wait_for_event("resting", timeout=30, task=ids[1])
    assert other.stop() == 0
    assert refusals(server) == []


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "DEBUG SLEEP 0", "SHUTDOWN NOSAVE",
        "ACL LIST", "ACL WHOAMI", "CLIENT LIST", "CLIENT KILL ID 1", "MONITOR", "SCRIPT FLUSH",
        "FUNCTION LIST", "MODULE LIST", "REPLICAOF NO ONE", "SAVE", "SWAPDB 0 1", "RENAME task-a b",
        "DUMP task-a", "RESTORE task-a 0 x", "MIGRATE h 1 task-a 0 1", "SORT task-a", "RANDOMKEY",
        "GET elsewhere", "SET elsewhere 1", "HSET elsewhere a 1", "DEL elsewhere",
        "HGETALL elsewhere", "GET tasksx", "LPUSH new-tasks a",
        "BLMOVE new-task elsewhere LEFT LEFT 0.01",
        "PUBLISH elsewhere x", "SUBSCRIBE elsewhere", "PSUBSCRIBE *", "PSUBSCRIBE task-*x",
        "SUBSCRIBE __keyspace@0__:task-a", "INFO", "LATENCY RESET", "SLOWLOG GET", "WAIT 1 1",
    ],
)  # fmt: skip
def test_anything_else_is_refused(server, command):
    user = server.client(username="pytask", password=SECRET)
    with pytest.raises(redis.ResponseError, match=r"(?i)permission"):
        user.execute_command(*command.split())


def test_a_script_reaches_no_other_key(server):
    user = server.client(username="pytask", password=SECRET)
    for script in (
        "return redis.call('GET', 'elsewhere')",
        "return redis.call('PUBLISH', 'elsewhere', 'x')",
        "return redis.call('FLUSHALL')",
        "return redis.call('HSET', KEYS[1], 'a', 'b')",
    ):
        with pytest.raises(redis.ResponseError, match=r"(?i)permission|ACL"):
            user.eval(script, 1, "elsewhere")


def test_a_user_of_before_there_was_a_channel_of_the_fleet_starts_and_runs_tasks(
    server, url, helpers, worker_process
):
    words = [word for word in documented("acl") if not word.startswith("&tasks:events")]
    assert server.command(*words) == "OK"
    worker = worker_process(WORKER, [url, "cleanup"])
    worker.wait_for_line("takes tasks from")
    future = helpers.submit("security/add", {"a": 1, "b": 2}, delay=0.1, watch=True)
    future.wait(PATIENCE)
    assert future.result() == 3
    assert worker.stop() == 0
    assert set(refusals(server)) == {"channel tasks:events"}


def test_a_user_without_permissions_is_told_so(server):
    server.command("ACL", "SETUSER", "nobody", "on", ">n", "resetkeys", "-@all", "+ping")
    url = f"redis://nobody:n@{server.host}:{server.port}/0"
    helpers = PyTaskHelpers(url, redis_patience=2)
    with pytest.raises(RedisRejected, match="NOPERM"):
        helpers.start_task("security/add")
    helpers.connector.close()
    done = run_command("start", "security/add", "--redis", url)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert re.search("NOPERM|permission", done.stderr)


def test_a_wrong_password_is_told_and_not_shown(server, worker_process):
    url = f"redis://pytask:wrong{SECRET}@{server.host}:{server.port}/0"
    done = run_command("status", "--redis", url)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert SECRET not in done.stderr + done.stdout
    worker = worker_process(WORKER, [url])
    assert worker.wait() != 0
    assert "invalid username-password" in worker.output
    assert SECRET not in worker.output


@pytest.mark.topologies("cluster")
def test_the_user_for_a_cluster_does_what_pytask_does(topology):
    for client in (node.client() for node in topology.deployment.nodes):
        client.execute_command(*documented("acl_cluster"))
    host, port = topology.deployment.addresses[0]
    helpers = PyTaskHelpers(f"redis+cluster://pytask:{SECRET}@{host}:{port}", redis_patience=5)
    try:
        task_ids = helpers.start_tasks([("security/add", {})] * 8)
        assert sorted(helpers.get_new_task_ids()) == sorted(task_ids)
        assert set(helpers.store.scan_records()) >= set(task_ids)
        assert all(helpers.stop_task(task_id) for task_id in task_ids)
        assert all(helpers.remove_task(task_id) for task_id in task_ids)
        helpers.redis.publish("task-x", "{}")
        with pytest.raises(Exception, match=r"(?i)permission"):
            helpers.redis.get("elsewhere")
    finally:
        helpers.connector.close()
        for client in (node.client() for node in topology.deployment.masters()):
            for base in ("tasks", "new-task", "end-task"):
                for key in client.keys(f"{base}{{*"):
                    client.delete(key)
        for client in (node.client() for node in topology.deployment.nodes):
            client.acl_deluser("pytask")
