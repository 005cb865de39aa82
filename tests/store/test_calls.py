"""How scripts are called: once per attempt, in one slot, and again while Redis is away."""

import pytest

from pytask.exceptions import RedisUnavailable
from pytask.records import Outcome
from pytask.states import Code, State
from tests.support.cluster import slot_of

from .lab import Tap


def whole_life(lab, store):
    """Call every verb that runs a script at least once."""
    partition, keys = lab.partition, ["default", "mail"]
    ids = lab.ids(8)
    lab.enqueue(*ids[:4])
    lab.enqueue(*ids[4:6], queue="mail")
    lab.enqueue(ids[6], delay=60.0)
    lab.make_due()
    store.promote(partition)
    runs = store.claim(partition, worker="w", queues=keys, limit=4, request="r").claimed
    store.heartbeat(partition, [(run.task_id, run.token) for run in runs])
    store.stop(runs[0].task_id)
    store.reload(runs[0].task_id)
    store.requeue(partition, [(runs[0].task_id, runs[0].token)])
    outcomes = [Outcome(run.task_id, run.token, State.ERROR, b"1") for run in runs[1:]]
    store.finish(partition, outcomes)
    ended = store.take_ended(partition, "w", 2)
    store.acknowledge_ended(partition, "w", ended[:1], keep_failed=True)
    store.return_ended(partition, "w", [one.task_id for one in ended[1:]])
    store.forget_failed(partition, 60.0)
    store.restart(ended[1].task_id)
    store.remove(ended[1].task_id)
    store.read_records(ids)
    store.give_back(partition, worker="w", queues=keys)
    store.start_local(ids[7], "lab/task", b"{}", "w", "1-x")
    store.reap(partition, task_timeout=60, worker_timeout=5, dead_workers=["w"])
    store.sweep(partition)
    store.adopt(ids[7])
    store.beat_worker("w", {"a": "1"})
    store.read_workers(-1)
    store.leave_fleet("w")
    store.forget_worker("w")
    store.agree_partitions()


def scripts_called(tap):
    return len(tap.calls)


@pytest.mark.topologies("cluster")
def test_all_keys_of_a_call_share_one_slot_and_carry_a_tag(lab):
    tap = Tap(lab.store._link)
    whole_life(lab, lab.store.using(tap))

    assert len(tap.calls) >= 24
    for call in tap.calls:
        tags = {key[key.index("{") : key.index("}") + 1] for key in call}
        assert tags in ({f"{{{lab.partition}}}"}, {"{fleet}"})
        assert len({slot_of(key) for key in call}) == 1


def test_everything_written_is_under_the_names_of_the_installation(lab):
    whole_life(lab, lab.store)
    known = [
        lab.keys.workers,
        lab.keys.worker_prefix,
        lab.keys.partition_count,
        lab.names.tasks,
        lab.names.new_queue(),
        lab.names.end_queue,
        lab.names.record_prefix,
    ]
    for key in lab.snapshot():
        assert any(key.decode().startswith(name) for name in known), key


class Forgetful(Tap):
    """Makes the server forget all scripts before every call."""

    def evalsha(self, sha, source, keys, *args):
        self._link.masters_execute("SCRIPT", "FLUSH")
        return super().evalsha(sha, source, keys, *args)


def test_a_server_that_forgets_its_scripts_changes_nothing(lab):
    whole_life(lab, lab.store.using(Forgetful(lab.store._link)))


class Flaky(Tap):
    """Loses the reply of each script's first attempt, after it was carried out."""

    def __init__(self, link):
        super().__init__(link)
        self.lost = False

    def evalsha(self, sha, source, keys, *args):
        reply = super().evalsha(sha, source, keys, *args)
        self.lost = not self.lost
        if self.lost:
            raise RedisUnavailable("reply lost")
        return reply


def test_every_script_is_safe_to_repeat_after_a_lost_reply(lab):
    tap = Flaky(lab.store._link)
    store = lab.store.using(tap)
    task_id = lab.id()

    [run] = [
        run
        for code in store.enqueue([_task(task_id)])
        if code is Code.ALREADY
        for run in lab.claim(store=store).claimed
    ]
    assert run.task_id == task_id
    assert store.heartbeat(lab.partition, [(task_id, run.token)]) == []
    assert lab.finish(run, store=store) is Code.ALREADY
    assert lab.end_queue() == [task_id]
    assert len(tap.calls) == 8


def test_a_removal_whose_reply_was_lost_is_known_for_what_it_was(lab):
    task_id = lab.waiting()
    store = lab.store.using(Flaky(lab.store._link))
    assert store.remove(task_id) is Code.ALREADY
    assert lab.store.remove(task_id) is Code.MISSING


def _task(task_id):
    from pytask.records import NewTask

    return NewTask(task_id, "lab/task", b"{}")


class Dead(Tap):
    def evalsha(self, sha, source, keys, *args):
        self.calls.append(keys)
        raise RedisUnavailable("away")

    def execute(self, *args):
        self.calls.append(args)
        raise RedisUnavailable("away")


@pytest.mark.topologies("valkey")
def test_patience_bounds_the_repeats_and_can_be_cut_short(lab):
    dead = Dead(lab.store._link)
    store = lab.store.using(dead)
    with pytest.raises(RedisUnavailable):
        store.patient(0).stop("x")
    assert len(dead.calls) == 1
    with pytest.raises(RedisUnavailable):
        store.patient(0.2).stop("x")
    assert len(dead.calls) > 2
    dead.calls.clear()
    with pytest.raises(RedisUnavailable):
        store.patient(None, give_up=lambda: len(dead.calls) >= 3).read_record("x")
    assert len(dead.calls) == 3
    assert lab.store.stop("x") is Code.MISSING
