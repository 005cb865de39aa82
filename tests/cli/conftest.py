"""The command line as a person uses it: a process, beside an app, with variables set."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.namespace import Namespace
from tests.support.worker import ROOT, WorkerProcess

JOBS = """
    import os
    import gevent
    from pytask import PyTask, Task
    from tests.support.tell import tell

    class Add(Task):
        NAME = "jobs/add"
        def __init__(self, a, b=0):
            self.a, self.b = a, b
        def start(self):
            return self.a + self.b

    class Fail(Task):
        NAME = "jobs/fail"
        def start(self):
            raise self.Error("no luck")

    class Crash(Task):
        NAME = "jobs/crash"
        def start(self):
            raise ValueError("a bug")

    class Rest(Task):
        NAME = "jobs/rest"
        def __init__(self, seconds=600):
            self.seconds = seconds
        def start(self):
            tell("resting", task=self.id, pid=os.getpid())
            gevent.sleep(self.seconds)
            return "rested"

    def ended(task_id, record):
        tell("handled", task=task_id, state=record["state"])

    app = PyTask("redis://127.0.0.1:1/0")
    app.add_tasks(Add, Fail, Crash, Rest)
    not_an_app = 5
"""


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.lines]

    @property
    def object(self) -> Any:
        (one,) = self.objects
        return one

    @property
    def complaint(self) -> str:
        """The one line on stderr."""
        (line,) = self.err.splitlines()
        assert line.startswith("pytask: ")
        return line.removeprefix("pytask: ")


@dataclass(frozen=True)
class Shell:
    """A directory with an app, and the variables that lead to one test's keys."""

    directory: Path
    names: Namespace
    server: Any
    variables: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, timeout: float = 60.0, **variables: str) -> Result:
        """Run ``pytask`` and wait for its end."""
        done = subprocess.run(
            [sys.executable, "-m", "pytask", *words],
            cwd=self.directory,
            env={**os.environ, **self.variables, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            encoding="utf-8",
            errors="surrogateescape",
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def spawn(self, *words: str, **variables: str) -> WorkerProcess:
        """Run ``pytask`` beside the test, which closes it."""
        path = os.pathsep.join([str(self.directory), str(ROOT)])
        environment = {**self.variables, "PYTHONPATH": path, **variables}
        return WorkerProcess("-m pytask", words, environment)

    def enqueue(self, *task_ids: str, task: str = "job", **options: Any) -> None:
        """Start tasks without the command line, which takes a quarter of a second each time."""
        from pytask import PyTaskHelpers

        helpers = PyTaskHelpers(self.server.url, **self.names.options)
        for task_id in task_ids:
            helpers.submit(task, task_id=task_id, **options)
        helpers.connector.close()

    @property
    def raw(self) -> Any:
        return self.server.client()

    def record(self, task_id: str) -> dict[str, str]:
        record: dict[str, str] = self.raw.hgetall(self.names.task_prefix + task_id)
        return record

    def state(self, task_id: str) -> str | None:
        return self.record(task_id).get("state")

    def make_ended(self, task_id: str, state: str = "ERROR", **fields: str) -> None:
        """Write the record of a task that has ended and is kept."""
        record = {"task": "jobs/fail", "data": "{}", "state": state, **fields}
        self.raw.hset(self.names.task_prefix + task_id, mapping=record)
        self.raw.zadd(f"{self.names.task_set}:failed", {task_id: 1})


def variables_of(names: Namespace, redis: str) -> dict[str, str]:
    """Return the environment that leads the command line to these keys."""
    options = {f"PYTASK_{name.upper()}": str(value) for name, value in names.options.items()}
    return {**options, "PYTASK_REDIS": redis, "PYTHONPATH": str(ROOT), "PYTASK_APP": ""}


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``jobs.py`` is."""
    directory = tmp_path_factory.mktemp("project")
    (directory / "jobs.py").write_text(textwrap.dedent(JOBS))
    return directory


@pytest.fixture
def shell(valkey_server: Any, directory: Path) -> Iterator[Shell]:
    """A shell with keys of its own and no worker."""
    names = Namespace.fresh()
    yield Shell(directory, names, valkey_server, variables_of(names, valkey_server.url))
    names.remove([valkey_server.client()])


@pytest.fixture(scope="session")
def busy_shell(valkey_server: Any, directory: Path) -> Iterator[Shell]:
    """A shell that all tests share, and a worker behind it."""
    names = Namespace.fresh()
    shell = Shell(directory, names, valkey_server, variables_of(names, valkey_server.url))
    worker = shell.spawn("worker", "-A", "jobs", "--stop-timeout", "1")
    try:
        worker.wait_for_line("takes tasks from")
        yield shell
    finally:
        worker.close()
        names.remove([valkey_server.client()])


@pytest.fixture
def spawn(shell: Shell) -> Iterator[Callable[..., WorkerProcess]]:
    """Run ``pytask`` beside the test, in its shell."""
    processes: list[WorkerProcess] = []

    def start(*words: str, **variables: str) -> WorkerProcess:
        processes.append(shell.spawn(*words, **variables))
        return processes[-1]

    yield start
    for one in processes:
        one.close()


@pytest.fixture
def spawn_on(directory: Path) -> Callable[..., Shell]:
    """Make a shell on another deployment than a single server."""

    def make(deployment: Any, names: Namespace) -> Shell:
        return Shell(directory, names, deployment, variables_of(names, deployment.url))

    return make
