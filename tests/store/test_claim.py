"""claim: WAIT, due RETRY, no state -> RUNNING; expired -> REVOKED."""

import json
import re
import time

import pytest

from pytask.records import Rejected
from pytask.states import Code, State

from .lab import tally


def test_a_claim_makes_the_worker_the_owner(lab):
    task_id = lab.waiting(data=b'{"n":1}')

    reply = lab.claim(worker="w1", request="00ff00ff00ff00ff")

    [run] = reply.claimed
    assert run == (task_id, "1-00ff00ff00ff00ff001", "lab/task", b'{"n":1}', 1, b"", False)
    assert (reply.rejected, reply.more, reply.set_aside) == ([], False, 0)
    record = lab.record(task_id)
    assert (record["state"], record["run"], record["worker"]) == ("RUNNING", run.token, "w1")
    assert record["started"] == record["last_update"]
    assert record["attempts"] == "1"
    assert abs(float(record["started"]) - time.time()) < 60
    assert lab.queue() == []
    assert lab.active() == {task_id}
    assert lab.scores(lab.names.leases) == {task_id: float(record["last_update"])}


def test_a_claim_takes_no_more_than_its_limit_and_the_oldest_first(lab):
    ids = lab.ids(5)
    lab.enqueue(*ids)
    assert [run.task_id for run in lab.claim(2).claimed] == ids[:2]
    assert lab.queue() == ids[2:]
    assert [run.task_id for run in lab.claim(9).claimed] == ids[2:]


def test_a_claim_for_nothing_takes_nothing(lab):
    lab.waiting()
    before = lab.snapshot()
    assert lab.claim(0).claimed == []
    assert lab.snapshot() == before


def test_queues_are_served_in_the_order_given(lab):
    slow, urgent = lab.waiting(), lab.waiting(queue="urgent")
    runs = lab.claim(queues=["urgent", "default"]).claimed
    assert [run.task_id for run in runs] == [urgent, slow]


def test_other_queues_are_not_touched(lab):
    lab.waiting(queue="other")
    assert lab.claim().claimed == []
    assert len(lab.queue("other")) == 1


def test_what_a_blocking_pop_left_behind_comes_first(lab):
    popped, waiting = lab.ids(2)
    lab.enqueue(popped, waiting)
    assert lab.store.wait_for_task(lab.partition, "default", "w", 1)
    assert lab.entries(lab.names.new_claim("default", "w")) == [popped]

    assert [run.task_id for run in lab.claim(worker="other").claimed] == [waiting]
    assert [run.task_id for run in lab.claim(worker="w").claimed] == [popped]
    assert lab.entries(lab.names.new_claim("default", "w")) == []


def test_waiting_for_a_task_ends_without_one(lab):
    assert lab.store.wait_for_task(lab.partition, "default", "w", 0.01) is False


def test_attempts_count_the_claims_and_every_claim_has_its_own_token(lab):
    task_id = lab.waiting()
    tokens = []
    for attempt in (1, 2, 3):
        [run] = lab.claim().claimed
        assert run.attempts == attempt
        assert re.fullmatch(rf"{attempt}-[0-9a-f]{{16}}001", run.token)
        tokens.append(run.token)
        lab.store.requeue(lab.partition, [(task_id, run.token)])
    assert len(set(tokens)) == 3


def test_a_retry_that_was_promoted_starts_again_without_the_old_output(lab):
    run = lab.running()
    lab.finish(run, State.RETRY, b'"failed"')
    lab.make_due()
    lab.store.promote(lab.partition)

    [again] = lab.claim().claimed

    assert (again.task_id, again.attempts) == (run.task_id, 2)
    assert not {"output", "ended"} & lab.record(run.task_id).keys()


def test_attempts_that_are_no_number_count_as_none(lab):
    task_id = lab.put(lab.id(), task="x", attempts="many")
    lab.push(task_id)
    assert lab.claim().claimed[0].attempts == 1


# Repeats


def test_a_repeat_with_the_same_request_gets_the_same_answer(lab):
    lab.enqueue(*lab.ids(3))
    first = lab.claim(2, request="r1")
    before = lab.snapshot()

    again = lab.claim(2, request="r1")

    assert again.claimed == first.claimed
    assert lab.snapshot() == before
    assert len(lab.claim(2, request="r2").claimed) == 1


def test_a_claim_whose_reply_was_lost_strands_nothing(lab):
    ids = lab.ids(50)
    lab.enqueue(*ids)
    store, tap = lab.repeating()
    reply = lab.claim(store=store)
    assert [run.task_id for run in reply.claimed] == ids
    assert len(tap.calls) == 1
    beats = lab.store.heartbeat(lab.partition, [(run.task_id, run.token) for run in reply.claimed])
    assert beats == []


def test_a_repeat_leaves_out_what_was_taken_away_meanwhile(lab):
    lab.enqueue(*lab.ids(5))
    first = lab.claim(request="r1").claimed
    lab.finish(first[0])
    lab.store.requeue(lab.partition, [(first[1].task_id, first[1].token)])
    lab.store.remove(first[2].task_id, force=True)
    lab.put(first[3].task_id, state="STOPPED")
    before = lab.snapshot()

    assert lab.claim(request="r1").claimed == first[4:]
    assert lab.snapshot() == before


def test_a_repeat_keeps_odd_ids_and_flags(lab):
    ids = [lab.id(odd) for odd in ('quo"te\\', "uml\u00e4ut", "\udcff\udcfe", "\x7f")]
    lab.enqueue(*ids, policy=b'{"timeout":5}')
    local = lab.put(lab.id(), task="x", local="true")
    lab.push(local)
    first = lab.claim(request="r1").claimed
    assert [run.task_id for run in first] == [*ids, local]
    assert (first[-1].local, first[-1].policy) == (False, b"")
    assert first[0].policy == b'0 {"timeout":5}'
    assert "local" not in lab.record(local)  # any worker may have it now
    assert lab.claim(request="r1").claimed == first


def test_a_damaged_memory_of_the_last_claim_is_ignored(lab):
    for memory in (b"not json", b"[", b"7", b'"r1"', b"{}", b'["r1"'):
        lab.call("HSET", lab.names.claims, "w", memory)
        task_id = lab.waiting()
        assert [run.task_id for run in lab.claim(request="r1").claimed] == [task_id]


def test_of_many_workers_that_claim_at_once_each_task_has_one_owner(lab):
    ids = lab.ids(60)
    lab.enqueue(*ids)
    claims = [lambda name=f"w{number}": lab.claim(7, worker=name) for number in range(20)]
    runs = [run for reply in lab.race(claims) for run in reply.claimed]
    assert tally(run.task_id for run in runs) == dict.fromkeys(ids, 1)
    assert len({run.token for run in runs}) == 60
    assert lab.store.heartbeat(lab.partition, [(run.task_id, run.token) for run in runs]) == []


# What is dropped


@pytest.mark.parametrize("state", ["RUNNING", "SUCCESS", "ERROR", "EXCEPTION", "REVOKED"])
def test_entries_of_running_and_ended_tasks_are_dropped(lab, state):
    task_id = lab.put(lab.id(), task="x", state=state, output='"kept"')
    record = lab.record(task_id)
    lab.push(task_id)

    reply = lab.claim()

    assert (reply.claimed, reply.rejected) == ([], [Rejected(task_id, "duplicate")])
    assert lab.record(task_id) == record
    assert lab.queue() == []


@pytest.mark.parametrize("copies", [2, 1_000])
def test_duplicate_entries_give_one_run(lab, copies):
    task_id = lab.waiting()
    lab.push(*[task_id] * (copies - 1))
    runs, rounds, more = [], 0, True
    while more:
        reply = lab.claim(10)
        runs += reply.claimed
        more = reply.more
        rounds += 1
    assert [run.task_id for run in runs] == [task_id]
    assert lab.queue() == []
    assert rounds <= copies // 200 + 1


def test_a_scan_that_ends_at_its_bound_says_that_there_may_be_more(lab):
    lab.push(*[lab.put(lab.id(), task="x", state="SUCCESS")] * 300)
    task_id = lab.waiting()
    reply = lab.claim(1)
    assert (reply.claimed, reply.more) == ([], True)
    reply = lab.claim(1)
    assert [run.task_id for run in reply.claimed] == [task_id]


def test_a_mixed_batch_claims_what_can_run_and_names_the_rest(lab):
    good, running, foreign, stopped, expired, late = lab.ids(6)
    lab.enqueue(good, stopped)
    lab.enqueue(expired, expires=5.0)
    lab.put(expired, expires="1")
    lab.store.stop(stopped)
    lab.put(running, task="x", state="RUNNING")
    lab.foreign(lab.names.record(foreign), b"set")
    lab.push(running, foreign, late)

    reply = lab.claim()

    assert [run.task_id for run in reply.claimed] == [good]
    assert dict(reply.rejected) == {
        running: "duplicate",
        foreign: "type",
        stopped: "stopped",
        expired: "expired",
    }
    assert reply.set_aside == 1
    assert lab.queue() == []


def test_an_expired_task_is_revoked_and_awaits_cleanup(lab):
    task_id = lab.waiting(expires=5.0)
    lab.put(task_id, expires=f"{time.time() - 1:.3f}")

    reply = lab.claim()

    assert reply.rejected == [Rejected(task_id, "expired")]
    record = lab.record(task_id)
    assert (record["state"], record["end_entry"]) == ("REVOKED", "1")
    assert json.loads(record["output"]) == "expired before it was started"
    assert lab.end_queue() == [task_id]
    assert lab.active() == set()
    assert lab.scores(lab.names.leases) == {}


def test_an_expired_task_without_cleanup_stays_in_the_task_set(lab):
    task_id = lab.waiting(expires=5.0, cleanup=False)
    lab.put(task_id, expires="1")
    lab.claim()
    assert lab.end_queue() == []
    assert lab.active() == {task_id}


def test_a_task_that_was_started_in_time_does_not_expire_any_more(lab):
    run = lab.running(expires=5.0)
    lab.put(run.task_id, expires="1")
    lab.store.requeue(lab.partition, [(run.task_id, run.token)])
    assert [again.task_id for again in lab.claim().claimed] == [run.task_id]


@pytest.mark.parametrize("expires", ["", "soon", "inf", "nan", "9" * 400])
def test_an_expiry_that_is_no_instant_never_comes(lab, expires):
    task_id = lab.put(lab.id(), task="x", expires=expires)
    lab.push(task_id)
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


def test_a_stopped_task_that_still_stands_in_its_queue_is_not_started(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)

    assert lab.claim().rejected == [Rejected(task_id, "stopped")]

    assert lab.queue() == []
    assert lab.state(task_id) == "STOPPED"
    assert "unqueue" not in lab.record(task_id)


def test_a_stopped_task_pushed_by_hand_restarts_though_its_old_entry_still_stands(lab):
    task_id = lab.waiting()
    lab.store.stop(task_id)
    lab.push(task_id)

    reply = lab.claim()

    assert [run.task_id for run in reply.claimed] == [task_id]
    assert reply.rejected == [Rejected(task_id, "stopped")]
    assert not {"unqueue", "output", "ended"} & lab.record(task_id).keys()


def test_foreign_values_under_our_keys_change_nothing(lab):
    lab.waiting(queue="mail")
    popped = lab.waiting(queue="mail")
    lab.store.wait_for_task(lab.partition, "mail", "w", 1)
    lab.push(lab.id(), queue="mail")
    lab.claim(0, queues=["mail"])
    lab.put(lab.waiting(expires=5.0), expires="1")
    names = lab.names
    lab.check_wrong_types(
        lambda: lab.claim(queues=["mail", "default"]),
        {
            names.claims: b"hash",
            names.tasks: b"set",
            names.leases: b"zset",
            names.end_queue: b"list",
            names.new_queue("mail"): b"list",
            names.new_claim("mail", "w"): b"list",
            names.missing("mail"): b"zset",
            names.new_queue(): b"list",
        },
    )
    assert popped in [run.task_id for run in lab.claim(queues=["mail"]).claimed]


def test_a_foreign_end_queue_is_in_the_way_of_no_task_that_has_not_expired(lab):
    lab.foreign(lab.names.end_queue, b"string")
    task_id = lab.waiting()
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


def test_a_limit_beyond_what_lua_can_unpack_is_capped(lab):
    lab.enqueue(*lab.ids(1_200))
    first = lab.claim(100_000).claimed
    assert len(first) == 1_000
    assert len(lab.claim(100_000).claimed) == 200
    assert lab.store.count()["running"] == 1_200


def test_an_old_token_changes_nothing_after_a_new_claim(lab):
    old = lab.running()
    lab.store.requeue(lab.partition, [(old.task_id, old.token)])
    [new] = lab.claim(worker="w2").claimed
    before = lab.snapshot()

    for state in State:
        assert lab.finish(old, state) is Code.NOT_OWNER
    assert lab.store.requeue(lab.partition, [(old.task_id, old.token)]) == [Code.ALREADY]
    beats = lab.store.heartbeat(lab.partition, [(old.task_id, old.token)])

    assert [beat.code for beat in beats] == [Code.NOT_OWNER]
    assert lab.snapshot() == before
    assert lab.finish(new) is Code.OK


def test_large_data_cut_a_claim_short_and_the_next_one_goes_on(lab):
    ids = lab.ids(5)
    for task_id in ids:
        lab.put(task_id, task="x", data='"' + "x" * 3_000_000 + '"')
        lab.push(task_id)
    first = lab.claim(limit=10)
    assert [run.task_id for run in first.claimed] == ids[:3]
    assert first.more
    second = lab.claim(limit=10)
    assert [run.task_id for run in second.claimed] == ids[3:]
    assert not second.more
