"""``pytask worker`` in one process."""

import signal

import pytest

from pytask import Cleanup, ConfigurationError, PyTask
from pytask.cli.worker import add_bundled_tasks


def local_tasks(shell):
    names = [
        shell.record(task_id).get("task") for task_id in shell.raw.smembers(shell.names.task_set)
    ]
    return sorted(name for name in names if name)


def test_a_worker_runs_tasks_with_monitor_and_cleanup_and_ends_well(shell, spawn, wait_until):
    worker = spawn("worker", "-A", "jobs:app")
    wait_until(lambda: local_tasks(shell) == ["pytask/cleanup", "pytask/monitor"])

    assert shell("start", "jobs/add", "a:=1", "--wait", "30").code == 0
    assert worker.stop() == 0
    assert local_tasks(shell) == []


def test_monitor_and_cleanup_can_be_left_out(shell, spawn):
    worker = spawn("worker", "--no-monitor", PYTASK_APP="jobs", PYTASK_NO_CLEANUP="1")
    shell.enqueue("one", task="jobs/rest")

    worker.wait_for_event("resting")
    assert local_tasks(shell) == ["jobs/rest"]


def test_an_app_with_a_monitor_and_cleanup_of_its_own_keeps_them(shell, spawn, wait_until):
    (shell.directory / "own.py").write_text(
        "from pytask import Cleanup, Monitor\n"
        "from jobs import app\n"
        "app.add_tasks(Cleanup, Monitor)\n"
        "app.start_local_task('pytask/monitor', loop_interval=1)\n"
    )
    shell.enqueue("one", task="jobs/rest")
    worker = spawn("worker", "-A", "own", "--log-level", "warning")

    worker.wait_for_event("resting")
    wait_until(lambda: local_tasks(shell) == ["jobs/rest", "pytask/monitor"])
    assert "INFO" not in worker.output


def test_the_handler_of_cleanup_sees_what_ended(shell, spawn):
    worker = spawn("worker", "-A", "jobs", "--task-handler", "jobs:ended")
    shell.enqueue("bad", task="jobs/fail")

    assert worker.wait_for_event("handled") == {"event": "handled", "task": "bad", "state": "ERROR"}


def test_settings_of_the_command_line_win_over_variables_and_these_over_the_app(
    shell, spawn, wait_until
):
    words = ["--concurrency", "7", "--queues", "mail, default", "--monitor-interval", "2"]
    words += ["--node", "here"]
    spawn("worker", "-A", "jobs", *words, PYTASK_CONCURRENCY="9", PYTASK_DRAIN_TIMEOUT="3")

    workers = f"{shell.names.task_set}:workers"
    (worker_id,) = wait_until(lambda: shell.raw.zrange(workers, 0, -1))
    details = shell.raw.hgetall(f"{shell.names.task_set}:worker:{worker_id}")
    assert (details["concurrency"], details["queues"]) == ("7", "mail,default,node.here")
    shell.enqueue("m", task="jobs/add", queue="mail", data={"a": 1}, cleanup=False)
    wait_until(lambda: shell.state("m") == "SUCCESS")


def test_a_signal_drains_and_a_second_one_does_not_wait(shell, spawn):
    worker = spawn("worker", "-A", "jobs", "--drain-timeout", "60")
    shell.enqueue("long", task="jobs/rest")
    worker.wait_for_event("resting")

    worker.signal(signal.SIGTERM)
    worker.wait_for_line("no more tasks are taken")
    worker.signal(signal.SIGTERM)

    assert worker.wait() == 0
    assert shell.state("long") == "WAIT"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "no app: name one with -A MODULE:APP"),
        (["-A", "jobs:not_an_app"], "not a PyTask object; it has -A jobs:app"),
        (["-A", "jobs", "--redis-grace", "9"], "redis_grace=9.0 must be less than worker_timeout"),
        (["-A", "jobs", "--task-handler", "jobs:nothing"], "cannot be imported"),
        (
            ["-A", "jobs", "--concurrency", "many"],
            "'many': a whole number is needed, 'N/core' or 'auto'",
        ),
    ],
)
def test_a_worker_that_cannot_work_says_why(shell, words, complaint):
    done = shell("worker", *words)
    assert done.code == 2
    assert complaint in done.complaint


@pytest.mark.parametrize(
    ("redis", "settings", "complaint"),
    [
        (None, {"queues": ()}, "a worker needs at least one queue"),
        (None, {"queues": ("a", "claims")}, "'claims' is reserved"),
        ("gopher://x", {}, "a Redis URL starts with"),
    ],
)
def test_what_the_app_cannot_be_set_to_is_refused(redis, settings, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        PyTask("redis://x").configure(redis, **settings)


def test_what_is_not_given_stays_as_the_app_has_it():
    app = PyTask("redis://x", concurrency=3)
    before = app.settings, app.helpers
    app.configure()
    assert (app.settings, app.helpers) == before
    app.configure("redis://y/2", queues=("q",))
    assert (app.settings.concurrency, app.settings.queues) == (3, ("q",))
    assert app.helpers.connector.description == "redis://y:6379/2"


def test_a_handler_that_no_cleanup_would_call_is_refused():
    with pytest.raises(ConfigurationError, match="because of --no-cleanup"):
        add_bundled_tasks(PyTask("redis://x"), cleanup=False, task_handler="json:dumps")
    app = PyTask("redis://x")
    app.add_task(Cleanup)
    with pytest.raises(ConfigurationError, match="the app has a Cleanup of its own"):
        add_bundled_tasks(app, task_handler="json:dumps")


def test_the_stacks_of_all_greenlets_are_written_on_request(shell, spawn):
    worker = spawn("worker", "-A", "jobs")
    shell.enqueue("long", task="jobs/rest")
    worker.wait_for_event("resting")

    worker.signal(signal.SIGUSR1)

    worker.wait_for_line(r"gevent.sleep\(self.seconds\)")
    assert worker.running
