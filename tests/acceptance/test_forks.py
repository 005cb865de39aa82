"""What a worker was in the middle of when a task forked is nothing to its copy."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pytask import PyTaskHelpers

pytestmark = pytest.mark.topologies("valkey")


def test_a_reload_under_way_goes_on_in_the_worker_alone(
    disposable_server: Any, namespace: Any, worker_process: Any, tmp_path: Path
) -> None:
    """The copy has the socket on which the new data come, and would be the first to read them."""
    script = """
        from gevent import monkey
        monkey.patch_all()
        import json, os, sys, time
        from pathlib import Path

        from pytask import PyTask, Task
        from tests.support.tell import tell

        def wait_for(name):
            while not (Path(sys.argv[3]) / name).exists():
                time.sleep(0.01)

        class Reloads(Task):
            NAME = "reloads"

            def start(self):
                tell("began", pid=os.getpid())
                try:
                    time.sleep(600)
                finally:
                    tell("leaves")
                    wait_for("leave")
                    tell("left")

        class Forks(Task):
            NAME = "forks"

            def start(self):
                wait_for("fork")
                child = os.fork()
                if child == 0:
                    wait_for("look")
                    time.sleep(0.5)
                    tell("looked")
                    os._exit(0)
                tell("forked")

        app = PyTask(sys.argv[1], **json.loads(sys.argv[2]))
        app.add_tasks(Reloads, Forks)
        app.run()
    """
    server = disposable_server("valkey")
    options = {**namespace.options, "stop_timeout": 600, "redis_grace": 60, "worker_timeout": 120}
    worker = worker_process(script, [server.url, options, str(tmp_path)])
    helpers = PyTaskHelpers(server.url, **namespace.options)
    helpers.submit("forks")
    ids = [helpers.submit("reloads").id for _ in range(5)]
    worker.wait_for_event("began", count=5)
    for task_id in ids:
        helpers.reload_task(task_id)
    worker.wait_for_event("leaves", count=5)
    server.pause()
    (tmp_path / "leave").touch()
    worker.wait_for_event("left", count=5)
    (tmp_path / "fork").touch()
    worker.wait_for_event("forked")
    os.kill(worker.pid, signal.SIGSTOP)
    server.resume()
    (tmp_path / "look").touch()
    worker.wait_for_event("looked")
    os.kill(worker.pid, signal.SIGCONT)
    worker.wait_for_event("began", count=10)
    began = [one["pid"] for one in worker.events if one["event"] == "began"]
    assert began == [worker.pid] * 10
    helpers.close()
    worker.signal(signal.SIGKILL)
