"""What clients can do with tasks."""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import gevent
import pytest

from pytask import Plugin, PyTask
from pytask.exceptions import ConfigurationError
from pytask.rpc import RpcRequest, TaskMethods, wsgi
from tests.rpc.conftest import Caller


def test_job_list_tells_names_docs_types_and_policies(app: PyTask, rpc: Caller) -> None:
    app.schedule("slow", run_every=60, name="often")
    add, slow = rpc.call("job_list")
    assert (add["name"], add["doc"], add["type"]) == ("add", "Add two numbers.", "regular")
    assert add["policy"]["max_retries"] == 2
    assert add["concurrency"] == "greenlet"
    assert (slow["name"], slow["doc"], slow["type"]) == ("slow", "A service.", "periodic")
    assert slow["schedules"] == [{"name": "often", "run_every": 60.0}]
    assert rpc.call("job_list", ["slow", "nobody"]) == [slow]
    assert rpc.call("job_list", names="add") == [add]


def test_queue_task_starts_a_task_and_returns_its_id(app: PyTask, rpc: Caller) -> None:
    by_name = rpc.call("queue_task", name="add", data={"a": 1}, task_id="sum-1", delay=60)
    by_position = rpc.call("queue_task", "add", {"a": 1, "b": 2})
    assert by_name == "sum-1"
    assert app.helpers.get_new_task_ids("sums") == [by_position]
    assert rpc.call("get_task", by_position)["data"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("params", "code", "told"),
    [
        ({"name": "nobody"}, -32004, "nobody"),
        ({"name": "pytask/cleanup", "data": {"task_handler": "os:abort"}}, -32004, "cleanup"),
        ({"name": "add"}, -32602, "missing a required argument: 'a'"),
        ({"name": "add", "data": {"a": "x"}}, -32602, "argument 'a'"),
        ({"name": "add", "data": [1]}, -32602, "'data'"),
        ({"name": "add", "data": {"a": 1}, "colour": "red"}, -32602, "colour"),
        ({"name": "add", "data": {"a": 1}, "watch": True}, -32602, "watch"),
        ({"name": "add", "data": {"a": 1}, "request": 1, "self": 2}, -32602, "request, self"),
        ({"name": "add", "data": {"a": 1}, "delay": -1}, -32602, "delay"),
        ({"name": "add", "data": {"a": 1}, "delay": "soon"}, -32602, "delay"),
        ({"name": "add", "data": {"a": 1}, "queue": "a b"}, -32602, "a b"),
        ({"name": "add", "data": {"a": 1}, "task_id": ""}, -32602, "task ID"),
        ({"name": "slow", "data": {"text": "x" * 1_100_000}}, -32602, "max_data_bytes"),
        ({}, -32602, "name"),
    ],
)
def test_a_task_that_cannot_be_started_is_refused(
    app: PyTask, rpc: Caller, params: dict[str, Any], code: int, told: str
) -> None:
    from pytask import Cleanup

    app.add_task(Cleanup)
    assert "pytask/cleanup" not in [one["name"] for one in rpc.call("job_list")]
    found, message, _ = rpc.fail("queue_task", **params)
    assert (found, told in message) == (code, True), message
    assert rpc.call("num_tasks") == 0


def test_the_server_can_add_to_a_task_and_its_word_wins(
    app: PyTask, make_rpc: Callable[..., Caller]
) -> None:
    def parameters(request: RpcRequest) -> Mapping[str, Any]:
        return {"queue": "remote", "data": {"b": int(request.environ["REMOTE_PORT"])}}

    rpc = make_rpc(task_request_parameters=parameters)
    call = {"name": "add", "data": {"a": 1, "b": 2}, "queue": "mine"}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "queue_task", "params": call})
    task_id = rpc.send(body.encode(), REMOTE_PORT="5000").value["result"]
    assert app.helpers.get_new_task_ids("remote") == [task_id]
    assert json.loads(app.helpers.get_task(task_id, "data") or "") == {"a": 1, "b": 5000}


def test_the_hook_can_be_overridden_and_its_mistakes_are_the_servers(
    app: PyTask, caplog: pytest.LogCaptureFixture
) -> None:
    class Methods(TaskMethods):
        def task_request_parameters(self, request: RpcRequest) -> Mapping[str, Any]:
            return {"made_by": request.remote_address}

    rpc = Caller(wsgi(app, methods=Methods(app)))
    code, message, data = rpc.fail("queue_task", "add", {"a": 1})
    assert (code, "made_by" in message) == (-32603, False)
    assert data["error_id"] in caplog.text
    assert "made_by, which is no option" in caplog.text
    assert rpc.call("num_tasks") == 0


def test_get_task_shows_the_record_without_what_only_workers_know(app: PyTask, rpc: Caller) -> None:
    app.helpers.submit("add", {"a": 1}, task_id="t", queue="sums")
    app.helpers.set_task("t", {"run": "1-secret", "started": "soon", "output": "no json"})
    told = rpc.call("get_task", "t")
    assert "secret" not in json.dumps(told)
    assert told.pop("created") > 0
    assert told == {
        "id": "t",
        "task": "add",
        "state": "WAIT",
        "queue": "sums",
        "data": {"a": 1},
        "started": "soon",
        "output": "no json",
    }


@pytest.mark.parametrize("method", ["get_task", "stop_task", "reload_task", "restart_task"])
def test_a_task_that_is_not_there_is_named_in_the_error(rpc: Caller, method: str) -> None:
    code, message, data = rpc.fail(method, "t-404")
    assert (code, data) == (-32001, {"type": "TaskNotFound", "task_id": "t-404"})
    assert "t-404" in message
    assert rpc.fail(method, id="")[0] == -32602
    assert rpc.fail(method, id=5)[0] == -32602


def test_get_tasks_filters_and_pages(app: PyTask, rpc: Caller) -> None:
    ids = app.helpers.start_tasks([("add", {"a": one}) for one in range(5)])
    app.helpers.submit("slow", task_id="later", delay=60)
    app.helpers.submit("slow", task_id="gone")
    app.helpers.stop_task("gone")

    def found(**filters: Any) -> set[str]:
        return {
            one["id"]
            for one in rpc.call("get_tasks", queue=["sums", "services"], **filters)["tasks"]
        }

    assert found() == {*ids, "later", "gone"}
    assert found(state="STOPPED") == {"gone"}
    assert found(state=["WAIT"], task="slow") == {"later"}
    assert found(task="add") == set(ids)
    assert {one["id"] for one in rpc.call("get_tasks", queue="sums")["tasks"]} == set(ids)

    pages, cursor = [], None
    while True:
        page = rpc.call("get_tasks", task="add", queue="sums", limit=2, cursor=cursor)
        pages.append([one["id"] for one in page["tasks"]])
        cursor = page["cursor"]
        if cursor is None:
            break
    assert sorted(one for page in pages for one in page) == sorted(ids)
    assert max(map(len, pages)) == 2


@pytest.mark.parametrize(
    "filters",
    [
        {"state": "SLEEPING"},
        {"limit": 0},
        {"limit": 1_000_000},
        {"cursor": "-1"},
        {"cursor": "9" * 40},
        {"queue": "a b"},
        {"color": "red"},
        {"state": 5},
    ],
)
def test_a_filter_that_is_none_is_refused(rpc: Caller, filters: dict[str, Any]) -> None:
    assert rpc.fail("get_tasks", **filters)[0] == -32602


def test_num_tasks_counts_what_waits(app: PyTask, rpc: Caller) -> None:
    app.helpers.start_tasks([{"task": "add", "data": {"a": 1}, "queue": "default"}] * 3)
    app.helpers.submit("slow", delay=60)
    app.helpers.submit("slow")
    assert rpc.call("num_tasks") == 4, "no worker serves the queue of the last one"
    assert rpc.call("num_tasks", queue="services") == 1
    assert rpc.fail("num_tasks", "a b")[0] == -32602


def test_next_scheduled_tasks_are_told_nearest_first(app: PyTask, rpc: Caller) -> None:
    for name, seconds in (("late", 3600.0), ("soon", 60.0)):
        app.helpers.store.know_schedule(name, lambda now, after=seconds: now + after)
    first, second = rpc.call("next_scheduled_tasks")
    assert (first["schedule"], second["schedule"]) == ("soon", "late")
    assert datetime.fromisoformat(first["due"]).tzinfo is not None
    assert rpc.call("next_scheduled_tasks", names=["late"]) == [second]


def test_a_task_is_stopped_reloaded_and_restarted(app: PyTask, rpc: Caller) -> None:
    app.helpers.submit("add", {"a": 1}, task_id="t")
    assert rpc.call("reload_task", "t") is False, "it does not run"
    assert rpc.call("stop_task", "t") is True
    assert rpc.call("wait_for_task", "t", 0)["state"] == "STOPPED"
    assert rpc.call("restart_task", id="t") is True
    assert rpc.call("get_task", "t")["state"] == "WAIT"


def test_wait_for_task_returns_the_record_of_a_task_that_ends(app: PyTask, rpc: Caller) -> None:
    app.helpers.submit("add", {"a": 1}, task_id="t")
    waiting = gevent.spawn(rpc.call, "wait_for_task", id="t", timeout=45)
    gevent.sleep(0)
    app.helpers.stop_task("t")
    assert waiting.get(timeout=45)["state"] == "STOPPED"


def test_waiting_is_bounded_by_the_server_and_a_batch_shares_the_bound(
    app: PyTask, make_rpc: Callable[..., Caller]
) -> None:
    rpc = make_rpc(max_wait=0.2)
    app.helpers.submit("add", {"a": 1}, task_id="t")
    assert rpc.fail("wait_for_task", "t", 600)[::2] == (
        -32003,
        {"type": "WaitTimeout", "task_id": "t"},
    )
    call = {"jsonrpc": "2.0", "id": 1, "method": "wait_for_task", "params": ["t"]}
    replies = rpc.send(json.dumps([call] * 50).encode()).value
    assert {one["error"]["code"] for one in replies} == {-32003}
    assert rpc.fail("wait_for_task", "t", -1)[0] == -32602
    assert rpc.fail("wait_for_task", "nobody")[0] == -32001


def test_a_wait_ends_when_the_server_shuts_down(app: PyTask, rpc: Caller) -> None:
    app.helpers.submit("add", {"a": 1}, task_id="t")
    rpc.application.close()
    assert rpc.fail("wait_for_task", "t")[0] == -32005


def test_redis_trouble_has_codes_and_tells_no_address(
    disposable_server: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = disposable_server(requirepass="hunter2")
    app = PyTask(f"redis://:hunter2@127.0.0.1:{server.port}/0", redis_patience=0.2)
    app.task(name="f")(lambda: None)
    rpc, client = Caller(wsgi(app)), server.client()

    client.set("task-odd", "text")
    assert rpc.fail("stop_task", "odd")[0] == -32012
    client.config_set("maxmemory", 1)
    assert rpc.fail("queue_task", "f")[0] == -32011
    server.close()
    code, message, data = rpc.fail("get_task", "t")
    assert (code, data) == (-32010, {"type": "RedisUnavailable", "task_id": "t"})
    assert "127.0.0.1" not in message
    assert "127.0.0.1" in caplog.text and "hunter2" not in caplog.text
    app.helpers.close()


class Ping(Plugin):
    def rpc_methods(self) -> dict[str, Callable[..., Any]]:
        return {"ping": lambda text="pong": text}


class Broken(Plugin):
    def rpc_methods(self) -> dict[str, Callable[..., Any]]:
        raise RuntimeError("a bug")


class Greedy(Plugin):
    def rpc_methods(self) -> dict[str, Callable[..., Any]]:
        return {"get_task": lambda id: {}}


def test_plugins_add_methods(app: PyTask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    for plugin in (Broken(), Ping(), Plugin()):
        app.add_plugin(plugin)
    rpc = Caller(wsgi(app))
    assert rpc.call("ping") == "pong"
    assert rpc.call("ping", text="x") == "x"
    assert "its methods are not offered" in caplog.text
    app.add_plugin(Greedy())
    with pytest.raises(ConfigurationError, match="'get_task' is taken"):
        wsgi(app)


def test_tasks_of_pytask_itself_are_neither_shown_nor_touched(app: PyTask, rpc: Caller) -> None:
    app.helpers.submit("pytask/monitor", task_id="m")
    for method in ("get_task", "stop_task", "reload_task", "restart_task", "wait_for_task"):
        assert rpc.fail(method, "m")[0] == -32001
    assert rpc.call("get_tasks")["tasks"] == []
    assert app.helpers.get_task("m", "state") == "WAIT"


@pytest.mark.topologies("cluster")
def test_a_cluster_is_served_as_well(address: Any, namespace: Any) -> None:
    app = PyTask(address, **namespace.options)
    app.task(name="f")(lambda **data: None)
    rpc = Caller(wsgi(app))
    ids = [rpc.call("queue_task", "f", {"n": one}) for one in range(9)]
    assert rpc.call("num_tasks") == 9
    found = rpc.call("get_tasks", state="WAIT", limit=1000)
    assert ({one["id"] for one in found["tasks"]}, found["cursor"]) == (set(ids), None)
    assert rpc.call("stop_task", ids[0]) is True
    assert rpc.call("wait_for_task", ids[0])["state"] == "STOPPED"
    app.helpers.close()


def test_what_is_stored_as_messagepack_is_told_as_json(app: PyTask, rpc: Caller) -> None:
    app.configure(serializer="msgpack")
    app.helpers.submit("slow", {"picture": b"\xff", "number": 1}, task_id="t")
    data = rpc.call("get_task", "t")["data"]
    assert data["number"] == 1
    assert isinstance(data["picture"], str)


def test_what_is_no_task_does_not_keep_others_from_being_listed(
    app: PyTask, rpc: Caller, valkey_server: Any
) -> None:
    client, names = valkey_server.client(), app.settings
    client.set(f"{names.task_prefix}odd", "text")
    client.hset(f"{names.task_prefix}by-hand", mapping={"task": "add", "started": "nan"})
    client.lpush(names.new_queue, "odd", "by-hand", "gone")
    (found,) = rpc.call("get_tasks")["tasks"]
    assert (found["id"], found["started"]) == ("by-hand", "nan")
