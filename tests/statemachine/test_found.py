"""Histories the machine found and shrank, each the shortest that shows its defect."""

import pytest

from pytask.states import Code, State
from tests.store.lab import Lab


@pytest.fixture
def lab(store, namespace):
    return Lab(store, namespace)


def take(lab, limit=9):
    return lab.store.take_ended(lab.partition, "w", limit)


def end_again(lab, task_id, state=State.ERROR):
    assert lab.store.restart(task_id) is Code.OK
    [run] = lab.claim().claimed
    assert lab.finish(run, state) is Code.OK


def test_taking_a_held_end_again_leaves_its_second_end_in_the_queue_once(lab):
    task_id = lab.ended()
    take(lab)
    end_again(lab, task_id)
    # The second end stands in the queue, the first is held and fills the limit.
    assert [one.task_id for one in take(lab, 1)] == [task_id]
    end_again(lab, task_id)
    assert lab.end_queue() == [task_id]


def test_a_held_end_that_was_restarted_leaves_its_second_end_in_the_queue_once(lab):
    task_id = lab.ended()
    take(lab)
    end_again(lab, task_id)
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    # Not ended at this moment: what is held is dropped, what stands in the queue stays.
    assert take(lab, 1) == []
    lab.finish(run)
    assert lab.end_queue() == [task_id]


def test_giving_back_what_a_cleanup_held_queues_no_end_twice(lab):
    task_id = lab.ended()
    take(lab)
    end_again(lab, task_id)
    lab.store.give_back(lab.partition, worker="w", queues=["default"])
    assert lab.end_queue() == [task_id]
    assert "end_claim" not in lab.record(task_id)


def test_acknowledging_an_older_end_does_not_let_go_of_a_newer_one(lab):
    task_id = lab.ended()
    older = take(lab)
    end_again(lab, task_id)
    lab.store.acknowledge_ended(lab.partition, "w", older, keep_failed=True)
    newer = take(lab)
    assert [one.task_id for one in newer] == [task_id]

    codes = lab.store.acknowledge_ended(lab.partition, "w", older, keep_failed=True)

    assert codes == [Code.NOT_OWNER]
    assert take(lab) == newer, "a Cleanup that takes over finds it"


def test_forgetting_an_end_that_was_kept_before_leaves_nothing(lab):
    task_id = lab.ended(State.ERROR)
    ended = take(lab)
    lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True)
    lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=False)
    assert lab.record(task_id) == {}
    assert lab.scores(lab.names.failed) == {}


def test_acknowledging_lets_go_of_a_popped_entry_that_is_not_of_an_end(lab):
    task_id = lab.ended()
    older = take(lab)
    end_again(lab, task_id)
    lab.store.wait_for_ended(lab.partition, "w", 1.0)
    lab.store.restart(task_id)
    lab.store.acknowledge_ended(lab.partition, "w", older, keep_failed=True)
    lab.store.acknowledge_ended(lab.partition, "w", older, keep_failed=True)
    [run] = lab.claim().claimed
    lab.finish(run)
    assert lab.end_queue() == [task_id]


def test_returning_an_older_end_does_not_lose_a_popped_one(lab):
    task_id = lab.ended()
    take(lab)
    lab.store.give_back(lab.partition, worker="w", queues=["default"])
    lab.store.wait_for_ended(lab.partition, "w", 1.0)
    lab.store.return_ended(lab.partition, "w", [task_id])
    assert lab.end_queue() == [task_id]


def test_an_end_without_cleanup_is_not_cleaned_up_by_the_entry_of_an_older_end(lab):
    task_id = lab.ended()
    take(lab)
    lab.enqueue(task_id, cleanup=False)
    [run] = lab.claim().claimed
    lab.finish(run)
    assert take(lab) == [], "a Cleanup that starts again looks at what was held"


def test_acknowledging_an_end_that_was_returned_before_takes_it_out_of_the_queue(lab):
    task_id = lab.ended()
    ended = take(lab)
    lab.store.return_ended(lab.partition, "w", [task_id])
    assert lab.store.acknowledge_ended(lab.partition, "w", ended, keep_failed=True) == [Code.OK]
    assert (lab.end_queue(), lab.record(task_id)) == ([], {})
