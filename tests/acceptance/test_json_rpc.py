"""A client of another make, a server and a worker, each a process of its own."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonrpclib
import pytest
from jsonrpclib.jsonrpc import MultiCall, ProtocolError, TransportError

from tests.support.namespace import Namespace
from tests.support.worker import ROOT, WorkerProcess

TOKEN = "a-token-that-nobody-guesses"

JOBS = """
import gevent
from pytask import PyTask, Task

app = PyTask("redis://127.0.0.1:1/0")

@app.task(max_retries=1, retry_delay=0.01)
def add(a: int, b: int = 0) -> int:
    "Add two numbers."
    return a + b

class Service(Task):
    NAME = "service"
    def __init__(self, version=1):
        self.version = version
    def start(self):
        gevent.sleep(600)

app.add_task(Service)
app.schedule("add", run_every=3600, name="hourly", data={"a": 1})

def who(request):
    assert request.remote_address == "127.0.0.1"
    return {"queue": request.environ.get("HTTP_X_QUEUE", "default")}
"""


@pytest.fixture
def start(
    valkey_server: Any, tmp_path: Path, worker_process: Callable[..., WorkerProcess]
) -> Iterator[Callable[..., WorkerProcess]]:
    """Run ``pytask`` beside the test."""
    (tmp_path / "jobs.py").write_text(JOBS)
    names = Namespace.fresh()
    variables = {f"PYTASK_{name.upper()}": str(value) for name, value in names.options.items()}
    variables |= {"PYTASK_REDIS": valkey_server.url, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    variables |= {"PYTASK_APP": "jobs", "RPC_TOKEN": TOKEN}
    yield lambda *words: worker_process("-m pytask", words, **variables)
    names.remove([valkey_server.client()])


def connect(server: WorkerProcess, **headers: str) -> Any:
    url = json.loads(server.wait_for_line('{"url":.*}')[0])["url"]
    return jsonrpclib.ServerProxy(url, headers=headers)


@pytest.mark.slow
def test_tasks_are_driven_by_a_client_of_another_make(
    start: Callable[..., WorkerProcess], wait_until: Callable[..., Any]
) -> None:
    server = start(
        *("rpc", "--bind", "127.0.0.1:0", "--json", "--token-env", "RPC_TOKEN"),
        *("--request-parameters", "jobs:who"),
    )
    start("worker", "--queues", "default,vip")
    mine = {"Authorization": f"Bearer {TOKEN}"}
    client = connect(server, **mine)

    assert [job["name"] for job in client.job_list()] == ["add", "service"]
    task_id = client.queue_task(name="add", data={"a": 1, "b": 2}, cleanup=False)
    ended = client.wait_for_task(task_id, 45)
    assert (ended["state"], ended["output"]) == ("SUCCESS", 3)
    assert client.get_task(task_id)["attempts"] == 1
    assert client.get_tasks(task="add", state="SUCCESS")["tasks"][0]["id"] == task_id

    vip = connect(server, **mine, **{"X-Queue": "vip"})
    service = vip.queue_task("service", {"version": 2})
    wait_until(lambda: client.get_task(service)["state"] == "RUNNING", 45)
    assert client.get_task(service)["queue"] == "vip"
    assert client.reload_task(service) is True
    assert client.stop_task(service) is True
    assert client.wait_for_task(id=service, timeout=45)["state"] == "STOPPED"
    assert client.restart_task(service) is True
    wait_until(lambda: client.get_task(service)["state"] == "RUNNING", 45)
    assert client.num_tasks() == 0
    wait_until(lambda: client.next_scheduled_tasks(), 45)
    assert client.next_scheduled_tasks()[0]["schedule"] == "hourly"

    batch = MultiCall(client)
    batch.num_tasks()
    batch.get_task(service)
    assert [type(one) for one in batch()] == [int, dict]
    # This client takes whatever is not 200 for a failure; 204 is what the transport's draft says.
    with pytest.raises(TransportError, match="204"):
        connect(server, **mine)._notify.queue_task(
            name="add", data={"a": 5}, task_id="told", cleanup=False
        )
    assert client.wait_for_task("told", 45)["output"] == 5

    with pytest.raises(ProtocolError, match="-32001"):
        client.get_task("nobody")
    with pytest.raises(ProtocolError, match="-32601"):
        client.drop_everything()
    with pytest.raises(ProtocolError, match="argument 'a'"):
        client.queue_task("add", {"a": "one"})
    with pytest.raises(TransportError, match="401"):
        connect(server).num_tasks()
    assert server.stop() == 0
    assert not re.search("Traceback|" + TOKEN, server.output)


def test_a_server_all_can_reach_is_not_started_without_a_token(
    start: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    open_to_all = start("rpc", "--bind", "0.0.0.0:0")
    assert open_to_all.wait() == 2
    assert "--allow-without-token" in open_to_all.output
    (tmp_path / "token").write_text("\n")
    empty = start("rpc", "--token-file", str(tmp_path / "token"))
    assert empty.wait() == 2
    assert "there is no token" in empty.output
