"""``pytask queues``, ``pause``, ``resume``, ``flush``; ``start --at`` and ``--queue @local``."""

import os
import pty
import subprocess
import sys
import time


def test_queues_are_shown_with_what_is_remarkable(shell):
    shell.enqueue("a")
    shell.enqueue("b", queue="mail")
    shell.enqueue("c", queue="node.gone")
    shell.enqueue("d", queue="old")
    shell.enqueue("e", queue="mail", delay=60)
    shell("pause", "mail")

    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in shell("queues").lines}

    assert rows["QUEUE"] == ["WAITING", "WORKERS", "REMARK"]
    assert rows["default"] == ["1", "0", "no worker takes tasks from it"]
    assert rows["mail"] == ["1", "0", "paused"]
    assert rows["node.gone"] == ["1", "0", "no worker on that node"]
    assert rows["old"][0] == "1"
    known = {one["name"]: one for one in shell("queues", "--no-scan", "--json").objects}
    assert known.keys() == {"default", "mail"}
    assert known["mail"] == {"name": "mail", "waiting": 1, "paused": True, "consumers": []}


def test_the_workers_of_a_queue_are_counted(busy_shell):
    found = {one["name"]: one for one in busy_shell("queues", "--json").objects}
    (worker,) = found["default"]["consumers"]
    assert [name for name, one in found.items() if one["consumers"] == [worker]][1].startswith(
        "node."
    )


def test_a_queue_is_paused_and_resumed(shell):
    assert shell("pause", "mail").lines == ["mail: paused"]
    again = shell("pause", "mail", "--json").object
    assert (again["ok"], again["changed"], again["message"]) == (True, False, "was paused before")
    assert shell.raw.smembers(f"{shell.names.new_queue}:paused") == {"mail"}
    assert shell("resume", "mail").lines == ["mail: resumed"]
    assert shell("resume", "mail").lines == ["mail: was not paused"]


def test_the_queue_of_this_machine_has_a_name_of_its_own(shell):
    assert shell("pause", "@local", PYTASK_NODE="here").code == 0
    assert shell.raw.smembers(f"{shell.names.new_queue}:paused") == {"node.here"}
    shell("start", "job", "--queue", "@local", "--id", "t", "--node", "here")
    assert shell.record("t")["queue"] == "node.here"


def test_flush_removes_what_waits_if_told_so(shell):
    shell.enqueue("a", "b")
    shell.enqueue("c", queue="mail")
    asked = shell("flush", "default")
    assert (asked.code, shell.state("a")) == (2, "WAIT")
    assert "say --yes" in asked.complaint

    assert shell("flush", "default", "--yes").lines == ["default: 2 tasks removed"]

    assert (shell.state("a"), shell.state("c")) == (None, "WAIT")
    assert shell("flush", "mail", "--yes", "--json").object == {"queue": "mail", "removed": 1}


def test_flush_asks_somebody_who_is_there(shell):
    for answer, is_gone in ((b"n\n", False), (b"y\n", True)):
        shell.enqueue("a")
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        done = subprocess.run(
            [sys.executable, "-m", "pytask", "flush", "default"],
            env={**os.environ, **shell.variables},
            stdin=theirs,
            capture_output=True,
            timeout=60,
            text=True,
        )
        os.close(ours)
        os.close(theirs)
        assert "Remove the 1 tasks" in done.stderr
        assert (shell.state("a") is None, done.returncode) == (is_gone, int(not is_gone))


def test_a_queue_needs_a_usable_name(shell):
    for command in ("pause", "resume", "flush"):
        done = shell(command, "a b", *(["--yes"] if command == "flush" else []))
        assert (done.code, "queue name 'a b'" in done.complaint) == (2, True)


def test_a_task_is_started_for_a_time(shell):
    delayed = f"{shell.names.new_queue}:delayed"
    shell("start", "job", "--id", "a", "--at", "2100-01-01T00:00:00+00:00")
    shell("start", "job", "--id", "b", "--at", "4102444801.5")
    assert shell.raw.zscore(delayed, "a") == 4102444800
    assert shell.raw.zscore(delayed, "b") == 4102444801.5
    shell("start", "job", "--id", "c", "--at", f"{time.time() - 60}")
    assert shell.raw.lrange(shell.names.new_queue, 0, -1) == ["c"]
    wrong = shell("start", "job", "--at", "tomorrow")
    assert (wrong.code, "no time" in wrong.complaint) == (2, True)
    assert shell("start", "job", "--at", "4102444801", "--delay", "5").code == 2
