"""The whole machine: all rules, and the repair and drain that end every history."""

from __future__ import annotations

from typing import Any

from pytask.records import Outcome, new_request_id
from pytask.states import Code, State
from pytask.store import Store

from .by_hand import ByHand
from .keepers import Keepers
from .owners import Owners
from .people import People
from .permits import Permits
from .site import QUEUES, WORKERS
from .upkeep import Model
from .words import FOREIGN


class StoreMachine(People, Owners, Keepers, Permits, ByHand):
    """Random histories of the store with lost requests and replies."""

    def teardown(self) -> None:
        """Mend everything, let every waiting task run, and account for every key."""
        link = self.site.link
        link.plan = []
        unknown = self.site.all_keys() - self.site.known_keys()
        assert not unknown, f"keys nobody knows: {sorted(unknown)} (I16)"
        for at, partition in enumerate(self.site.partitions):
            drain(self.site, partition, self.site.task_ids[at])
        self.site.clear()


def drain(site: Any, partition: int, task_ids: tuple[str, ...]) -> None:
    """Check that repair brings every task back that can be, whatever was done to it (I1, L6)."""
    before: Model = site.look(partition)
    store, names = site.store, site.names(partition)
    for task_id in before.leases:
        site.call("ZADD", names.leases, 1, task_id)
    for task_id, record in before.records.items():
        if record is not FOREIGN and record.get("state") == "RUNNING":
            site.call("HSET", names.record(task_id), "last_update", "1")
    for queue in QUEUES:
        store.resume(queue, partition)
    for worker in WORKERS:
        store.give_back(partition, worker=worker, queues=QUEUES, forget=True)
    for task_id in task_ids:
        # One that was RUNNING and in no set: the sweep then finds it and gives it a lease.
        store.adopt(task_id)
    store.sweep(partition)
    store.reap(partition, task_timeout=1e6, worker_timeout=1e6)
    for task_id in task_ids:
        store.adopt(task_id)
    site.call("DEL", *(names.missing(queue) for queue in QUEUES))
    # What a reap puts on probation is delayed, too.
    for task_id in site.call("ZRANGE", names.delayed, 0, -1):
        site.call("ZADD", names.delayed, 1, task_id)
    store.promote(partition)
    _check_all_start(site, partition, before)
    _check_nothing_is_left(site, partition)


def _check_all_start(site: Any, partition: int, before: Model) -> None:
    store: Store = site.store
    started: set[str] = set()
    while True:
        reply = store.claim(
            partition, worker="w1", queues=QUEUES, limit=9, request=new_request_id()
        )
        outcomes = [Outcome(r.task_id, r.token, State.SUCCESS, b"1") for r in reply.claimed]
        assert not started & {run.task_id for run in reply.claimed}, "a task was started twice"
        started |= {run.task_id for run in reply.claimed}
        store.finish(partition, outcomes)
        if reply.claimed or reply.more:
            continue
        # An entry somebody took out by hand may have cost another one; a Monitor looks again.
        if not any([store.adopt(task_id) is Code.OK for task_id in before.records]):
            break
    for task_id, record in before.records.items():
        if record is FOREIGN or task_id in started or task_id not in before.records:
            continue
        state = store.read_record(task_id).get("state", "")
        is_over = state in ("STOPPED", "SUCCESS", "ERROR", "EXCEPTION", "REVOKED")
        is_gone = state == "" and (record.get("local") or "state" not in record)
        assert is_over or is_gone, f"{task_id}, {record}, was lost: it is {state or 'gone'} (I1)"


def _check_nothing_is_left(site: Any, partition: int) -> None:
    store: Store = site.store
    # More than people may have put there; a take that only drops IDs returns nothing.
    while ended := store.take_ended(partition, "w1", 200):
        store.acknowledge_ended(partition, "w1", ended, keep_failed=False)
    left: Model = site.look(partition)
    assert not left.leases and not left.delayed and not left.end, left
    assert not any((*left.queues.values(), *left.claims.values(), *left.end_claims.values())), left
    for task_id in left.tasks:
        record = left.records.get(task_id, FOREIGN)
        # A record by hand that nobody ever pushed has no state; nobody but its maker may judge it.
        kept = record.get("cleanup") == "false" or record.get("state", "STOPPED") == "STOPPED"
        assert kept or record is FOREIGN, f"{task_id} is still in the task set: {record} (L6)"
