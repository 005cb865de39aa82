"""The documentation is built without a warning, and a worker can do with what it advises."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import DOCS, ROOT, read_blocks
from tests.support.waiting import PATIENCE

WORKER = """
    import sys
    from gevent import monkey; monkey.patch_all()
    from pytask import Cleanup, Monitor, PyTask, Task

    class Greet(Task):
        NAME = "greet"
        def start(self):
            self.emit("hello")

    class Wait(Task):
        NAME = "wait"
        def start(self):
            import time
            self.emit("waits")
            time.sleep(60)

    app = PyTask(sys.argv[1])
    app.add_tasks(Greet, Wait, Monitor, Cleanup)
    app.start_local_task("pytask/monitor", loop_interval=0.2)
    app.start_local_task("pytask/cleanup")
    app.run()
"""


@pytest.mark.slow
def test_the_documentation_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="the documentation is built in the main environment")
    words = ["-m", "sphinx", "-q", "-W", "-n", "--keep-going", "-b", "html"]
    folders = ["-d", str(tmp_path / "trees"), str(DOCS), str(tmp_path / "html")]
    # Modules the build imports must not leave traces beside the sources.
    built = subprocess.run(
        [sys.executable, "-B", *words, *folders],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=80,
    )
    assert built.returncode == 0, built.stdout.decode()
    page = (tmp_path / "html" / "explanation" / "life-cycle.html").read_text()
    assert "States of a task, each arrow labelled" in page


def test_a_worker_says_of_itself_what_the_data_model_page_lists(
    disposable_server: Callable[..., Any],
    worker_process: Callable[..., Any],
    wait_until: Callable[..., Any],
) -> None:
    page = (DOCS / "reference" / "data-model.md").read_text()
    section = page.partition("## Worker")[2].partition("## By hand")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    server = disposable_server()
    client = server.client()

    worker_process(WORKER, [server.url])
    (key,) = wait_until(lambda: client.keys("tasks:worker:*"))

    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(
        client.hgetall(key)
    )


@pytest.mark.slow
def test_the_permissions_of_the_production_page_suffice(
    disposable_server: Callable[..., Any],
    worker_process: Callable[..., Any],
    wait_until: Callable[..., Any],
) -> None:
    from pytask import PyTaskHelpers

    (rule,) = [
        block.text.split()
        for block in read_blocks(DOCS / "howto" / "production.md")
        if block.role == "acl"
    ]
    server = disposable_server()
    client = server.client()
    client.execute_command(*rule)
    name, password = rule[2], next(word[1:] for word in rule if word.startswith(">"))
    host, port = server.address
    url = f"redis://{name}:{password}@{host}:{port}/0"
    helpers = PyTaskHelpers(url)

    worker = worker_process(WORKER, [url])
    assert helpers.submit("greet", watch=True).wait(PATIENCE) == "SUCCESS"
    future = helpers.submit("wait", delay=0.01, watch=True)
    assert next(event.name for event in future.events(PATIENCE) if event.name == "waits")
    assert future.reload()
    assert next(event.name for event in future.events(PATIENCE) if event.name == "reloaded")
    assert future.stop()
    assert future.wait(PATIENCE) == "STOPPED"
    assert helpers.restart_task(future.id)
    wait_until(lambda: future._helpers.get_task(future.id, "state") == "RUNNING")
    assert helpers.remove_task(future.id, force=True)
    assert helpers.get_new_task_ids() == helpers.get_end_task_ids() == []
    helpers.store.count()
    # The Monitor scans for orphans with its full check.
    wait_until(lambda: int(client.info("commandstats")["cmdstat_scan"]["calls"]) > 2)
    assert worker.stop() == 0
    helpers.connector.close()

    refused = client.acl_log()
    assert refused == [], f"{refused}\n{worker.output}"
    assert "NOPERM" not in worker.output
