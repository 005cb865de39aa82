"""What the chaos runs found, in a few lines each."""

from types import SimpleNamespace

from pytask.records import NewTask, new_request_id
from pytask.tasks import Monitor


def test_the_last_claim_of_a_worker_nobody_knows_any_more_is_forgotten(store, settings):
    """Buried while it was frozen, it woke, claimed, and died before its next beat."""
    partition = store.partition_of("t")
    store.enqueue([NewTask("t", "task", b"{}")])
    for worker in ("gone", "living"):
        store.beat_worker("living", {})
        store.claim(partition, worker=worker, queues=["default"], limit=1, request=new_request_id())
        store.enqueue([NewTask("t", "task", b"{}"), NewTask(_other(store, partition), "task", b"")])
    assert sorted(store.list_claimers(partition)) == ["gone", "living"]

    monitor = Monitor()
    helpers = SimpleNamespace(store=store, settings=settings, keys=store.keys)
    monitor._binding = SimpleNamespace(environment=SimpleNamespace(helpers=helpers))
    monitor._return_stray_claims()

    assert store.list_claimers(partition) == ["living"]


def _other(store, partition):
    """Another ID of the same partition."""
    names = (f"u{number}" for number in range(1000))
    return next(name for name in names if store.partition_of(name) == partition)
