"""remove: any state but RUNNING -> (none)."""

import pytest

from pytask.states import READY, Code, State


@pytest.fixture
def bare(lab):
    """The key space without the memory of claims, which outlives tasks."""

    def look():
        return {
            key: value for key, value in lab.snapshot().items() if key != lab.names.claims.encode()
        }

    return look


@pytest.mark.parametrize("state", sorted(READY))
@pytest.mark.parametrize("cleanup", [True, False])
def test_nothing_is_left_of_a_ready_task(lab, bare, state, cleanup):
    task_id = lab.ended(state, cleanup=cleanup)
    assert lab.store.remove(task_id) is Code.OK
    assert bare() == {}


@pytest.mark.parametrize("options", [{}, {"delay": 9.0}, {"queue": "mail"}], ids=str)
def test_nothing_is_left_of_a_waiting_task(lab, bare, options):
    task_id = lab.waiting(**options)
    assert lab.store.remove(task_id) is Code.OK
    assert bare() == {}


def test_nothing_is_left_of_a_task_that_waits_for_its_next_attempt(lab, bare):
    run = lab.running()
    lab.finish(run, State.RETRY, delay=60.0)
    assert lab.store.remove(run.task_id) is Code.OK
    assert bare() == {}


def test_nothing_is_left_of_a_task_stopped_while_it_waited_here_and_there(lab, bare):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.enqueue(task_id, queue="mail")
    lab.store.stop(task_id)
    assert lab.queue() == lab.queue("mail") == [task_id]
    assert lab.store.remove(task_id) is Code.OK
    assert bare() == {}


def test_nothing_is_left_of_a_kept_failure(lab, bare):
    task_id = lab.ended(State.ERROR)
    ended = lab.store.take_ended(lab.partition, "w")
    lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True)
    assert lab.store.remove(task_id) is Code.OK
    assert bare() == {}


def test_nothing_is_left_of_a_restarted_task_with_an_old_end_entry(lab, bare):
    task_id = lab.ended()
    lab.store.restart(task_id)
    assert lab.store.remove(task_id) is Code.OK
    assert bare() == {}


def test_duplicates_are_removed_too(lab, bare):
    task_id = lab.waiting()
    lab.push(task_id, task_id)
    lab.store.remove(task_id)
    assert bare() == {}


def test_other_tasks_stay_in_their_places(lab):
    ids = lab.ids(3)
    lab.enqueue(*ids)
    lab.store.remove(ids[1])
    assert lab.queue() == [ids[0], ids[2]]


def test_a_running_task_is_removed_by_force_only(lab, bare):
    run = lab.running()
    before = lab.snapshot()
    assert lab.store.remove(run.task_id) is Code.WRONG_STATE
    assert lab.snapshot() == before

    assert lab.store.remove(run.task_id, force=True) is Code.OK

    assert bare() == {}
    [beat] = lab.store.heartbeat(lab.partition, [(run.task_id, run.token)])
    assert beat.code is Code.MISSING
    assert lab.finish(run) is Code.MISSING
    assert bare() == {}


def test_a_missing_task_is_missing_and_its_traces_go(lab, bare):
    task_id = lab.id()
    lab.push(task_id)
    lab.call("SADD", lab.names.tasks, task_id)
    assert lab.store.remove(task_id) is Code.MISSING
    assert bare() == {}


def test_a_foreign_record_is_left_alone(lab):
    task_id = lab.id()
    lab.foreign(lab.names.record(task_id), b"zset")
    before = lab.snapshot()
    assert lab.store.remove(task_id) is Code.BAD_TYPE
    assert lab.snapshot() == before


def test_a_repeat_has_one_effect(lab):
    task_id = lab.waiting()
    store, tap = lab.repeating()
    assert store.remove(task_id) is Code.MISSING
    assert tap.first == 1
    assert lab.snapshot() == {}


def test_of_many_who_remove_a_task_one_does(lab):
    task_id = lab.waiting()
    codes = lab.race([lambda: lab.store.remove(task_id)] * 20)
    assert sorted(codes) == [Code.MISSING] * 19 + [Code.OK]


def test_an_end_that_is_being_cleaned_up_can_be_removed(lab, bare):
    task_id = lab.ended()
    ended = lab.store.take_ended(lab.partition, "w")
    lab.store.remove(task_id)
    codes = lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True)
    assert codes == [Code.MISSING]
    assert bare() == {}


def test_foreign_values_under_our_keys_change_nothing(lab):
    task_id = lab.waiting(queue="mail")
    lab.store.stop(task_id)
    lab.put(task_id, queue="sms")
    names = lab.names
    keys = {
        names.tasks: b"set",
        names.leases: b"zset",
        names.failed: b"zset",
        names.delayed: b"zset",
        names.new_queue("mail"): b"list",
        names.new_queue("sms"): b"list",
        names.end_queue: b"list",
    }
    lab.check_wrong_types(lambda: lab.store.remove(task_id), keys)


def test_only_what_is_kept_as_failed_is_dropped(lab):
    failed, running = lab.ended(State.ERROR), lab.running()
    waiting, done = lab.waiting(), lab.ended()
    ended = [one for one in lab.store.take_ended(lab.partition, "w") if one.task_id == failed]
    lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True)
    before = lab.snapshot()
    for task_id in (running.task_id, waiting, done):
        assert lab.store.remove(task_id, only_failed=True) is Code.WRONG_STATE
    assert lab.snapshot() == before

    assert lab.store.remove(failed, only_failed=True) is Code.OK
    assert not lab.record(failed)


def test_a_failure_that_was_retried_meanwhile_is_not_dropped(lab):
    task_id = lab.ended(State.ERROR)
    lab.store.acknowledge_ended(
        lab.partition, "w", lab.store.take_ended(lab.partition, "w"), keep_failed=True
    )
    codes = lab.race(
        [
            lambda: lab.store.restart(task_id, [State.ERROR]),
            lambda: lab.store.remove(task_id, only_failed=True),
        ]
    )
    assert codes in ([Code.OK, Code.WRONG_STATE], [Code.MISSING, Code.OK])
    assert lab.record(task_id).get("state") == ("WAIT" if codes[0] is Code.OK else None)
