"""Whatever stands in Redis: the worker lives, other tasks run, a bad one ends with a reason."""

import json
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.waiting import wait_until

from .live import check_alive

ENDED = ("STOPPED", "SUCCESS", "ERROR", "EXCEPTION", "REVOKED")
DEEP = 100_000


BAD_DATA = {
    "no JSON": b"{",
    "no JSON at all": b"\x80\x04K\x01.",
    "empty": b"",
    "an array": b"[]",
    "a number": b"1",
    "null": b"null",
    "NaN": b'{"value":NaN}',
    "infinity": b'{"value":-Infinity}',
    "no UTF-8": b'{"value":"\xff"}',
    "deep": b'{"value":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep and open": b'{"value":' + b"[" * DEEP,
    "deep objects": b'{"value":' * DEEP + b"1" + b"}" * DEEP,
    "an unknown argument": b'{"nonsense":1}',
    "an argument that is no name": b'{"":1,"a b":2}',
    "a trap for keywords": b'{"self":1}',
    "two values": b'{"value":1}{"value":2}',
    "a huge number": b'{"value":1e999999}',
}


@pytest.mark.parametrize("data", BAD_DATA)
def test_bad_data_end_the_task_with_one_clear_line(worker, people, data):
    people.make(b"bad", task="security/echo", data=BAD_DATA[data])
    wait_until(lambda: people.state(b"bad") in ENDED, message=lambda: f"its end: {data}")

    assert people.state(b"bad") == "EXCEPTION"
    output = people.output(b"bad")
    assert isinstance(output, str)
    assert 0 < len(output) < 1000
    assert "\n" not in output, output
    check_alive(worker)


def test_a_lone_surrogate_survives_the_round_trip(worker, people):
    people.make(b"half", task="security/echo", data=b'{"value":"\\ud800"}')
    wait_until(lambda: people.state(b"half") in ENDED, message="its end")
    assert (people.state(b"half"), people.output(b"half")) == ("SUCCESS", "\ud800")
    check_alive(worker)


@pytest.mark.parametrize("size", [10_000_000])
def test_large_data_pass_and_an_output_too_large_is_refused(worker, people, size):
    people.make(b"big", task="security/echo", data=json.dumps({"value": "x" * size}))
    wait_until(lambda: people.state(b"big") in ENDED, message="its end")
    assert people.state(b"big") == "EXCEPTION"
    assert "max_output_bytes" in people.output(b"big")
    check_alive(worker)


def test_numbers_of_any_size_survive_the_round_trip(worker, people):
    value = 10**400
    people.make(b"huge", task="security/echo", data=b'{"value":%d}' % value)
    wait_until(lambda: people.state(b"huge") in ENDED, message="its end")
    assert people.state(b"huge") in ("SUCCESS", "EXCEPTION")
    check_alive(worker)


@pytest.mark.parametrize(
    "name", [b"", b"os.system", b"pytask.task:Task", b"\xff\xfe", b"a\nb", b"x" * 1_000_000]
)
def test_an_unknown_name_is_never_looked_up_elsewhere(worker, people, name):
    people.make(b"unknown", task=name, data=b"{}")
    wait_until(lambda: people.state(b"unknown") in ENDED, message="its end")
    assert people.state(b"unknown") == "EXCEPTION"
    check_alive(worker)


IDS = [
    b"a\nb", b"\x00", b"\x1b[31mred\x1b[0m", b"{", b"}", b"{x}", b"{}{3}", b"*", b"[a-z]", b"?",
    b"a b", b" ", b"'; FLUSHALL", b"\\", b"-control", b"x-control", b"..", b"\xff\xfe\xfd",
    "\u202egnirts".encode(), b"%s%n", b":claim:w", b"lease", b"x" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("task_id", IDS, ids=range(len(IDS)))
def test_an_id_is_only_bytes(worker, people, task_id):
    people.make(task_id, task="security/echo", data=b'{"value":7}')
    wait_until(
        lambda: people.state(task_id) in ENDED, message=lambda: f"the end of {task_id[:40]!r}"
    )
    assert (people.state(task_id), people.output(task_id)) == ("SUCCESS", 7)
    assert worker.helpers.get_active_task_ids() == []
    check_alive(worker)


FIELDS = st.sampled_from(
    ["task", "data", "state", "queue", "cleanup", "local", "attempts", "reaps", "expires",
     "unqueue", "end_entry", "end_claim", "control", "eid", "done_run", "run", "worker",
     "last_update", "created", "history"],
)  # fmt: skip
VALUES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [b"security/echo", b"{}", b'{"value":1}', b"RUNNING", b"WAIT", b"RETRY", b"STOPPED",
         b"SUCCESS", b"NONSENSE", b"nan", b"inf", b"-inf", b"1e400", b"-1", b"0x10", b"true",
         b"false", b"stop", b"reload:", b"delayed", b"default default", b"../..", b"{9}"],
    ),
)  # fmt: skip
RECORDS = st.dictionaries(FIELDS, VALUES, max_size=8)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.topologies("valkey", "cluster")
def test_records_of_any_content_harm_nobody_else(worker, people, caplog):
    caplog.set_level(logging.CRITICAL)
    number = 0

    @settings(
        max_examples=150,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(records=st.lists(RECORDS, min_size=1, max_size=5), foreign=st.booleans())
    def check(records, foreign):
        nonlocal number
        for fields in records:
            number += 1
            people.make(b"fuzz-%d" % number, **fields)
        if foreign:
            people.call("SET", people.record(b"foreign-%d" % number), "x")
            people.call("LPUSH", people.names(b"foreign-%d" % number).new_queue(), b"foreign-1")
        check_alive(worker, number)
        assert worker.app._supervisor is not None

    check()
    # Every one left the queues: it ended, it was dropped, or it is where its maker said it is.
    store = worker.helpers.store
    wait_until(lambda: not list(store.iterate_waiting()), message="the queue is empty")
    check_alive(worker)
    assert worker.stop() == 0


def test_a_foreign_value_under_any_key_stops_nobody_for_good(worker, people, caplog):
    """Set every key of a partition to another type, one after the other."""
    task_id = worker.start("security/echo", task_id="t", value=1)
    worker.wait_for(task_id, "SUCCESS")
    names = people.names(b"t")
    me = worker.app.worker_id
    for key in (
        names.tasks, names.leases, names.failed, names.delayed, names.claims, names.end_queue,
        names.new_queue(), names.new_claim("default", me), names.missing(), names.end_claim(me),
        people.keys.workers, people.keys.worker(me),
    ):  # fmt: skip
        caplog.clear()
        saved = people.call("DUMP", key)
        people.call("DEL", key)
        people.call("SET", key, "foreign")
        # What needs the key fails meanwhile; it must neither end the worker nor be forgotten.
        if people.keys.tagged:
            others = (f"o{n}" for n in range(1000))
            other = next(o for o in others if people.keys.of(o).number != names.number)
            worker.start("security/echo", task_id=other, value=2)
            worker.wait_for(other, "SUCCESS")
            worker.helpers.remove_task(other)
        assert people.call("GET", key) == b"foreign", f"{key} was overwritten"
        people.call("DEL", key)
        if saved is not None:
            people.call("RESTORE", key, 0, saved)
        check_alive(worker, key)
    assert worker.stop() == 0
