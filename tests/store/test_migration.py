"""A hash slot on its way to another node: a batch waits as a whole, and nothing is dropped."""

import pytest

from pytask.connection import connect
from pytask.exceptions import RedisUnavailable
from pytask.keys import Keys
from pytask.records import NewTask, Outcome
from pytask.settings import Settings
from pytask.states import State
from pytask.store import Store
from tests.support.cluster import slot_of
from tests.support.namespace import Namespace

from .lab import Lab


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_a_claim_in_a_half_migrated_slot_drops_nothing(kind, disposable_cluster):
    cluster = disposable_cluster(masters=2, replicas=0, kind=kind)
    connector = connect(cluster.addresses)
    namespace = Namespace.fresh()
    link = connector.link()
    keys = Keys(**namespace.names, partitions=4, tagged=True)
    lab = Lab(Store(link, keys, Settings()), namespace)
    seed_every_key(lab)
    ids = lab.ids(20)
    lab.enqueue(*ids)
    lab.store.wait_for_task(lab.partition, "default", "w", 1)
    slot = slot_of(lab.names.new_queue())
    source = cluster.owner_of(slot)
    target = next(node for node in cluster.masters() if node is not source)

    before = lab.snapshot()

    # The records go first; the queue stays behind and names what is out of reach.
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.node_id(source))
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.node_id(target))
    records = [lab.names.record(task_id) for task_id in ids[5:]]
    source.command("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *records)

    with pytest.raises(RedisUnavailable):
        lab.claim(store=lab.store.patient(0))
    assert source.command("LLEN", lab.names.new_queue()) == 19

    cluster.migrate_slot(slot, target)
    assert lab.snapshot() == before
    assert [run.task_id for run in lab.claim().claimed] == ids
    link.close()
    connector.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_a_record_that_is_still_to_come_is_not_taken_for_absent(kind, disposable_cluster):
    """Everything but the records has moved: the new node must not mend what is not broken."""
    cluster = disposable_cluster(masters=2, replicas=0, kind=kind)
    connector = connect(cluster.addresses)
    namespace = Namespace.fresh()
    link = connector.link()
    keys = Keys(**namespace.names, partitions=4, tagged=True)
    lab = Lab(Store(link, keys, Settings()), namespace)
    lab.ended()
    lab.age(lab.running().task_id, 1000)
    for queue in ("default", "mail"):
        lab.waiting(queue=queue)
        lab.waiting(queue=queue, delay=0.001)
    slot = slot_of(lab.names.new_queue())
    source = cluster.owner_of(slot)
    target = next(node for node in cluster.masters() if node is not source)
    before = lab.snapshot()

    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.node_id(source))
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.node_id(target))
    found = source.command("CLUSTER", "GETKEYSINSLOT", slot, 1000)
    stay = [key for key in found if key.startswith(lab.names.record_prefix)]
    stay.append(lab.names.new_queue("mail"))
    moved = [key for key in found if key not in stay]
    source.command("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *moved)

    store = lab.store.patient(0)
    for act in (
        lambda: store.sweep(lab.partition),
        lambda: store.reap(lab.partition, task_timeout=10, worker_timeout=5),
        lambda: store.promote(lab.partition),
        lambda: store.take_ended(lab.partition, "w"),
        lambda: lab.claim(store=store),
    ):
        with pytest.raises(RedisUnavailable):
            act()

    cluster.migrate_slot(slot, target)
    assert lab.snapshot() == before
    link.close()
    connector.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_a_script_that_empties_a_key_does_all_or_nothing_while_its_slot_moves(
    kind, disposable_cluster
):
    """What is empty is absent, and what is absent may be where the slot goes to: out of reach."""
    cluster = disposable_cluster(masters=2, replicas=0, kind=kind)
    connector = connect(cluster.addresses)
    link = connector.link()
    for prepare in (one_that_is_due, an_end_that_is_held, two_ends, two_to_restart):
        namespace = Namespace.fresh()
        keys = Keys(**namespace.names, partitions=4, tagged=True)
        lab = Lab(Store(link, keys, Settings()), namespace)
        act = prepare(lab, lab.store.patient(0))
        slot = slot_of(lab.names.new_queue())
        source = cluster.owner_of(slot)
        target = next(node for node in cluster.masters() if node is not source)
        before = lab.snapshot()
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.node_id(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.node_id(target))

        try:
            act()
        except RedisUnavailable:
            assert lab.snapshot() == before, prepare.__name__
        cluster.migrate_slot(slot, target)
        act()
        assert lab.snapshot() != before
    link.close()
    connector.close()


def one_that_is_due(lab, store):
    lab.waiting()
    lab.waiting(delay=0.001)
    return lambda: store.promote(lab.partition)


def an_end_that_is_held(lab, store):
    task_id = lab.ended()
    store.take_ended(lab.partition, "w")
    store.give_back(lab.partition, worker="w", queues=())
    store.wait_for_ended(lab.partition, "w", 1)
    lab.call("LPUSH", lab.names.end_queue, lab.ended())
    assert lab.entries(lab.names.end_claim("w")) == [task_id]
    return lambda: store.take_ended(lab.partition, "w")


def two_ends(lab, store):
    lab.ended()
    lab.waiting(delay=60.0)
    gone, kept = lab.running(), lab.running(cleanup=False)
    lab.call("SREM", lab.names.tasks, kept.task_id)
    outcomes = [Outcome(one.task_id, one.token, State.SUCCESS, b"1") for one in (gone, kept)]
    return lambda: store.finish(lab.partition, outcomes)


def two_to_restart(lab, store):
    lab.waiting()
    lab.waiting(delay=60.0)
    lab.call("ZADD", lab.names.failed, 1, "other")
    ids = [lab.stopped(), lab.ended()]
    return lambda: store.enqueue([NewTask(one, "lab/task", b"{}") for one in ids])


def seed_every_key(lab):
    """Let every key of a claim exist: one that does not would end the script before it began."""
    lab.running()
    lab.ended()
    lab.push(lab.id("ghost"))
    lab.claim()
