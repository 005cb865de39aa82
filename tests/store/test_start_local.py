"""start_local: (none) -> RUNNING."""

import pytest

from pytask.exceptions import LeaseLost, WrongKeyType
from pytask.states import Code, State


def start(lab, task_id, token="1-local", store=None):
    return (store or lab.store).start_local(task_id, "lab/task", b'{"n":1}', "w", token)


def test_a_local_task_runs_at_once_and_passes_no_queue(lab):
    task_id = lab.id()

    run = start(lab, task_id)

    assert run == (task_id, "1-local", "lab/task", b'{"n":1}', 1, b"", True)
    record = lab.record(task_id)
    assert record["created"] == record["started"] == record.pop("last_update")
    assert (record["state"], record["local"], record["worker"]) == ("RUNNING", "true", "w")
    assert lab.queue() == []
    assert lab.active() == {task_id}
    assert lab.scores(lab.names.leases).keys() == {task_id}


def test_its_owner_beats_and_finishes_it_like_any_other(lab):
    run = start(lab, lab.id())
    assert lab.store.heartbeat(lab.partition, [(run.task_id, run.token)]) == []
    assert lab.finish(run) is Code.OK
    assert lab.end_queue() == [run.task_id]


def test_a_repeat_has_one_effect_and_the_same_answer(lab):
    store, tap = lab.repeating()
    task_id = lab.id()
    run = start(lab, task_id, store=store)
    assert run.token == "1-local"
    assert tap.first == 1
    before = lab.snapshot()
    assert start(lab, task_id) == run
    assert lab.snapshot() == before


@pytest.mark.parametrize("state", [*State, None])
def test_an_id_in_use_is_left_alone(lab, state):
    task_id = lab.put(lab.id(), task="x")
    if state is not None:
        lab.put(task_id, state=state.value)
    before = lab.snapshot()
    with pytest.raises(LeaseLost, match=task_id):
        start(lab, task_id)
    assert lab.snapshot() == before


def test_of_many_workers_one_starts_it(lab):
    task_id = lab.id()

    def attempt(number):
        try:
            return start(lab, task_id, f"1-{number}").token
        except LeaseLost:
            return None

    tokens = lab.race([lambda number=number: attempt(number) for number in range(20)])
    assert tokens.count(None) == 19
    assert lab.record(task_id)["run"] in tokens


def test_foreign_values_under_our_keys_change_nothing(lab):
    task_id = lab.id()
    names = lab.names
    keys = {names.record(task_id): b"hash", names.tasks: b"set", names.leases: b"zset"}
    lab.check_wrong_types(lambda: start(lab, task_id), keys)
    lab.foreign(names.record(task_id), b"list")
    with pytest.raises(WrongKeyType):
        start(lab, task_id)
