"""promote: delayed set -> new queue."""

import json
import time

import pytest

from pytask.events import Subscription
from pytask.states import Code, State
from tests.support.waiting import PATIENCE


def promote(lab, *args, store=None):
    return (store or lab.store).promote(lab.partition, *args)


def test_a_task_that_is_due_joins_its_queue(lab):
    task_id, mail = lab.waiting(delay=60.0), lab.waiting(delay=60.0, queue="mail")
    first = lab.waiting()
    lab.make_due()

    assert promote(lab) == (2, None)

    assert lab.queue() == [first, task_id]
    assert lab.queue("mail") == [mail]
    assert lab.scores(lab.names.delayed) == {}
    assert lab.state(task_id) == "WAIT"


def test_a_task_that_is_not_due_stays_and_says_when(lab):
    task_id = lab.waiting(delay=60.0)
    moved, wait = promote(lab)
    assert moved == 0
    assert 0 < wait < 60.01
    assert lab.queue() == []
    assert lab.scores(lab.names.delayed).keys() == {task_id}


def test_the_next_one_due_is_the_nearest(lab):
    lab.waiting(delay=60.0)
    lab.waiting(delay=15.0)
    assert 0 < promote(lab).next_due_in < 15.01


def test_nothing_delayed_is_nothing_due(lab):
    assert promote(lab) == (0, None)
    assert lab.snapshot() == {}


def test_tasks_are_promoted_in_the_order_they_fell_due(lab):
    ids = lab.ids(4)
    lab.enqueue(*ids, delay=60.0)
    for at, task_id in enumerate(reversed(ids)):
        lab.call("ZADD", lab.names.delayed, 1_000 + at, task_id)
    promote(lab)
    assert lab.queue() == ids[::-1]


def test_a_full_batch_says_that_more_is_due_at_once(lab):
    lab.enqueue(*lab.ids(5), delay=60.0)
    lab.make_due()
    assert promote(lab, 3) == (3, 0)
    assert promote(lab, 3) == (2, None)


def test_a_limit_beyond_what_lua_can_unpack_is_capped(lab):
    lab.enqueue(*lab.ids(1_200), delay=60.0)
    lab.make_due()
    assert promote(lab, 100_000) == (1_000, 0)


def test_a_retry_keeps_its_state_until_it_is_claimed(lab):
    run = lab.running()
    lab.finish(run, State.RETRY, b'"why"')
    lab.make_due()
    promote(lab)
    assert lab.state(run.task_id) == "RETRY"
    assert lab.queue() == [run.task_id]


@pytest.mark.parametrize("state", ["RUNNING", "STOPPED", "SUCCESS", "ERROR"])
def test_a_task_that_waits_no_more_is_dropped(lab, state):
    task_id = lab.put(lab.id(), task="x", state=state)
    lab.call("ZADD", lab.names.delayed, 1, task_id)
    assert promote(lab) == (0, None)
    assert lab.queue() == []
    assert lab.scores(lab.names.delayed) == {}


@pytest.mark.parametrize("state", ["WAIT", "RETRY", "", None])
def test_a_task_delayed_by_hand_is_promoted(lab, state):
    task_id = lab.put(lab.id(), task="x")
    if state is not None:
        lab.put(task_id, state=state)
    lab.call("ZADD", lab.names.delayed, time.time() - 1, task_id)
    assert promote(lab) == (1, None)
    assert lab.queue() == [task_id]


def test_ids_without_a_readable_record_are_dropped(lab):
    foreign = lab.id()
    lab.foreign(lab.names.record(foreign), b"list")
    lab.call("ZADD", lab.names.delayed, 1, foreign, 1, lab.id())
    assert promote(lab) == (0, None)
    assert lab.queue() == []


def test_a_repeat_has_one_effect(lab):
    task_id = lab.waiting(delay=60.0)
    lab.make_due()
    store, tap = lab.repeating()
    assert promote(lab, store=store) == (0, None)
    assert tap.first == [1, -1]
    assert lab.queue() == [task_id]


def test_of_many_promoters_each_task_is_moved_by_one(lab):
    ids = lab.ids(50)
    lab.enqueue(*ids, delay=60.0)
    lab.make_due()
    assert sum(reply.moved for reply in lab.race([lambda: promote(lab, 7)] * 20)) == 50
    assert sorted(lab.queue()) == sorted(ids)


def test_an_entry_a_stop_left_in_the_queue_serves_again(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.enqueue(task_id, delay=60.0)
    lab.make_due()
    assert promote(lab).moved == 1
    assert lab.queue() == [task_id]
    assert lab.store.stop(task_id) is Code.OK
    assert lab.claim().claimed == []


def test_foreign_values_under_our_keys_change_nothing(lab):
    lab.waiting(delay=60.0)
    lab.waiting(delay=60.0, queue="mail")
    lab.make_due()
    names = lab.names
    keys = {
        names.delayed: b"zset",
        names.new_queue(): b"list",
        names.new_queue("mail"): b"list",
    }
    lab.check_wrong_types(lambda: promote(lab), keys)


def test_the_workers_of_a_node_hear_of_a_task_that_is_due(lab, connector):
    hearer = Subscription(connector.link(), channels=[lab.keys.node_channel("node.web")])
    lab.waiting(queue="node.web", delay=60.0)
    lab.make_due()
    assert hearer.wait_ready(PATIENCE)
    try:
        promote(lab)
        assert hearer.get(PATIENCE).data == b"%d" % lab.partition
    finally:
        hearer.close()


def held_back(lab, seconds=60.0, **options):
    run = lab.running(**options)
    pairs = [(run.task_id, run.token)]
    assert lab.store.requeue(lab.partition, pairs, [seconds]) == [Code.OK]
    return run.task_id


def test_a_task_that_is_called_comes_before_its_time_and_first(lab):
    first, second, mail = held_back(lab), held_back(lab), held_back(lab, queue="mail")
    waiting = lab.waiting()
    assert lab.store.hasten([first, mail, second]) == 3
    assert lab.queue() == [first, second, waiting]
    assert lab.queue("mail") == [mail]
    assert lab.scores(lab.names.delayed) == {}


def test_only_what_a_limit_held_back_can_be_called(lab):
    later, running = lab.waiting(delay=60.0), lab.running().task_id
    retried = held_back(lab)
    lab.store.hasten([retried])
    (run,) = lab.claim().claimed
    lab.finish(run, State.RETRY, delay=60.0)
    gone, stopped = held_back(lab), held_back(lab)
    lab.store.remove(gone)
    lab.store.stop(stopped)
    assert lab.store.hasten([later, running, retried, gone, stopped, "unheard"]) == 0
    assert lab.scores(lab.names.delayed).keys() == {later, retried}
    assert lab.queue() == []


def test_to_be_called_twice_is_to_be_called_once(lab):
    task_id = held_back(lab)
    store, _ = lab.repeating()
    store.hasten([task_id])
    assert lab.queue() == [task_id]


def test_to_call_some_moves_nobody_else(lab):
    called, due = held_back(lab), lab.waiting(delay=60.0)
    lab.call("ZADD", lab.names.delayed, 1, due)
    assert lab.store.hasten([called]) == 1
    assert lab.scores(lab.names.delayed).keys() == {due}


def test_what_came_into_its_queue_is_told_with_one_message(lab, events_of):
    events = events_of()
    first, second = lab.ids(2)
    lab.enqueue(first, second, delay=60.0)
    lab.make_due()
    lab.store.promote(lab.partition)
    told = json.loads(events.get())
    assert (told["event"], sorted(told["tasks"])) == ("queued", sorted([first, second]))
