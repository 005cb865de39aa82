"""The channels carry anything, and only what means something does something."""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.waiting import PATIENCE, wait_until

from .live import Rest, check_alive

MESSAGES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [b"", b"stop ", b"STOP", b"stop:1", b"stop\nstop", b"{}", b'{"event":"stop"}',
         b'"stop"', b"stop\x00", b"\xff\xfe", b"x" * 1_000_000, b"requeue", b"kill", b"lost"],
    ),
).filter(lambda one: one.strip() != b"stop" and not one.strip().startswith(b"reload"))  # fmt: skip
IDS = st.one_of(
    st.just(b"resting"),
    st.binary(max_size=40),
    st.sampled_from([b"", b"-control", b"resting-control", b"\n", b"{0}", b"*", b"no such task"]),
)


@pytest.mark.timeout(120)
@pytest.mark.topologies("valkey", "cluster")
def test_garbage_on_control_channels_changes_nothing(worker, people, caplog):
    caplog.set_level(logging.CRITICAL)
    worker.start("security/rest", task_id="resting")
    worker.wait_for("resting", "RUNNING")
    wait_until(lambda: Rest.starts > 0, message="it started")
    starts, token = Rest.starts, worker.record("resting")["run"]
    prefix = people.keys.task_prefix.encode()

    @settings(
        max_examples=300,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(task_id=IDS, message=MESSAGES)
    def publish(task_id, message):
        people.call("PUBLISH", prefix + task_id + b"-control", message)

    publish()
    check_alive(worker)
    record = worker.record("resting")
    assert (Rest.starts, record["run"], record["state"]) == (starts, token, "RUNNING")
    assert "control" not in record
    # What was said after all that is heard.
    people.call("PUBLISH", prefix + b"resting-control", b"stop")
    worker.wait_for("resting", "STOPPED")
    assert worker.stop() == 0


@pytest.mark.topologies("valkey")
def test_garbage_is_logged_in_one_short_line(worker, people, caplog):
    worker.start("security/rest", task_id="resting")
    worker.wait_for("resting", "RUNNING")
    channel = people.keys.control_channel("resting")
    people.call("PUBLISH", channel, b"first\nERROR:forged line\x1b[2J" + b"x" * 100_000)
    check_alive(worker)
    [record] = [one for one in caplog.records if one.name == "pytask.worker.control"]
    text = record.getMessage()
    assert len(text) < 500
    assert text.isprintable()


@pytest.mark.topologies("valkey")
def test_an_id_forges_no_line_of_the_log(worker, people, caplog):
    people.make(b"evil\nERROR:root:forged\x1b[2J")
    wait_until(lambda: "no record" in caplog.text, message="the ID was dropped")
    [record] = [one for one in caplog.records if "no record" in one.getMessage()]
    assert record.getMessage().isprintable()


@pytest.mark.topologies("valkey")
def test_lies_on_the_channel_of_events_do_not_reach_results(worker, people):
    future = worker.helpers.submit("security/rest", task_id="resting", watch=True)
    worker.wait_for("resting", "RUNNING")
    for lie in (b"garbage", b"[]", b"null", b'{"event":1}', b"\xff", b'{"data":1}', b"[" * 100_000):
        people.call("PUBLISH", people.keys.events_channel("resting"), lie)
    assert not future.done()
    worker.helpers.stop_task("resting")
    assert future.wait(PATIENCE) == "STOPPED"
