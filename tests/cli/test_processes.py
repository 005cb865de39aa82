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

    pair.wait_for_line(r"ended with signal SIGKILL; it is started again in 0.5 s")
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
