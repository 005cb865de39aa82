"""take_ended: end queue -> claim list of a Cleanup."""

from pytask.states import Code, State


def take(lab, worker="w", limit=100, store=None):
    return (store or lab.store).take_ended(lab.partition, worker, limit)


def test_ended_tasks_are_handed_over_with_their_records(lab):
    first, second = lab.ended(output=b"[1]"), lab.ended(State.ERROR, b'"why"')

    taken = take(lab)

    assert [one.task_id for one in taken] == [first, second]
    assert taken[0].record["output"] == "[1]"
    assert taken[1].record["state"] == "ERROR"
    assert taken[0].done_run == taken[0].record["done_run"]
    assert lab.end_queue() == []
    assert lab.entries(lab.names.end_claim("w")) == [first, second]
    assert lab.record(first)["end_claim"] == "w"


def test_no_more_than_asked_for_are_taken_and_the_oldest_first(lab):
    ids = [lab.ended() for _ in range(3)]
    assert [one.task_id for one in take(lab, limit=2)] == ids[:2]
    assert lab.end_queue() == ids[2:]


def test_what_is_not_acknowledged_is_handed_over_again_first(lab):
    ids = [lab.ended() for _ in range(2)]
    first = take(lab)
    ids.append(lab.ended())
    assert take(lab, limit=2) == first
    assert [one.task_id for one in take(lab)] == ids


def test_a_repeat_gives_the_same_answer(lab):
    lab.ended()
    store, tap = lab.repeating()
    taken = take(lab, store=store)
    assert len(taken) == 1
    assert tap.first[0].decode() == taken[0].task_id
    before = lab.snapshot()
    assert take(lab) == taken
    assert lab.snapshot() == before


def test_what_a_blocking_pop_left_behind_is_taken(lab):
    task_id = lab.ended()
    assert lab.store.wait_for_ended(lab.partition, "w", 1)
    assert [one.task_id for one in take(lab)] == [task_id]
    assert lab.store.wait_for_ended(lab.partition, "w", 0.01) is False


def test_two_cleanups_at_once_share_without_overlap(lab):
    ids = [lab.ended() for _ in range(20)]
    replies = lab.race([lambda name=f"w{number}": take(lab, name, limit=3) for number in range(10)])
    assert sorted(one.task_id for taken in replies for one in taken) == sorted(ids)


def test_tasks_that_are_not_ended_any_more_are_dropped(lab):
    restarted, removed, by_hand = lab.ended(), lab.ended(), lab.waiting()
    lab.store.restart(restarted)
    lab.call("DEL", lab.names.record(removed))
    lab.call("LPUSH", lab.names.end_queue, by_hand)
    foreign = lab.id()
    lab.foreign(lab.names.record(foreign), b"set")
    lab.call("LPUSH", lab.names.end_queue, foreign)

    assert take(lab) == []

    assert lab.end_queue() == lab.entries(lab.names.end_claim("w")) == []
    assert lab.state(restarted) == "WAIT"
    assert "end_entry" not in lab.record(restarted)
    assert not lab.record(removed)


def test_a_task_started_anew_without_cleanup_is_not_cleaned_up_by_its_old_entry(lab):
    task_id = lab.ended()
    assert lab.enqueue(task_id, cleanup=False) == [Code.OK]
    lab.finish(lab.claim().claimed[0])
    assert lab.end_queue() == [task_id]

    assert take(lab) == []

    assert lab.end_queue() == []
    assert lab.active() == {task_id}
    assert "end_entry" not in lab.record(task_id)


def test_a_held_task_that_was_restarted_is_let_go(lab):
    task_id = lab.ended()
    take(lab)
    lab.store.restart(task_id)
    assert take(lab) == []
    assert lab.entries(lab.names.end_claim("w")) == []
    [run] = lab.claim().claimed
    lab.finish(run)
    assert [one.done_run for one in take(lab)] == [run.token]


def test_a_task_that_ended_again_while_it_was_held_is_handed_over_once(lab):
    task_id = lab.ended()
    take(lab)
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    lab.finish(run)

    taken = take(lab)

    assert [(one.task_id, one.done_run) for one in taken] == [(task_id, run.token)]
    assert lab.end_queue() == []
    lab.store.acknowledge_ended(lab.partition, "w", taken, keep_failed=True)
    assert not lab.record(task_id)
    assert lab.entries(lab.names.end_claim("w")) == []


def test_duplicates_pushed_by_hand_are_handed_over_once(lab):
    task_id = lab.ended()
    lab.call("LPUSH", lab.names.end_queue, *[task_id] * 50)
    assert [one.task_id for one in take(lab)] == [task_id]
    assert lab.end_queue() == []


def test_a_task_ended_by_hand_has_no_run_and_is_cleaned_up_all_the_same(lab):
    task_id = lab.put(lab.id(), task="x", state="SUCCESS")
    lab.call("LPUSH", lab.names.end_queue, task_id)
    taken = take(lab)
    assert [(one.task_id, one.done_run) for one in taken] == [(task_id, "")]
    lab.store.acknowledge_ended(lab.partition, "w", taken, keep_failed=True)
    assert lab.snapshot() == {}


def test_a_limit_beyond_what_lua_can_unpack_is_capped(lab):
    lab.enqueue(*lab.ids(1_100))
    runs = lab.claim(1_000).claimed + lab.claim(1_000).claimed
    for run in runs:
        lab.put(run.task_id, state="SUCCESS")
    lab.call("LPUSH", lab.names.end_queue, *[run.task_id for run in runs])
    assert len(take(lab, limit=100_000)) == 1_000


def test_foreign_values_under_our_keys_change_nothing(lab):
    lab.ended()
    take(lab)
    lab.ended()
    keys = {lab.names.end_queue: b"list", lab.names.end_claim("w"): b"list"}
    lab.check_wrong_types(lambda: take(lab), keys)


def test_an_end_is_not_lost_when_a_popped_task_ends_again_before_it_is_acknowledged(lab):
    task_id = lab.ended()
    lab.store.wait_for_ended(lab.partition, "w", 1)
    first = take(lab)
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    lab.finish(run)

    lab.store.acknowledge_ended(lab.partition, "w", first, keep_failed=True)

    assert [one.done_run for one in take(lab)] == [run.token]


def test_a_task_that_ends_again_before_its_popped_entry_is_taken_is_handed_over_once(lab):
    task_id = lab.ended()
    lab.store.wait_for_ended(lab.partition, "w", 1)
    lab.store.restart(task_id)
    [run] = lab.claim().claimed
    lab.finish(run)
    assert lab.end_queue() == []
    assert [one.done_run for one in take(lab)] == [run.token]


def test_a_popped_task_that_was_restarted_before_it_was_taken_is_not_forgotten(lab):
    task_id = lab.ended()
    lab.store.wait_for_ended(lab.partition, "w", 1)
    lab.store.restart(task_id)
    assert take(lab) == []
    [run] = lab.claim().claimed
    lab.finish(run)
    assert [one.done_run for one in take(lab)] == [run.token]


def test_a_held_task_that_ended_again_beyond_the_limit_stands_in_the_end_queue_once(lab):
    task_id = lab.ended()
    take(lab)
    for _ in range(3):
        lab.store.restart(task_id)
        [run] = lab.claim().claimed
        lab.finish(run)
        assert len(take(lab, limit=1)) == 1
    assert lab.end_queue() == [task_id]
    assert lab.record(task_id)["end_entry"] == "1"
