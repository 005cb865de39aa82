"""flush: WAIT, RETRY -> (none)."""

import pytest

from pytask.states import State
from pytask.store import queueing


@pytest.fixture
def bare(lab):
    """The key space without the memory of claims, which outlives tasks."""
    return lambda: {
        key: value for key, value in lab.snapshot().items() if key != lab.names.claims.encode()
    }


def test_nothing_is_left_of_the_tasks_that_wait_in_a_queue(lab, bare):
    lab.enqueue(*lab.ids(3), queue="mail")
    assert lab.store.flush("mail") == 3
    assert bare() == {}


def test_other_queues_and_delayed_tasks_stay(lab):
    lab.waiting(queue="mail")
    other, delayed = lab.waiting(), lab.waiting(queue="mail", delay=60.0)
    assert lab.store.flush("mail") == 1
    assert lab.queue() == [other]
    assert lab.scores(lab.names.delayed).keys() == {delayed}
    assert lab.state(delayed) == "WAIT"


def test_more_than_a_batch_goes_and_what_comes_meanwhile_does_not_keep_it(lab, monkeypatch):
    monkeypatch.setattr(queueing, "FLUSH_BATCH", 4)
    lab.enqueue(*lab.ids(10))

    class Producing:
        def __init__(self, link):
            self._link = link

        def evalsha(self, sha, source, keys, *rest):
            if keys[0] == lab.names.new_queue():
                lab.enqueue(*lab.ids(4))
            return self._link.evalsha(sha, source, keys, *rest)

        def __getattr__(self, name):
            return getattr(self._link, name)

    store = lab.store.using(Producing(lab.store._link))
    assert 10 <= store.flush("default") <= 18
    assert lab.queue() != []


def test_a_paused_queue_is_flushed_and_stays_paused(lab):
    lab.waiting()
    lab.store.pause("default")
    assert lab.store.flush("default") == 1
    assert lab.store.list_paused() == {"default"}


def test_each_task_says_that_it_is_removed(lab, events_of):
    task_id = lab.waiting()
    events = events_of(task_id)
    lab.store.flush("default")
    assert events.get() == b'{"event":"removed","data":null}'


def test_a_task_that_waits_for_its_next_attempt_goes(lab, bare):
    run = lab.running()
    lab.finish(run, State.RETRY)
    lab.make_due()
    lab.store.promote(lab.partition)
    assert lab.store.flush("default") == 1
    assert bare() == {}


def test_a_running_task_is_never_touched(lab):
    run = lab.running()
    lab.push(run.task_id)
    record = lab.record(run.task_id)
    assert lab.store.flush("default") == 0
    assert lab.queue() == []
    assert lab.record(run.task_id) == record
    assert lab.active() == {run.task_id}
    assert lab.scores(lab.names.leases).keys() == {run.task_id}


@pytest.mark.parametrize("state", [State.STOPPED, State.SUCCESS, State.ERROR])
def test_of_a_task_that_is_over_the_entry_goes_alone(lab, state):
    task_id = lab.ended(state, cleanup=False)
    lab.push(task_id)
    record = lab.record(task_id)
    assert lab.store.flush("default") == 0
    assert lab.queue() == []
    assert lab.record(task_id) == record


def test_a_stopped_task_stays_and_can_be_restarted(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    assert lab.store.flush("default") == 0
    assert lab.queue() == []
    assert "unqueue" not in lab.record(task_id)
    lab.store.restart(task_id)
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


def test_a_task_that_is_delayed_anew_outlives_its_old_entry(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.enqueue(task_id, delay=60.0)
    assert lab.queue() == [task_id]
    assert lab.store.flush("default") == 0
    assert lab.state(task_id) == "WAIT"
    assert "unqueue" not in lab.record(task_id)
    assert lab.scores(lab.names.delayed).keys() == {task_id}


def test_nothing_is_left_of_a_task_that_was_stopped_elsewhere_before(lab, bare):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.enqueue(task_id, queue="mail")
    assert lab.store.flush("mail") == 1
    assert bare() == {}


def test_nothing_is_left_of_a_task_whose_earlier_end_awaits_cleanup(lab, bare):
    task_id = lab.ended()
    lab.store.restart(task_id)
    assert lab.store.flush("default") == 1
    assert bare() == {}


def test_nothing_is_left_of_a_delayed_task_that_was_pushed_by_hand(lab, bare):
    task_id = lab.waiting(delay=60.0)
    lab.push(task_id)
    assert lab.store.flush("default") == 1
    assert bare() == {}


def test_a_task_pushed_by_hand_into_a_second_queue_goes_from_both(lab, bare):
    task_id = lab.waiting(queue="mail")
    lab.push(task_id)
    assert lab.store.flush("default") == 1
    assert bare() == {}


def test_entries_that_stand_twice_and_ids_without_a_record_go(lab, bare):
    task_id = lab.waiting()
    lab.push(task_id, lab.id("ghost"), task_id)
    lab.push(lab.id("older"))
    assert lab.store.flush("default") == 1
    assert bare() == {}


def test_what_was_set_aside_goes_too(lab, bare):
    ghost, late = lab.id("ghost"), lab.id("late")
    lab.push(ghost, late)
    lab.claim()
    lab.put(late, task="x")
    assert lab.store.flush("default") == 1
    assert bare() == {}


def test_a_key_of_another_type_is_left_as_it_is(lab):
    task_id = lab.id()
    lab.foreign(lab.names.record(task_id), b"list")
    lab.push(task_id)
    assert lab.store.flush("default") == 0
    assert lab.queue() == []
    assert lab.call("LLEN", lab.names.record(task_id)) == 1


def test_a_worker_that_popped_an_id_keeps_it(lab):
    task_id = lab.waiting()
    lab.store.wait_for_task(lab.partition, "default", "w", 1)
    assert lab.store.flush("default") == 0
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


def test_a_repeat_removes_nothing_more(lab, bare):
    lab.enqueue(*lab.ids(3))
    store, tap = lab.repeating()
    assert store.flush("default") == 0
    if not lab.keys.tagged:
        assert tap.first == [3, 3, 0]
    assert bare() == {}


def test_of_many_that_flush_each_task_is_counted_by_one(lab):
    lab.enqueue(*lab.ids(100))
    assert sum(lab.race([lambda: lab.store.flush("default")] * 10)) == 100


def test_foreign_keys_stop_it_before_it_writes(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.enqueue(task_id, queue="mail")
    keys = {
        lab.names.new_queue("mail"): b"list",
        lab.names.new_queue(): b"list",
        lab.names.missing("mail"): b"zset",
        lab.names.tasks: b"set",
        lab.names.delayed: b"zset",
        lab.names.end_queue: b"list",
    }
    lab.check_wrong_types(lambda: lab.store.flush("mail"), keys)
