"""``pytask failed``: dead letters, listed in pages, retried and dropped, one or all."""

import json


def kept(shell):
    return set(shell.raw.zrange(f"{shell.names.task_set}:failed", 0, -1))


def make(shell, number):
    for one in range(number):
        shell.make_ended(f"t{one}", output='"why"')
        shell.raw.zadd(f"{shell.names.task_set}:failed", {f"t{one}": 1000 + one})


def test_failures_are_listed_the_latest_first_and_in_pages(shell):
    make(shell, 3)
    error = {"types": ["shop.NoStock", "builtins.Exception"], "message": "no tea\nleft"}
    shell.raw.hset(f"{shell.names.task_prefix}t2", "error", json.dumps(error))
    listed = shell("failed").lines
    assert listed[0].split("\t") == ["ID", "TASK", "STATE", "KEPT SINCE", "REASON"]
    rows = [line.split("\t") for line in listed[1:]]
    assert [row[0] for row in rows] == ["t2", "t1", "t0"]
    assert (rows[0][1:3], rows[0][4]) == (["jobs/fail", "ERROR"], "NoStock: no tea")
    page = shell("failed", "--number", "1", "--after", "1", "--json").object
    assert page == {
        "id": "t1",
        "task": "jobs/fail",
        "state": "ERROR",
        "kept_at": "1970-01-01T00:16:41+00:00",
        "reason": "why",
        "output": "why",
    }
    assert shell("show", "t2", "--json").object["error"] == error


def test_one_is_retried_or_dropped_and_others_are_told_apart(shell):
    make(shell, 3)
    assert shell("failed", "--retry", "t0").lines == ["t0: waits again"]
    assert (shell.state("t0"), kept(shell)) == ("WAIT", {"t1", "t2"})
    assert shell("failed", "--drop", "t1").lines == ["t1: dropped"]
    assert (shell.state("t1"), kept(shell)) == (None, {"t2"})
    for way in ("--retry", "--drop"):
        done = shell("failed", way, "t0", way, "nowhere", "--json")
        assert (done.code, [one["ok"] for one in done.objects]) == (1, [False, False])
        said = f"cannot {way[2:]} task nowhere: it is not among the tasks that failed for good"
        assert said in done.err
    assert shell.state("t0") == "WAIT"


def test_all_are_retried_or_dropped_if_told_so(shell):
    make(shell, 3)
    asked = shell("failed", "--drop-all")
    assert (asked.code, len(kept(shell))) == (2, 3)
    assert "3 tasks have failed" in asked.complaint and "--yes" in asked.complaint
    assert shell("failed", "--retry-all", "--yes").lines == ["3 tasks retried"]
    assert [shell.state(f"t{one}") for one in range(3)] == ["WAIT"] * 3
    # The earliest is the first to run.
    assert shell.raw.lrange(shell.names.new_queue, 0, -1) == ["t2", "t1", "t0"]
    make(shell, 2)
    assert shell("failed", "--drop-all", "--yes", "--json").object == {"dropped": 2}
    assert kept(shell) == set()


def test_two_things_at_a_time_are_refused(shell):
    make(shell, 1)
    done = shell("failed", "--retry", "t0", "--drop-all", "--yes")
    assert (done.code, kept(shell)) == (2, {"t0"})
    assert "one of --retry" in done.complaint
