"""reload: RUNNING -> RUNNING, with fresh data."""

import pytest

from pytask.exceptions import LeaseLost
from pytask.states import Code


def test_the_owner_is_told_by_message_and_by_record(lab, events_of):
    run = lab.running()
    control = events_of(run.task_id, control=True)

    assert lab.store.reload(run.task_id) is Code.SENT

    message = control.get().decode()
    assert message.startswith("reload:")
    assert lab.record(run.task_id)["control"] == message
    [beat] = lab.store.heartbeat(lab.partition, [(run.task_id, run.token)])
    assert beat.control == message


def test_every_reload_has_an_id_of_its_own(lab):
    run = lab.running()
    controls = set()
    for _ in range(3):
        lab.store.reload(run.task_id)
        controls.add(lab.record(run.task_id)["control"])
    assert len(controls) == 3


def test_a_repeat_of_the_same_call_asks_with_the_same_id(lab, events_of):
    run = lab.running()
    control = events_of(run.task_id, control=True)
    store, _ = lab.repeating()
    assert store.reload(run.task_id) is Code.SENT
    assert control.get() == control.get() == lab.record(run.task_id)["control"].encode()


def test_a_pending_stop_wins(lab):
    run = lab.running()
    lab.store.stop(run.task_id)
    before = lab.snapshot()
    assert lab.store.reload(run.task_id) is Code.SENT
    assert lab.snapshot() == before
    lab.store.stop(run.task_id)
    assert lab.record(run.task_id)["control"] == "stop"


def test_a_stop_replaces_a_pending_reload(lab):
    run = lab.running()
    lab.store.reload(run.task_id)
    lab.store.stop(run.task_id)
    assert lab.record(run.task_id)["control"] == "stop"


@pytest.mark.parametrize("state", ["WAIT", "STOPPED", "SUCCESS", ""])
def test_a_task_that_does_not_run_is_left_alone(lab, state):
    task_id = lab.put(lab.id(), task="x", state=state)
    before = lab.snapshot()
    assert lab.store.reload(task_id) is Code.WRONG_STATE
    assert lab.snapshot() == before


def test_a_missing_task_is_not_made(lab):
    assert lab.store.reload(lab.id()) is Code.MISSING
    assert lab.snapshot() == {}


def test_a_foreign_record_is_left_alone(lab):
    task_id = lab.id()
    lab.foreign(lab.names.record(task_id), b"string")
    before = lab.snapshot()
    assert lab.store.reload(task_id) is Code.BAD_TYPE
    assert lab.snapshot() == before


def test_the_run_is_read_again_with_the_data_it_has_now(lab):
    run = lab.running()
    lab.store.write_fields(run.task_id, {"data": '{"n":2}', "task": "lab/other"})
    assert lab.store.read_run(run) == run._replace(data=b'{"n":2}', task="lab/other")


def test_a_run_that_was_lost_is_not_read_again(lab):
    run = lab.running()
    lab.store.requeue(lab.partition, [(run.task_id, run.token)])
    with pytest.raises(LeaseLost, match=run.task_id):
        lab.store.read_run(run)
    lab.claim(worker="w2")
    with pytest.raises(LeaseLost):
        lab.store.read_run(run)
    lab.store.remove(run.task_id, force=True)
    with pytest.raises(LeaseLost):
        lab.store.read_run(run)
