"""reap: stale RUNNING -> WAIT; -> EXCEPTION when it outlived too many workers; local: removed."""

import json
import re

import pytest

from pytask.events import Subscription
from pytask.records import Reaped
from pytask.states import Code, State
from tests.support.waiting import PATIENCE


def reap(lab, *dead, limit=200, skip=0, store=None, task_timeout=60):
    return (store or lab.store).reap(
        lab.partition,
        task_timeout=task_timeout,
        worker_timeout=5,
        dead_workers=dead,
        limit=limit,
        skip=skip,
    )


def stale(lab, seconds=100, **options):
    run = lab.running(**options)
    lab.age(run.task_id, seconds)
    return run


def test_a_stale_task_is_taken_next_by_anybody(lab):
    waiting_later = lab.id()
    run = stale(lab)
    lab.enqueue(waiting_later)

    assert reap(lab) == (1, [Reaped(run.task_id, Code.OK)])

    record = lab.record(run.task_id)
    assert (record["state"], record["attempts"], record["reaps"]) == ("WAIT", "1", "1")
    assert re.fullmatch(
        r"attempt 1: w silent since [\d.]+, taken back at [\d.]+", record["history"]
    )
    assert not {"run", "worker", "control", "started"} & record.keys()
    assert lab.queue() == [run.task_id, waiting_later]
    assert lab.active() == set()
    assert lab.scores(lab.names.leases) == {}


def test_a_task_returns_to_its_own_queue(lab):
    run = stale(lab, queue="mail")
    reap(lab)
    assert lab.queue("mail") == [run.task_id]


def test_a_fresh_lease_is_believed(lab):
    lab.running()
    stale(lab, 30)
    before = lab.snapshot()
    assert reap(lab) == (0, [])
    assert lab.snapshot() == before


def test_a_dead_worker_loses_its_tasks_sooner(lab):
    of_dead = stale(lab, 10, worker="dead")
    of_living = stale(lab, 10, worker="living")
    just_beaten = stale(lab, 2, worker="dead")

    assert reap(lab, "dead", "elsewhere") == (2, [Reaped(of_dead.task_id, Code.OK)])

    assert lab.state(of_living.task_id) == lab.state(just_beaten.task_id) == "RUNNING"


def test_the_record_decides_and_not_the_index(lab):
    run = lab.running()
    lab.call("ZADD", lab.names.leases, 1, run.task_id)
    assert reap(lab) == (1, [])
    assert lab.state(run.task_id) == "RUNNING"


def test_a_lease_from_the_future_is_fresh(lab):
    run = stale(lab, -3_600)
    lab.call("ZADD", lab.names.leases, 1, run.task_id)
    assert reap(lab, "w") == (1, [])
    assert lab.state(run.task_id) == "RUNNING"


@pytest.mark.parametrize("last_update", [None, "", "long ago", "nan", "-inf"])
def test_a_lease_without_a_time_is_stale(lab, last_update):
    run = stale(lab)
    if last_update is None:
        lab.call("HDEL", lab.names.record(run.task_id), "last_update")
    else:
        lab.put(run.task_id, last_update=last_update)
    assert reap(lab).reaped == [Reaped(run.task_id, Code.OK)]


def test_a_task_that_was_told_to_stop_is_stopped(lab):
    run = stale(lab)
    lab.store.stop(run.task_id)
    assert reap(lab).reaped == [Reaped(run.task_id, Code.OK)]
    record = lab.record(run.task_id)
    assert record["state"] == "STOPPED"
    assert not {"run", "control", "reaps"} & record.keys()
    assert lab.active() == {run.task_id}
    assert lab.queue() == []


def test_a_local_task_is_removed_with_its_worker(lab):
    run = lab.store.start_local(lab.id(), "lab/task", b"{}", "w", "1-local")
    lab.age(run.task_id, 100)
    assert reap(lab).reaped == [Reaped(run.task_id, Code.REMOVED)]
    assert lab.snapshot() == {}


def test_a_task_that_loses_too_many_workers_becomes_a_dead_letter(lab):
    task_id = lab.waiting()
    codes = []
    for number in range(3):
        [run] = lab.claim(worker=f"w{number}").claimed
        lab.age(task_id, 100)
        [(_, code)] = reap(lab).reaped
        codes.append(code)

    assert codes == [Code.OK, Code.OK, Code.DEAD]
    record = lab.record(task_id)
    assert (record["state"], record["reaps"]) == ("EXCEPTION", "3")
    assert record["done_run"] == f"{run.token}/reap"
    output = json.loads(record["output"])
    assert output["reason"] == "gave up: 3 workers were lost while they ran this task"
    assert len(output["lost_workers"]) == 3
    assert output["lost_workers"][1].startswith("attempt 2: w1 silent since ")
    assert lab.end_queue() == [task_id]
    assert lab.queue() == []
    assert lab.active() == set()


def lose_at_start(lab, ids, task_timeout=60, **reaps):
    """Let a worker be lost right after it started the last of these tasks."""
    now = float(lab.record(ids[0])["created"])
    for at, task_id in enumerate(ids):
        begun = f"{now - 100 + at / 100:.3f}"
        lab.put(task_id, reaps=reaps.get(task_id, "2"), started=begun, last_update=begun)
        lab.call("ZADD", lab.names.leases, begun, task_id)
    return dict(reap(lab, "w", "v", task_timeout=task_timeout).reaped)


def test_a_lost_worker_condemns_the_one_task_it_started_last(lab):
    ids = [lab.running().task_id for _ in range(4)]
    codes = lose_at_start(lab, ids)
    assert codes == {**dict.fromkeys(ids[:3], Code.OK), ids[3]: Code.DEAD}
    assert [lab.record(one)["reaps"] for one in ids] == ["3"] * 4


def test_who_has_lost_more_workers_is_condemned_first(lab):
    ids = [lab.running().task_id for _ in range(3)]
    codes = lose_at_start(lab, ids, **{ids[0]: "3"})
    assert codes[ids[0]] is Code.DEAD
    assert [codes[one] for one in ids[1:]] == [Code.OK, Code.OK]


def test_each_lost_worker_condemns_one(lab):
    ours = [lab.running(worker="w").task_id for _ in range(2)]
    theirs = [lab.running(worker="v").task_id for _ in range(2)]
    codes = lose_at_start(lab, [*ours, *theirs])
    assert [one for one, code in codes.items() if code is Code.DEAD] == [ours[1], theirs[1]]


def test_of_tasks_that_started_at_once_one_is_condemned(lab):
    ids = [lab.running().task_id for _ in range(3)]
    for task_id in ids:
        lab.age(task_id, 100)
        lab.put(task_id, reaps="2", started="1000", last_update="1000")
        lab.put(task_id, started=lab.record(task_id)["last_update"])
    codes = [code for _, code in reap(lab, "w").reaped]
    assert sorted(codes) == [Code.OK, Code.OK, Code.DEAD]


def test_who_is_one_worker_away_from_the_end_starts_alone(lab):
    ids = [lab.running().task_id for _ in range(3)]
    fresh = lab.running().task_id
    lose_at_start(lab, [*ids, fresh], **dict.fromkeys(ids, "1"), **{fresh: "0"})

    assert lab.queue() == [fresh, ids[0]]
    due = lab.scores(lab.names.delayed)
    assert list(due) == ids[1:]
    assert due[ids[2]] - due[ids[1]] == pytest.approx(0.2, abs=0.002)
    assert {lab.state(one) for one in ids} == {"WAIT"}
    assert lab.active() == set()


def test_promoters_hear_of_those_that_come_back_one_after_the_other(lab, connector):
    hearer = Subscription(connector.link(), channels=[lab.keys.wake_channel])
    assert hearer.wait_ready(PATIENCE)
    try:
        for count in (1, 2):
            ids = [lab.running().task_id for _ in range(count)]
            lose_at_start(lab, ids, **dict.fromkeys(ids, "1"))
        assert hearer.get(PATIENCE).data == b"delayed:%d" % lab.partition
        assert hearer.get(0.05) is None
    finally:
        hearer.close()


def test_nobody_on_probation_waits_for_longer_than_the_time_out_of_tasks(lab):
    ids = [lab.running().task_id for _ in range(200)]
    lose_at_start(lab, ids, task_timeout=20, **dict.fromkeys(ids, "1"))
    due = sorted(lab.scores(lab.names.delayed).values())
    assert len(due) == 199
    assert due[-1] - due[0] == pytest.approx(198 * 20 / 200, abs=0.01)


def test_where_one_worker_is_allowed_each_task_it_ran_is_condemned(lab):
    store = lab.store.patient(0)
    store.settings = store.settings.with_options(max_reaps=1)
    ids = {stale(lab).task_id for _ in range(3)}
    assert dict(reap(lab, "w", store=store).reaped) == dict.fromkeys(ids, Code.DEAD)


def test_the_last_ten_lost_workers_are_remembered(lab):
    run = stale(lab)
    lab.put(run.task_id, reaps="40", history="\n".join(f"attempt {one}: v" for one in range(40)))
    assert reap(lab).reaped == [Reaped(run.task_id, Code.DEAD)]
    lost = json.loads(lab.record(run.task_id)["output"])["lost_workers"]
    assert [line.split(":")[0] for line in lost] == [
        *(f"attempt {one}" for one in range(31, 40)),
        "attempt 1",
    ]


def test_a_run_that_lasted_clears_its_task_of_the_workers_lost_before(lab):
    run = stale(lab)
    lab.put(run.task_id, reaps="2", history="attempt 0: v", started="1000")
    assert reap(lab).reaped == [Reaped(run.task_id, Code.OK)]
    record = lab.record(run.task_id)
    assert (record["state"], record["reaps"]) == ("WAIT", "1")
    assert re.fullmatch(r"attempt 1: w silent since .*", record["history"])


def test_a_dead_letter_without_cleanup_stays_in_the_task_set(lab):
    run = stale(lab, cleanup=False)
    lab.put(run.task_id, reaps="2")
    assert reap(lab).reaped == [Reaped(run.task_id, Code.DEAD)]
    assert lab.active() == {run.task_id}
    assert lab.end_queue() == []


def test_a_dead_letter_stands_in_the_end_queue_once(lab):
    task_id = lab.ended()
    lab.store.restart(task_id)
    lab.claim()
    lab.put(task_id, reaps="2")
    lab.age(task_id, 100)
    assert reap(lab).reaped == [Reaped(task_id, Code.DEAD)]
    assert lab.end_queue() == [task_id]


def test_odd_counts_and_names_do_not_stop_the_reaper(lab):
    run = stale(lab)
    lab.put(run.task_id, reaps="many", attempts="few", worker='w"\\\x01', history="")
    good = stale(lab)
    assert {one.code for one in reap(lab).reaped} == {Code.OK}
    lab.put(good.task_id, reaps="99")
    lab.claim()
    lab.age(good.task_id, 100)
    lab.put(good.task_id, worker='w"\\\x01')
    assert reap(lab).reaped == [Reaped(good.task_id, Code.DEAD)]
    assert json.loads(lab.record(good.task_id)["output"])["lost_workers"]


def test_leases_of_tasks_that_do_not_run_are_dropped(lab):
    gone, waiting, foreign = lab.id(), lab.waiting(), lab.id()
    lab.foreign(lab.names.record(foreign), b"string")
    for task_id in (gone, waiting, foreign):
        lab.call("ZADD", lab.names.leases, 1, task_id)
        lab.call("SADD", lab.names.tasks, task_id)

    assert dict(reap(lab).reaped) == {
        gone: Code.MISSING,
        waiting: Code.WRONG_STATE,
        foreign: Code.MISSING,
    }

    assert lab.scores(lab.names.leases) == {}
    assert lab.active() == {waiting}
    assert lab.queue() == [waiting]
    assert not lab.record(gone)


def test_the_oldest_leases_come_first_and_fresh_ones_can_be_skipped(lab):
    runs = [stale(lab, 100 - number, worker="living") for number in range(3)]
    fresh = [stale(lab, 30 - number, worker="living") for number in range(3)]
    assert [one.task_id for one in reap(lab, limit=2).reaped] == [
        runs[0].task_id,
        runs[1].task_id,
    ]
    assert reap(lab, "dead", limit=2) == (2, [Reaped(runs[2].task_id, Code.OK)])
    assert reap(lab, "dead", limit=2, skip=1) == (2, [])
    lab.put(fresh[2].task_id, worker="dead")
    assert reap(lab, "dead", limit=2, skip=2) == (1, [Reaped(fresh[2].task_id, Code.OK)])


def test_a_repeat_has_one_effect(lab):
    run = stale(lab)
    store, tap = lab.repeating()
    assert reap(lab, store=store) == (0, [])
    assert tap.first[0] == 1
    assert lab.record(run.task_id)["reaps"] == "1"
    assert lab.queue() == [run.task_id]


def test_of_many_reapers_each_task_is_taken_back_by_one(lab):
    ids = [stale(lab).task_id for _ in range(20)]
    replies = lab.race([lambda: reap(lab, limit=9)] * 20)
    assert sorted(one.task_id for reply in replies for one in reply.reaped) == sorted(ids)
    assert sorted(lab.queue()) == sorted(ids)
    assert {lab.record(task_id)["reaps"] for task_id in ids} == {"1"}


def test_the_old_owner_can_write_nothing_any_more(lab):
    run = stale(lab)
    reap(lab)
    before = lab.snapshot()
    assert lab.finish(run, State.SUCCESS) is Code.WRONG_STATE
    assert lab.store.requeue(lab.partition, [(run.task_id, run.token)]) == [Code.WRONG_STATE]
    assert lab.snapshot() == before


def test_foreign_values_under_our_keys_change_nothing(lab):
    stale(lab)
    stale(lab, queue="mail")
    names = lab.names
    keys = {
        names.tasks: b"set",
        names.leases: b"zset",
        names.new_queue(): b"list",
        names.end_queue: b"list",
        names.new_queue("mail"): b"list",
    }
    lab.check_wrong_types(lambda: reap(lab), keys)
    assert len(reap(lab).reaped) == 2


def test_of_thousands_of_running_tasks_none_is_looked_at_while_none_is_stale(lab):
    lab.enqueue(*lab.ids(1_000))
    lab.claim(1_000)
    assert reap(lab, limit=10_000) == (0, [])
