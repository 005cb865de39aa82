"""requeue: RUNNING -> WAIT."""

import time

import pytest

from pytask.states import Code, State


def requeue(lab, *runs, store=None):
    pairs = [(run.task_id, run.token) for run in runs]
    return (store or lab.store).requeue(lab.partition, pairs)


def test_a_run_that_is_given_back_is_taken_next_by_anybody(lab):
    run = lab.running()
    waiting = lab.waiting()

    assert requeue(lab, run) == [Code.OK]

    record = lab.record(run.task_id)
    assert (record["state"], record["attempts"]) == ("WAIT", "1")
    assert not {"run", "worker", "control", "started"} & record.keys()
    assert lab.queue() == [run.task_id, waiting]
    assert lab.active() == set()
    assert lab.scores(lab.names.leases) == {}


def test_a_run_returns_to_the_queue_it_came_from(lab):
    run = lab.running(queue="mail")
    requeue(lab, run)
    assert lab.queue("mail") == [run.task_id]
    assert lab.queue() == []


def test_a_run_that_was_told_to_stop_is_stopped(lab):
    run = lab.running()
    lab.store.stop(run.task_id)
    assert requeue(lab, run) == [Code.OK]
    assert lab.state(run.task_id) == "STOPPED"
    assert lab.active() == {run.task_id}
    assert lab.queue() == []
    assert lab.scores(lab.names.leases) == {}


def test_a_run_that_was_told_to_reload_just_waits(lab):
    run = lab.running()
    lab.store.reload(run.task_id)
    requeue(lab, run)
    assert lab.state(run.task_id) == "WAIT"
    assert "control" not in lab.record(run.task_id)


def test_a_local_task_is_removed_with_its_worker(lab):
    run = lab.store.start_local(lab.id(), "lab/task", b"{}", "w", "1-local")
    assert requeue(lab, run) == [Code.REMOVED]
    assert lab.snapshot() == {}
    assert requeue(lab, run) == [Code.MISSING]


def test_a_repeat_has_one_effect(lab):
    run = lab.running()
    store, tap = lab.repeating()
    assert requeue(lab, run, store=store) == [Code.ALREADY]
    assert tap.first == [1]
    assert lab.queue() == [run.task_id]


def test_a_finish_is_no_repeat_of_a_requeue_and_the_other_way_round(lab):
    run = lab.running()
    requeue(lab, run)
    before = lab.snapshot()
    assert lab.finish(run) is Code.WRONG_STATE
    assert lab.snapshot() == before
    [again] = lab.claim().claimed
    lab.finish(again)
    assert requeue(lab, again) == [Code.WRONG_STATE]


def test_a_mixed_batch_is_answered_run_by_run(lab):
    good, other, gone, foreign, done = (lab.running() for _ in range(5))
    lab.put(other.task_id, run="7-other")
    lab.call("DEL", lab.names.record(gone.task_id))
    lab.foreign(lab.names.record(foreign.task_id), b"list")
    lab.finish(done, State.STOPPED)
    before = lab.record(other.task_id)

    codes = requeue(lab, good, other, gone, foreign, done, good)

    assert codes == [
        Code.OK,
        Code.NOT_OWNER,
        Code.MISSING,
        Code.BAD_TYPE,
        Code.WRONG_STATE,
        Code.ALREADY,
    ]
    assert lab.queue() == [good.task_id]
    assert lab.record(other.task_id) == before


def test_a_large_batch_is_cut(lab):
    lab.enqueue(*lab.ids(450))
    runs = lab.claim(450).claimed
    assert requeue(lab, *runs) == [Code.OK] * 450
    assert sorted(lab.queue()) == sorted(run.task_id for run in runs)


def test_of_finish_requeue_and_reap_at_once_one_wins(lab):
    for _ in range(5):
        run = lab.running()
        lab.age(run.task_id, 100)
        codes = lab.race(
            [
                lambda run=run: lab.finish(run),
                lambda run=run: requeue(lab, run)[0],
                lambda: lab.store.reap(lab.partition, task_timeout=60, worker_timeout=5).reaped,
            ]
        )
        won = [code is Code.OK or (isinstance(code, list) and code != []) for code in codes]
        assert won.count(True) == 1
        assert (run.task_id in lab.queue()) != (run.task_id in lab.end_queue())
        lab.store.remove(run.task_id)


@pytest.mark.parametrize("queue", ["default", "mail"])
def test_foreign_values_under_our_keys_change_nothing(lab, queue):
    run = lab.running(queue=queue)
    keys = {
        lab.names.tasks: b"set",
        lab.names.leases: b"zset",
        lab.names.new_queue(): b"list",
        lab.names.new_queue(queue): b"list",
        lab.names.delayed: b"zset",
    }
    lab.check_wrong_types(lambda: requeue(lab, run), keys)
    assert requeue(lab, run) == [Code.OK]


def hold_back(lab, *runs, seconds=60.0, store=None):
    pairs = [(run.task_id, run.token) for run in runs]
    return (store or lab.store).requeue(lab.partition, pairs, [seconds] * len(runs))


def test_a_run_that_a_limit_holds_back_counts_no_attempt_and_waits_in_the_delayed_set(lab):
    run, other = lab.running(), lab.running()
    assert hold_back(lab, run, other) == [Code.OK, Code.OK]
    record = lab.record(run.task_id)
    assert (record["state"], record["attempts"]) == ("WAIT", "0")
    assert not {"run", "worker", "started", "reaps", "retries"} & record.keys()
    assert lab.queue() == []
    assert lab.active() == set()
    assert lab.scores(lab.names.leases) == {}
    due = lab.scores(lab.names.delayed)
    # Those that are held back together come together, also if they are refused a while apart.
    assert due[run.task_id] == due[other.task_id] == float(record["held"])
    assert due[run.task_id] % 5 == 0
    assert 30 < due[run.task_id] - time.time() < 66


def test_holding_back_is_known_again(lab):
    run = lab.running()
    store, tap = lab.repeating()
    assert hold_back(lab, run, store=store) == [Code.ALREADY]
    assert tap.first == [1]
    assert lab.record(run.task_id)["attempts"] == "0"


def test_attempts_from_before_count_still(lab):
    run = lab.running()
    lab.finish(run, State.RETRY)
    lab.make_due()
    lab.store.promote(lab.partition)
    (again,) = lab.claim().claimed
    hold_back(lab, again)
    assert lab.record(run.task_id)["attempts"] == "1"


def test_a_task_that_was_only_held_back_can_expire(lab):
    run = lab.running(expires=60.0)
    hold_back(lab, run)
    lab.put(run.task_id, expires="1")
    lab.store.hasten([run.task_id])
    assert [one.reason for one in lab.claim().rejected] == ["expired"]
    assert lab.state(run.task_id) == "REVOKED"


def test_a_run_that_is_held_back_and_was_told_to_stop_is_stopped(lab):
    run = lab.running()
    lab.store.stop(run.task_id)
    hold_back(lab, run)
    assert lab.state(run.task_id) == "STOPPED"
    assert lab.scores(lab.names.delayed) == {}


def test_whoever_watches_hears_that_a_task_is_held_back(lab, events_of):
    task_id = lab.waiting()
    events = events_of(task_id)
    (run,) = lab.claim().claimed
    assert events.get() == b'{"event":"started","data":{"attempt":1}}'
    hold_back(lab, run)
    assert events.get() == b'{"event":"held","data":null}'
