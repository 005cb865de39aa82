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
    ids = lab.ids(20)
    lab.enqueue(*ids)
    slot = slot_of(lab.names.new_queue())
    source = cluster.owner_of(slot)
    target = next(node for node in cluster.masters() if node is not source)

    # The records go first; the queue stays behind and names what is out of reach.
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.node_id(source))
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.node_id(target))
    records = [lab.names.record(task_id) for task_id in ids[5:]]
    source.command("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *records)

    with pytest.raises(RedisUnavailable):
        lab.claim(store=lab.store.patient(0))
    assert source.command("LLEN", lab.names.new_queue()) == 20

    cluster.migrate_slot(slot, target)
    assert [run.task_id for run in lab.claim().claimed] == ids
    link.close()
    connector.close()
