"""return_ended: claim list of a Cleanup -> far end of the end queue."""


def take(lab):
    return lab.store.take_ended(lab.partition, "w")


def give(lab, *task_ids, store=None):
    return (store or lab.store).return_ended(lab.partition, "w", task_ids)


def test_a_task_that_could_not_be_dealt_with_comes_last(lab):
    bad, good = lab.ended(), lab.ended()
    take(lab)
    later = lab.ended()

    assert give(lab, bad) == 1

    assert lab.end_queue() == [later, bad]
    assert lab.entries(lab.names.end_claim("w")) == [good]
    record = lab.record(bad)
    assert record["end_entry"] == "1"
    assert "end_claim" not in record


def test_a_returned_end_stands_in_the_end_queue_once_even_if_it_ends_again(lab):
    task_id = lab.ended()
    take(lab)
    give(lab, task_id)
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    lab.finish(run)
    assert lab.end_queue() == [task_id]


def test_a_task_that_ended_again_meanwhile_stands_in_the_end_queue_already(lab):
    task_id = lab.ended()
    take(lab)
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    lab.finish(run)

    assert give(lab, task_id) == 0

    assert lab.end_queue() == [task_id]
    assert lab.entries(lab.names.end_claim("w")) == []


def test_what_is_not_held_any_more_is_not_returned(lab):
    waiting, removed, foreign, never = lab.ended(), lab.ended(), lab.ended(), lab.id()
    take(lab)
    lab.store.give_back(lab.partition, worker="w", queues=["default"])
    assert give(lab, waiting) == 0
    take(lab)
    lab.store.remove(removed)
    lab.foreign(lab.names.record(foreign), b"list")
    assert give(lab, removed, foreign, never) == 0
    assert lab.end_queue() == []
    assert not lab.record(removed)


def test_a_repeat_has_one_effect(lab):
    task_id = lab.ended()
    take(lab)
    store, tap = lab.repeating()
    assert give(lab, task_id, store=store) == 0
    assert tap.first == 1
    assert lab.end_queue() == [task_id]


def test_of_many_who_return_a_task_one_does(lab):
    task_id = lab.ended()
    take(lab)
    assert sorted(lab.race([lambda: give(lab, task_id)] * 10)) == [0] * 9 + [1]
    assert lab.end_queue() == [task_id]


def test_nothing_to_return_is_no_call(lab):
    assert give(lab) == 0


def test_foreign_values_under_our_keys_change_nothing(lab):
    task_id = lab.ended()
    take(lab)
    keys = {lab.names.end_queue: b"list", lab.names.end_claim("w"): b"list"}
    lab.check_wrong_types(lambda: give(lab, task_id), keys)
