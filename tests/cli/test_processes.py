"""``pytask worker --processes``."""

import os
import signal

import pytest
from gevent import monkey

from pytask.worker.processes import Processes, _outlive_nobody


def pids(shell):
    """Return the process IDs of the living workers, from the registry."""
    workers = shell.raw.zrange(f"{shell.names.task_set}:workers", 0, -1)
    found = {int(shell.raw.hget(f"{shell.names.task_set}:worker:{one}", "pid")) for one in workers}
    return {pid for pid in found if is_alive(pid)}


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def pair(shell, spawn, wait_until):
    """A supervisor with two workers."""
    supervisor = spawn("worker", "-A", "jobs", "--processes", "2", "--stop-timeout", "10")
    wait_until(lambda: len(pids(shell)) == 2, message=lambda: supervisor.output)
    return supervisor


def test_a_crashed_process_is_started_again_and_sigterm_ends_all(shell, pair, wait_until):
    before = pids(shell)
    assert pair.pid not in before
    os.kill(min(before), signal.SIGKILL)

    pair.wait_for_line(r"was ended by signal SIGKILL; .* it is started again in 0.5 s")
    wait_until(lambda: len(pids(shell) - {min(before)}) == 2)
    last = pids(shell)

    assert pair.stop() == 0
    assert not any(map(is_alive, last))


def test_sigint_and_a_second_signal_reach_the_workers(shell, spawn, wait_until):
    words = ["--processes", "2", "--drain-timeout", "60", "--concurrency", "1"]
    pair = spawn("worker", "-A", "jobs", *words)
    shell.enqueue("a", "b", task="jobs/rest")
    resting = {pair.wait_for_event("resting", task=task)["pid"] for task in ("a", "b")}
    assert len(resting) == 2

    pair.signal(signal.SIGINT)
    wait_until(lambda: pair.output.count("no more tasks are taken") == 2)
    assert shell.state("a") == "RUNNING"
    pair.signal(signal.SIGINT)

    assert pair.wait() == 0
    assert (shell.state("a"), shell.state("b")) == ("WAIT", "WAIT")


def test_sigusr1_shows_the_stacks_of_all_workers(pair, wait_until):
    pair.signal(signal.SIGUSR1)
    wait_until(lambda: pair.output.count("* Threads") == 2, message=lambda: pair.output)
    assert pair.running


def test_no_worker_outlives_a_killed_supervisor(shell, pair, wait_until):
    shell.enqueue("long", task="jobs/rest")
    pair.wait_for_event("resting")
    workers = pids(shell)

    pair.kill()

    wait_until(lambda: not any(map(is_alive, workers)))
    assert shell.state("long") == "WAIT"


def test_a_worker_without_supervisor_asks_itself_politely_and_then_uses_force(monkeypatch):
    reading, writing = os.pipe()
    monkey.get_original("os", "close")(writing)
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))

    _outlive_nobody(reading, 0.0)

    os.close(reading)
    me = os.getpid()
    assert sent == [(me, signal.SIGTERM), (me, signal.SIGINT), (me, signal.SIGKILL)]


def test_workers_that_cannot_work_are_not_started_again(shell):
    done = shell("worker", "-A", "jobs", "--processes", "2", "--queues", "no queue")
    assert done.code == 2
    assert "'no queue' is not usable" in done.err


def test_all_processes_share_one_embedded_server(spawn, wait_until):
    pair = spawn("worker", "-A", "jobs", "--redis", "local://", "--processes", "2")
    wait_until(lambda: pair.output.count("takes tasks from") == 2, message=lambda: pair.output)
    words = [line.split(" at ")[1] for line in pair.output.splitlines() if "takes tasks" in line]
    assert len(set(words)) == 1
    assert pair.stop() == 0


def test_a_process_that_lived_long_is_started_again_without_a_growing_pause(caplog):
    class Healthy(Processes):
        min_delay = 0.01
        healthy_seconds = 0.0

        def _run_one(self, slot, lifeline):
            code = super()._run_one(slot, lifeline)
            if len(caplog.records) >= 3:
                self.forward(signal.SIGTERM)
            return code

    assert Healthy(["sh", "-c", "exit 7"], 1).run() == 1
    pauses = [record.args[2] for record in caplog.records if "started again" in record.message]
    assert set(pauses) == {0.01}


@pytest.mark.parametrize(("status", "expected"), [("0", 0), ("2", 2)])
def test_a_process_that_ends_by_itself_is_not_started_again(status, expected):
    assert Processes(["sh", "-c", f"exit {status}"], 2).run() == expected


def test_the_pause_before_a_restart_grows(caplog):
    class Hasty(Processes):
        min_delay = 0.01
        max_delay = 0.04

        def _run_one(self, slot, lifeline):
            code = super()._run_one(slot, lifeline)
            self.runs = getattr(self, "runs", 0) + 1
            if self.runs == 5:
                self.forward(signal.SIGTERM)
            return code

    hasty = Hasty(["sh", "-c", "exit 7"], 1)

    assert hasty.run() == 1
    assert hasty.runs == 5
    pauses = [record.args[2] for record in caplog.records if "started again" in record.message]
    assert pauses == [0.01, 0.02, 0.04, 0.04]


def test_a_process_that_has_run_max_tasks_is_replaced_at_once(shell, spawn, wait_until):
    one = spawn("worker", "-A", "jobs", "--processes", "2", "--max-tasks", "1")
    one.wait_for(lambda: one.output.count("takes tasks from") == 2, 60, "both take tasks")
    before = pids(shell)
    shell.enqueue("a", task="jobs/add", data={"a": 1}, cleanup=False)

    one.wait_for_line("has run max_tasks tasks; a new one follows")
    wait_until(lambda: len(pids(shell)) == 2 and pids(shell) != before)
    assert shell.state("a") == "SUCCESS"
    assert "started again in" not in one.output
    assert one.stop() == 0


def test_alone_such_a_process_ends_well(shell, spawn):
    one = spawn("worker", "-A", "jobs", "--max-tasks", "1")
    shell.enqueue("a", task="jobs/add", data={"a": 1})
    assert one.wait() == 0
    assert "max_tasks=1 reached" in one.output


def test_the_app_may_say_how_many_processes(shell, spawn, wait_until):
    (shell.directory / "many.py").write_text("from jobs import app\napp.configure(processes=2)\n")
    both = spawn("worker", "-A", "many")
    wait_until(lambda: len(pids(shell)) == 2, message=lambda: both.output)
    assert both.stop() == 0


PROGRAM = """
    from gevent import monkey
    monkey.patch_all()
    import logging, os, sys
    from pytask import PyTask, Task
    from tests.support.tell import tell

    class Who(Task):
        NAME = "who"
        def start(self):
            tell("ran", pid=os.getpid())
            return "PYTASK_LIFELINE" in os.environ

    logging.basicConfig(level="INFO")
    app = PyTask(sys.argv[1], processes=2, max_tasks=1)
    app.add_task(Who)
    app.configure_from()
    app.run()
    tell("returned", pid=os.getpid())
"""


@pytest.mark.parametrize("embedded", [False, True])
def test_a_script_runs_in_processes_too(shell, worker_process, wait_until, embedded):
    address = "local://" if embedded else shell.server.url
    script = worker_process(PROGRAM, [address], **{**shell.variables, "PYTASK_REDIS": ""})
    script.wait_for(lambda: script.output.count("takes tasks from") == 2, 60, "both take tasks")
    if not embedded:
        shell.enqueue("a", task="who", cleanup=False)
        pid = script.wait_for_event("ran")["pid"]
        assert pid != script.pid
        script.wait_for_line("a new one follows")
        assert shell.record("a")["output"] == "false", "processes of tasks have no lifeline"
    else:
        places = {one.split(" at ")[1] for one in script.output.splitlines() if " at unix" in one}
        assert len(places) == 1
    assert script.stop() == 0
    script.wait_for_event("returned", pid=script.pid)
