"""``pytask events``."""

import json
import signal

import pytest

from pytask.records import to_json
from pytask.serializers import encode_event, encode_value


@pytest.fixture
def listen(shell, spawn, wait_until):
    """Start to listen; a first event, ``probe``, has been heard when this returns."""

    def start(target, *words):
        listener = spawn("events", *words)
        channel = shell.names.task_prefix + target
        probe = '{"event": "probe"}'
        wait_until(lambda: shell.raw.publish(channel, probe) or not listener.running)
        listener.wait_for_line("probe")
        return listener

    return start


def emit(shell, task_id, event, data=None):
    shell.raw.publish(shell.names.task_prefix + task_id, to_json({"event": event, "data": data}))


def test_an_event_in_messagepack_is_shown_with_bytes_as_base64(shell, listen):
    listener = listen("a", "--count", "2", "--json")
    shell.raw.publish(
        shell.names.task_prefix + "a", encode_event("page", encode_value([b"\xff"], "msgpack"))
    )
    assert listener.wait() == 0
    assert events_of(listener)[1] == ("a", "page", ["/w=="])


def events_of(listener):
    lines = [json.loads(line) for line in listener.output.splitlines()]
    return [(line["id"], line["event"], line["data"]) for line in lines]


def test_events_of_all_tasks_are_followed(shell, listen):
    listener = listen("a", "-f", "--json")

    emit(shell, "a", "progress", {"percent": 10})
    emit(shell, "b", "note", "text")
    listener.wait_for_line('"note"')
    listener.signal(signal.SIGINT)

    assert listener.wait() == 0
    assert events_of(listener) == [
        ("a", "probe", None),
        ("a", "progress", {"percent": 10}),
        ("b", "note", "text"),
    ]


def test_a_pattern_chooses_tasks_and_control_messages_are_no_events(shell, listen):
    listener = listen("report-1", "report-*", "--count", "2")

    shell.raw.publish(f"{shell.names.task_prefix}report-1-control", "stop")
    emit(shell, "other", "note")
    emit(shell, "report-2", "done", [1])

    assert listener.wait() == 0
    assert listener.output.splitlines()[-1].split("  ")[1:] == ["report-2", "done", "[1]"]
    assert "other" not in listener.output


def test_the_events_of_one_task_end_with_it(shell, listen):
    shell.enqueue("one")
    listener = listen("one", "one", "--json")

    emit(shell, "one", "success", "an event of that name by the task itself")
    emit(shell, "one", "step")
    listener.wait_for_line('"step"')
    assert shell("stop", "one").code == 0

    assert listener.wait() == 0
    assert events_of(listener)[-1] == ("one", "stopped", None)


def test_a_task_that_ended_before_has_its_end_written(shell):
    shell.make_ended("x", "SUCCESS", output="[1]")

    done = shell("events", "x", "--json")

    assert done.code == 0
    assert (done.object["event"], done.object["data"]) == ("success", [1])


def test_an_unknown_task_is_an_error_unless_it_is_followed(shell, listen):
    done = shell("events", "nobody")
    assert done.code == 1
    assert "task nobody has no record" in done.complaint

    listener = listen("nobody", "nobody", "-f")
    emit(shell, "nobody", "here", 1)
    listener.wait_for_line("nobody  here  1")


def test_following_goes_on_after_the_server_was_away(shell, spawn, disposable_server, wait_until):
    server = disposable_server()
    listener = spawn("events", "-f", PYTASK_REDIS=server.url)
    channel = shell.names.task_prefix + "a"
    wait_until(lambda: server.client().publish(channel, '{"event": "before"}'))

    server.restart(kill=True)

    wait_until(lambda: server.client().publish(channel, '{"event": "after"}'))
    listener.wait_for_line("a  after")


def test_an_end_that_nobody_heard_is_read_from_the_record(
    shell, spawn, disposable_server, wait_until
):
    server = disposable_server()
    record = shell.names.task_prefix + "one"
    client = server.client()
    client.hset(record, mapping={"task": "job", "state": "RUNNING"})
    listener = spawn("events", "one", "--json", PYTASK_REDIS=server.url)
    wait_until(lambda: client.publish(record, '{"event": "probe"}'))

    client.hset(record, mapping={"state": "SUCCESS", "output": "7"})
    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    assert listener.wait() == 0
    assert json.loads(listener.output.splitlines()[-1])["data"] == 7
