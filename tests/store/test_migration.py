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
from .permit_lab import PermitLab


class Migration:
    """Moves the slot of a lab from one of two masters to the other.

    Attributes:
        lab: A :class:`~tests.store.lab.Lab` of its own.
        source: The master that has the slot.
        target: The one that gets it.
    """

    def __init__(self, cluster, link):
        self._cluster = cluster
        namespace = Namespace.fresh()
        keys = Keys(**namespace.names, partitions=4, tagged=True)
        self.lab = Lab(Store(link, keys, Settings()), namespace)
        self._slot = slot_of(self.lab.names.new_queue())
        self.source = cluster.owner_of(self._slot)
        self.target = next(node for node in cluster.masters() if node is not self.source)

    def begin(self):
        """Make the masters know that the slot is on its way; no key has moved yet."""
        self._cluster.begin_migration(self._slot, self.target)

    def found(self):
        """Return the keys that have not moved yet."""
        return self.source.command("CLUSTER", "GETKEYSINSLOT", self._slot, 1000)

    def move(self, keys):
        """Move some keys."""
        where = (self.target.host, self.target.port)
        self.source.command("MIGRATE", *where, "", 0, 5000, "KEYS", *keys)

    def complete(self):
        """Move the rest, and the slot."""
        self._cluster.migrate_slot(self._slot, self.target)


@pytest.fixture(params=["valkey", "redis"])
def migration(request, disposable_cluster):
    """Make migrations, of one cluster: ``migration()``."""
    cluster = disposable_cluster(masters=2, replicas=0, kind=request.param)
    connector = connect(cluster.addresses)
    link = connector.link()
    yield lambda: Migration(cluster, link)
    link.close()
    connector.close()


@pytest.mark.slow
def test_a_claim_in_a_half_migrated_slot_drops_nothing(migration):
    move = migration()
    lab = move.lab
    seed_every_key(lab)
    ids = lab.ids(20)
    lab.enqueue(*ids)
    lab.store.wait_for_task(lab.partition, "default", "w", 1)
    before = lab.snapshot()

    # The records go first; the queue stays behind and names what is out of reach.
    move.begin()
    move.move([lab.names.record(task_id) for task_id in ids[5:]])

    with pytest.raises(RedisUnavailable):
        lab.claim(store=lab.store.patient(0))
    assert move.source.command("LLEN", lab.names.new_queue()) == 19

    move.complete()
    assert lab.snapshot() == before
    assert [run.task_id for run in lab.claim().claimed] == ids


@pytest.mark.slow
def test_a_record_that_is_still_to_come_is_not_taken_for_absent(migration):
    """Everything but the records has moved: the new node must not mend what is not broken."""
    move = migration()
    lab = move.lab
    lab.ended()
    lab.age(lab.running().task_id, 1000)
    for queue in ("default", "mail"):
        lab.waiting(queue=queue)
        lab.waiting(queue=queue, delay=0.001)
    before = lab.snapshot()

    move.begin()
    found = move.found()
    stay = [key for key in found if key.startswith(lab.names.record_prefix)]
    stay.append(lab.names.new_queue("mail"))
    move.move([key for key in found if key not in stay])

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

    move.complete()
    assert lab.snapshot() == before


@pytest.mark.slow
def test_a_script_that_empties_a_key_does_all_or_nothing_while_its_slot_moves(migration):
    """What is empty is absent, and what is absent may be where the slot goes to: out of reach."""
    for prepare in (
        one_that_is_due,
        an_end_that_is_held,
        two_ends,
        two_to_restart,
        a_permit_to_hand_over,
    ):
        move = migration()
        lab = move.lab
        act = prepare(lab, lab.store.patient(0))
        before = lab.snapshot()
        move.begin()

        try:
            act()
        except RedisUnavailable:
            assert lab.snapshot() == before, prepare.__name__
        move.complete()
        act()
        assert lab.snapshot() != before


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


def a_permit_to_hand_over(lab, store):
    pool = PermitLab(lab)
    pool.acquire("a")
    pool.release(entering=["b"])
    return lambda: pool.release("a", store=store)


def seed_every_key(lab):
    """Let every key of a claim exist: one that does not would end the script before it began."""
    lab.call("SADD", lab.names.paused, "another")
    lab.running()
    lab.ended()
    lab.push(lab.id("ghost"))
    lab.claim()
