"""A hash slot on its way to another node: a batch waits as a whole, and nothing is dropped."""

import pytest

from pytask.connection import connect
from pytask.exceptions import RedisUnavailable
from pytask.keys import Keys
from pytask.settings import Settings
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


def seed_every_key(lab):
    """Let every key of a claim exist: one that does not would end the script before it began."""
    lab.running()
    lab.ended()
    lab.push(lab.id("ghost"))
    lab.claim()
