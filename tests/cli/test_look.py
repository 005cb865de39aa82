"""``pytask status``, ``show`` and ``list``."""

import json
import os
import pty
import re
import subprocess
import sys


def test_status_counts_tasks_by_queue(shell):
    shell.enqueue("a")
    shell.enqueue("b", queue="mail")
    shell.enqueue("c", delay=60)
    shell.make_ended("x")

    done = shell("status", "--queues", "mail,crm", "--json")

    assert done.code == 0
    assert done.object["queues"] == {"default": 1, "mail": 1, "crm": 0}
    counts = done.object["counts"]
    assert (counts["waiting"], counts["delayed"], counts["failed"]) == (2, 1, 1)
    assert done.object["workers"] == []
    table = shell("status", "--queues", "mail").lines
    assert "waiting in mail\t1" in table
    assert "delayed\t1" in table


def test_status_shows_the_workers(busy_shell):
    worker = busy_shell("status", "--json").object["workers"][0]

    assert worker["queues"].startswith("default,node.")
    # It beats each second; whether it is alive follows from this.
    assert worker["alive"] is (worker["silent_for"] <= 5)
    (row,) = [line for line in busy_shell("status").lines if line.startswith(worker["id"])]
    assert row.split("\t")[1:3] == [worker["host"], worker["pid"]]


def test_a_dead_worker_and_one_that_left_are_told_apart(shell):
    registry = f"{shell.names.task_set}:workers"
    shell.raw.zadd(registry, {"dead-one": float(shell.raw.time()[0]) - 60, "left-one": 0})

    rows = {line.split("\t")[0]: line for line in shell("status").lines}

    assert rows["dead-one"].endswith(" s ago, dead")
    assert rows["left-one"].endswith("has left")
    workers = {one["id"]: one for one in shell("status", "--json").object["workers"]}
    assert workers["left-one"]["silent_for"] is None
    assert (workers["left-one"]["left"], workers["dead-one"]["left"]) == (True, False)


def test_status_is_repeated_on_request(shell, spawn, wait_until):
    watching = spawn("status", "--watch", "0.1", "--json")

    wait_until(lambda: len(watching.output.splitlines()) >= 3, message=lambda: watching.output)

    assert json.loads(watching.output.splitlines()[0])["counts"]["waiting"] == 0


def test_show_writes_a_record_with_its_traceback(shell):
    output = json.dumps("Traceback:\n  line\nValueError: x")
    shell.make_ended("x", "EXCEPTION", output=output, ended="1700000000.0", history="lost w1")

    done = shell("show", "x")

    assert done.code == 0
    assert "state    EXCEPTION" in done.lines
    assert done.out.index("state") < done.out.index("output") < done.out.index("history")
    assert "         ValueError: x" in done.lines
    assert "2023-11-1" in done.out


def test_show_decodes_data_and_output_for_programs(shell):
    shell.make_ended("x", data='{"n": 1}', output='["a"]', started="no number")

    done = shell("show", "x", "--json")

    assert done.object["id"] == "x"
    assert (done.object["data"], done.object["output"]) == ({"n": 1}, ["a"])
    assert "no number" in shell("show", "x").out


def test_show_keeps_what_is_not_json_as_text(shell):
    shell.make_ended("x", data="{broken")
    assert shell("show", "x", "--json").object["data"] == "{broken"


def test_showing_an_unknown_task_exits_with_1(shell):
    done = shell("show", "nobody")
    assert (done.code, done.out) == (1, "")
    assert "task nobody has no record" in done.complaint


def test_list_finds_tasks_wherever_they_are(shell):
    shell.enqueue("w")
    shell.enqueue("d", delay=60)
    shell("stop", "w")
    shell.enqueue("w2")
    shell.make_ended("f")
    shell.raw.lpush(shell.names.end_queue, "e")

    rows = {tuple(line.split("\t")) for line in shell("list").lines[1:]}

    assert {("w2", "job", "WAIT", "waiting"), ("d", "job", "WAIT", "delayed")} <= rows
    assert {("f", "jobs/fail", "ERROR", "failed"), ("e", "", "WAIT", "ended")} <= rows
    assert ("w", "job", "STOPPED", "active") in rows
    assert shell("list", "failed", "--ids").lines == ["f"]
    assert shell("list", "--state", "stopped", "--ids", "active").lines == ["w"]
    assert [one["id"] for one in shell("list", "delayed", "--json").objects] == ["d"]


def test_what_is_no_task_hides_none_in_a_list(shell):
    shell.enqueue("w")
    odd = f"{shell.names.task_prefix}odd"
    shell.raw.rpush(odd, "foreign")
    shell.raw.lpush(shell.names.new_queue, "odd")
    found = {one["id"]: (one["task"], one["state"]) for one in shell("list", "--json").objects}
    assert found == {"w": ("job", "WAIT"), "odd": (None, None)}
    assert shell("list", "--state", "wait", "--ids").lines == ["w"]
    shell.raw.delete(odd)


def test_list_stops_at_the_limit_and_takes_queues(shell):
    shell.enqueue("m1", "m2", "m3", queue="mail")

    assert shell("list", "waiting", "--ids").lines == []
    assert len(shell("list", "waiting", "--queues", "mail", "--limit", "2", "--ids").lines) == 2
    assert "waiting in mail" in shell("list", "--queues", "mail").out
    assert shell("list", "--limit", "99999999999999999999").code == 2


def test_ids_that_are_not_utf8_survive(shell):
    task_id = b"\xff-id"
    shell.raw.hset(shell.names.task_prefix.encode() + task_id, mapping={"task": "job"})
    shell.raw.lpush(shell.names.new_queue, task_id)
    name = task_id.decode("utf-8", "surrogateescape")

    assert shell("list", "--json").object["id"] == name
    assert shell("stop", name).code == 0
    assert shell.raw.hget(shell.names.task_prefix.encode() + task_id, "state") == "STOPPED"
    shell.raw.delete(shell.names.task_prefix.encode() + task_id, shell.names.new_queue)
    shell.raw.delete(shell.names.task_set)


def test_a_reader_that_has_seen_enough_is_no_error(shell):
    environment = {**shell.variables, "PYTASK_WATCH": "0.1"}
    line = f"{sys.executable} -m pytask status --json | head -n 2"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=environment, timeout=60
    )
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_tables_are_aligned_on_a_terminal(shell):
    shell.enqueue("[red]", "b" * 60)
    terminal, worker_side = pty.openpty()
    listing = subprocess.Popen(
        [sys.executable, "-m", "pytask", "list"],
        env={**os.environ, **shell.variables, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=worker_side,
        stderr=worker_side,
    )
    assert listing.wait(60) == 0
    os.close(worker_side)
    lines = os.read(terminal, 100_000).decode().splitlines()
    os.close(terminal)

    (row,) = [line for line in lines if "[red]" in line]
    (heading,) = [line for line in lines if "TASK" in line]
    assert re.sub("\x1b.*?m", "", heading).index("STATE") == row.index("WAIT")
    assert "\t" not in row


def test_schedules_shows_what_is_due_next_and_forgets_what_nobody_defines(shell):
    shell.raw.hset(f"{shell.names.task_set}:schedules", "late", 4e9)
    shell.raw.hset(f"{shell.names.task_set}:schedules", "soon", 1795213025)

    (head, soon, late) = shell("schedules").lines
    assert head == "SCHEDULE\tDUE"
    assert (soon.split("\t")[0], late.split("\t")[0]) == ("soon", "late")
    assert shell("schedules", "--json").objects[1] == {
        "schedule": "soon",
        "due": "2026-11-20T22:17:05+00:00",
    }

    assert shell("schedules", "--forget", "late").code == 0
    assert len(shell("schedules").lines) == 2
    again = shell("schedules", "--forget", "late")
    assert again.code == 1 and "no schedule 'late' is known" in again.err


def test_bytes_are_shown_as_base64(shell):
    from pytask.serializers import encode_value

    shell.make_ended("x")
    packed = {"data": encode_value({"a": b"\xff", 1: 2}, "msgpack")}
    packed["output"] = encode_value([b"\x00", "ok"], "msgpack")
    shell.raw.hset(shell.names.task_prefix + "x", mapping=packed)

    found = shell("show", "x", "--json").object
    assert (found["data"], found["output"]) == ({"a": "/w==", "1": 2}, ["AA==", "ok"])
    shown = shell("show", "x").lines
    rows = dict(line.split(maxsplit=1) for line in shown if line.startswith(("data ", "output ")))
    assert rows == {"data": '{"a":"/w==","1":2}', "output": '["AA==","ok"]'}
