"""The app as an object: options, classes, client use."""

import re
import subprocess
import sys
from typing import Any

import pytest

import pytask
from pytask import ConfigurationError, InvalidTask, PyTask, StopTask, Task
from tests.support.process import bare_environment
from tests.support.waiting import PATIENCE, wait_until
from tests.support.worker import ROOT
from tests.worker.conftest import Serve

NOWHERE = "redis://localhost:1"


class Plain(Task):
    NAME = "plain"

    def __init__(self, name: str = "") -> None:
        self.name = name

    def start(self) -> str:
        return self.name


def test_an_app_connects_to_nothing_when_it_is_made() -> None:
    app = PyTask(NOWHERE)
    assert app.settings.update_task_interval == 5
    assert re.fullmatch(r".+-\d+-[0-9a-f]{8}", app.worker_id)
    assert app.redis is app.helpers.redis


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ConfigurationError, match="unknown option concurency; the options are"):
        PyTask(NOWHERE, concurency=5)


def test_options_are_settings() -> None:
    app = PyTask(NOWHERE, 7, concurrency=5, queues=["a"], task_prefix="t-")
    assert app.settings.update_task_interval == 7
    assert app.settings.concurrency == 5 and app.settings.queues == ("a",)
    assert app.helpers.keys.task_prefix == "t-"


def test_the_exceptions_of_the_seed_are_attributes() -> None:
    assert PyTask.StopTask is StopTask and not issubclass(StopTask, Exception)
    assert PyTask.PyTaskException is pytask.PyTaskException


def test_two_classes_of_one_name_are_refused() -> None:
    app = PyTask(NOWHERE)
    app.add_tasks(Plain, Plain)
    with pytest.raises(ConfigurationError, match="two task classes"):
        app.add_task(type("Other", (Task,), {"NAME": "plain"}))


def test_local_data_are_checked_at_once() -> None:
    with pytest.raises(InvalidTask, match="not JSON"):
        PyTask(NOWHERE).start_local_task("plain", name={1, 2})


@pytest.mark.topologies("valkey")
def test_a_task_map_adds_classes_by_name(app: Any, serve: Serve) -> None:
    import gevent

    one = app()
    running = gevent.spawn(one.run, {"renamed": Plain})
    future = one.helpers.submit("renamed", {"name": "x"})
    assert future.wait(PATIENCE) == "SUCCESS"
    one.stop()
    running.join(PATIENCE)
    assert running.successful()


@pytest.mark.topologies("valkey")
def test_local_tasks_start_while_the_worker_runs(serve: Serve) -> None:
    worker = serve(Plain)
    worker.app.start_local_task("plain", name="local")

    def ended() -> Any:
        return worker.helpers.get_end_task_ids()

    (task_id,) = wait_until(ended)
    assert worker.output(task_id) == "local"


def run_python(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env=bare_environment(),
    )


def test_without_patching_run_says_which_lines_are_missing() -> None:
    result = run_python(f"from pytask import PyTask; PyTask({NOWHERE!r}).run()")
    assert result.returncode == 1
    assert "ConfigurationError" in result.stderr
    assert "from gevent import monkey\n    monkey.patch_all()" in result.stderr


def test_a_client_needs_neither_patching_nor_gevent() -> None:
    result = run_python(
        "import sys\n"
        "from pytask import PyTask, Task\n"
        f"app = PyTask({NOWHERE!r})\n"
        "class A(Task):\n    NAME = 'a'\n"
        "app.add_task(A)\n"
        "assert 'gevent' not in sys.modules, sorted(m for m in sys.modules if 'gevent' in m)\n"
    )
    assert result.returncode == 0, result.stderr


def test_importing_pytask_imports_neither_redis_nor_gevent() -> None:
    result = run_python(
        "import sys, pytask\n"
        "assert not {'redis', 'gevent'} & set(sys.modules), 'imported too early'\n"
    )
    assert result.returncode == 0, result.stderr
