"""``pytask start``."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.waiting import wait_until


def test_start_stores_text_and_json_and_writes_the_id(shell):
    done = shell("start", "mail/send", "to=ada@example.org", "copies:=2", 'tags:=["a"]', "q=a:=b=c")

    assert (done.code, done.err) == (0, "")
    record = shell.record(done.lines[0])
    assert record["task"] == "mail/send"
    assert json.loads(record["data"]) == {
        "to": "ada@example.org",
        "copies": 2,
        "tags": ["a"],
        "q": "a:=b=c",
    }
    assert shell.raw.lrange(shell.names.new_queue, 0, -1) == done.lines


def test_start_takes_id_queue_and_cleanup_and_writes_json(shell):
    done = shell("start", "job", "--id", "one", "--queue", "mail", "--no-cleanup", "--json")

    assert done.object == {"id": "one", "task": "job", "started": True}
    assert shell.raw.lrange(f"{shell.names.new_queue}:mail", 0, -1) == ["one"]
    assert shell.record("one")["cleanup"] == "false"


def test_a_delayed_task_waits_in_the_delayed_set(shell):
    shell("start", "job", "--id", "later", "--delay", "60", "--expires", "90")

    assert shell.raw.zscore(f"{shell.names.new_queue}:delayed", "later")
    assert float(shell.record("later")["expires"]) > float(shell.record("later")["created"])


def test_a_task_that_waits_already_is_left_alone(shell):
    shell.enqueue("same", data={"n": 1})
    again = shell("start", "job", "n:=2", "--id", "same", "--json")

    assert again.code == 0
    assert again.object["started"] is False
    assert "task same was waiting or running already" in again.complaint
    assert shell.record("same")["data"] == '{"n":1}'


def test_every_option_is_read_from_the_environment_and_the_command_line_wins(shell):
    done = shell(
        "start", "job", "--id", "chosen", PYTASK_ID="other", PYTASK_QUEUE="crm", PYTASK_JSON="1"
    )

    assert done.object["id"] == "chosen"
    assert shell.record("chosen")["queue"] == "crm"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["a:=nonsense"], "'a:=nonsense': 'nonsense' is not JSON"),
        (["--wait=soon"], "'soon' is neither a number of seconds nor 'forever'"),
        (["--queue", "no good"], "queue name 'no good' is not usable"),
        (["--delay", "-1"], "seconds from now"),
        (["--id", "a\nb"], "holds a control character"),
    ],
)
def test_wrong_input_is_a_usage_error_and_starts_nothing(shell, words, complaint):
    done = shell("start", "job", *words)

    assert done.code == 2
    assert complaint in done.complaint
    assert shell.raw.llen(shell.names.new_queue) == 0


def test_start_without_a_name_says_what_is_missing(shell):
    done = shell("start")
    assert done.code == 2
    assert "NAME" in done.complaint
    assert "pytask start --help" in done.complaint


def test_waiting_for_a_success_writes_its_output(busy_shell):
    done = busy_shell("start", "--wait", "jobs/add", "a:=1", "b:=2")

    assert (done.code, done.err) == (0, "")
    assert done.lines[1] == "3"


def test_waiting_with_json_writes_one_object(busy_shell):
    done = busy_shell("start", "jobs/add", "a=1", "b=2", "--wait", "40", "--json", "--id", "sum")

    assert done.code == 0
    assert done.object == {"id": "sum", "state": "SUCCESS", "output": "12"}


@pytest.mark.parametrize(
    ("task", "state", "last_words"),
    [("fail", "ERROR", "no luck"), ("crash", "EXCEPTION", "ValueError: a bug")],
)
def test_waiting_for_a_failure_exits_with_5(busy_shell, task, state, last_words):
    done = busy_shell("start", f"jobs/{task}", "--wait=40", "--json")

    assert done.code == 5
    assert done.object["state"] == state
    assert last_words in done.object["output"]
    assert done.complaint == f"task {done.object['id']} ended as {state}: {last_words}"


def test_waiting_too_long_exits_with_124_and_the_task_goes_on(busy_shell):
    done = busy_shell("start", "jobs/rest", "--id", "long", "--wait", "0.3", "--json")

    assert done.code == 124
    assert "task long has not ended within 0.3 s" in done.complaint
    assert "pytask show long" in done.complaint
    assert done.object["state"] in ("WAIT", "RUNNING")
    wait_until(lambda: busy_shell.state("long") == "RUNNING")
    busy_shell("stop", "long")


def test_a_task_stopped_or_removed_while_it_is_waited_for_exits_with_5(busy_shell):
    with ThreadPoolExecutor() as pool:
        calls = [
            pool.submit(busy_shell, "start", "jobs/rest", "--id", task_id, "--wait")
            for task_id in ("stopped", "removed")
        ]
        for task_id in ("stopped", "removed"):
            wait_until(lambda task_id=task_id: busy_shell.state(task_id) == "RUNNING")
        busy_shell("stop", "stopped")
        busy_shell("remove", "--force", "removed")
        stopped, removed = (call.result() for call in calls)

    assert (stopped.code, removed.code) == (5, 5)
    assert "task stopped ended as STOPPED" in stopped.complaint
    assert "task removed was removed while it was waited for" in removed.complaint


def test_ctrl_c_ends_the_waiting_but_not_the_task(shell, spawn, wait_until):
    waiting = spawn("start", "job", "--id", "patient", "--wait")
    waiting.wait_for_line("^patient$")

    waiting.signal(signal.SIGINT)

    assert waiting.wait() == 130
    assert waiting.output.split() == ["patient"]
    assert shell.state("patient") == "WAIT"


def test_the_app_tells_where_redis_is_and_the_command_line_overrides_it(shell):
    done = shell("start", "job", "-A", "jobs:app", "--id", "from-app")

    assert done.code == 0
    assert shell.state("from-app") == "WAIT"


def test_the_keys_come_from_the_app_if_nothing_else_is_given(shell):
    source = (
        "from pytask import PyTask\n"
        f"app = PyTask({shell.server.url!r}, **{shell.names.options!r})\n"
    )
    (shell.directory / "other.py").write_text(source)
    variables = {name: "" for name in shell.variables if name.startswith("PYTASK_")}

    done = shell("start", "job", "-A", "other", "--id", "named", **variables)

    assert (done.code, done.err) == (0, "")
    assert shell.state("named") == "WAIT"
