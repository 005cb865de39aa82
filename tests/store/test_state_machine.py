"""Any sequence of verbs keeps every task in exactly one place.

Hypothesis plays clients, workers, a Monitor and a Cleanup that may crash, in any order, and looks
at the whole partition after each step. What must hold at all times:

* each record's ID is where its state says, and only there: a queue or claim list, the delayed set,
  the task set, the end queue or the claim list of a Cleanup, the failures;
* an ID is in its queue once, not counting entries that a stop left behind and `unqueue` names;
* RUNNING and an entry in the leases go together;
* nothing names a task that has no record;
* a stopped task does not start before somebody restarts it;
* no two runs own a task, and no old token writes.
"""

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from pytask.connection import connect
from pytask.keys import Keys
from pytask.records import NewTask
from pytask.settings import Settings
from pytask.states import ENDED, FAILED, Code, State
from pytask.store import Store
from tests.support.namespace import Namespace

from .lab import Lab

QUEUES = ("default", "mail")
WORKERS = ("w1", "w2")
IDS = st.sampled_from(["a", "b", "c"])
TAKEN = {Code.OK, Code.REMOVED}


class Verbs(RuleBasedStateMachine):
    """The store of one namespace and what the outside world knows of it."""

    runs = Bundle("runs")
    server_url = ""

    def __init__(self):
        super().__init__()
        self.connector = connect(self.server_url)
        self.namespace = Namespace.fresh()
        link = self.connector.link()
        keys = Keys(**self.namespace.names)
        self.lab = Lab(Store(link, keys, Settings(max_reaps=2)), self.namespace)
        self.store = self.lab.store
        #: Tokens that were given out and not yet given up, by ID.
        self.owner = {}
        #: Tasks a person stopped and nobody started again.
        self.stopped = set()

    def teardown(self):
        for key in self.lab.snapshot():
            self.lab.call("DEL", key)
        self.connector.close()

    # Clients

    @rule(
        task_id=IDS,
        queue=st.sampled_from(QUEUES),
        delay=st.sampled_from([0.0, 0.0, 60.0]),
        cleanup=st.booleans(),
    )
    def enqueue(self, task_id, queue, delay, cleanup):
        [code] = self.store.enqueue([NewTask(task_id, "t", b"{}", queue, cleanup, delay)])
        if code is Code.OK:
            self.stopped.discard(task_id)

    @rule(task_id=IDS)
    def stop(self, task_id):
        if self.store.stop(task_id) is Code.OK:
            self.stopped.add(task_id)

    @rule(task_id=IDS)
    def restart(self, task_id):
        if self.store.restart(task_id) is Code.OK:
            self.stopped.discard(task_id)

    @rule(task_id=IDS)
    def reload(self, task_id):
        self.store.reload(task_id)

    @rule(task_id=IDS, force=st.booleans())
    def remove(self, task_id, force):
        if self.is_popped(task_id):
            return  # its entry would look like an ID whose record is still to come
        if self.store.remove(task_id, force=force) is Code.OK:
            self.stopped.discard(task_id)
            self.owner.pop(task_id, None)

    def is_popped(self, task_id):
        names = self.lab.names
        lists = [names.new_claim(queue, worker) for queue in QUEUES for worker in WORKERS]
        return any(task_id in self.lab.entries(key) for key in lists)

    # Workers

    @rule(
        target=runs,
        worker=st.sampled_from(WORKERS),
        queues=st.permutations(QUEUES).flatmap(
            lambda names: st.integers(1, 2).map(lambda number: names[:number])
        ),
        limit=st.integers(1, 3),
    )
    def claim(self, worker, queues, limit):
        reply = self.lab.claim(limit, worker=worker, queues=queues)
        assert reply.set_aside == 0
        for run in reply.claimed:
            assert run.task_id not in self.stopped, "a stopped task was started"
            assert run.task_id not in self.owner, "two runs own one task"
            self.owner[run.task_id] = run.token
        return multiple(*reply.claimed)

    @rule(worker=st.sampled_from(WORKERS), queue=st.sampled_from(QUEUES))
    def pop_and_crash(self, worker, queue):
        if self.lab.queue(queue):
            self.store.wait_for_task(0, queue, worker, 1)

    @rule(worker=st.sampled_from(WORKERS))
    def give_back(self, worker):
        if not self.doubly_ended():
            self.store.give_back(0, worker=worker, queues=QUEUES, forget=True)

    def owns(self, run):
        return self.owner.get(run.task_id) == run.token

    @rule(
        run=consumes(runs),
        state=st.sampled_from([*sorted(ENDED), State.STOPPED, State.RETRY]),
        delay=st.sampled_from([0.0, 60.0]),
    )
    def finish(self, run, state, delay):
        code = self.lab.finish(run, state, b'"x"', delay)
        assert (code is Code.OK) == self.owns(run), "only the owner may finish"
        if self.owns(run):
            self.gave_up(run.task_id)

    @rule(run=consumes(runs))
    def requeue(self, run):
        [code] = self.store.requeue(0, [(run.task_id, run.token)])
        assert (code in TAKEN) == self.owns(run), "only the owner may give back"
        if self.owns(run):
            self.gave_up(run.task_id)

    @rule(run=runs)
    def heartbeat(self, run):
        beats = self.store.heartbeat(0, [(run.task_id, run.token)])
        fresh = not beats or beats[0].code is Code.OK
        assert fresh == self.owns(run), "only the owner's lease is refreshed"

    def gave_up(self, task_id):
        del self.owner[task_id]
        if self.lab.state(task_id) == "STOPPED":
            self.stopped.add(task_id)

    # Upkeep

    @rule(task_id=IDS)
    def lose_a_worker(self, task_id):
        if task_id in self.owner:
            self.lab.age(task_id, 100)
            reaped = self.store.reap(0, task_timeout=60, worker_timeout=5).reaped
            assert [one.task_id for one in reaped] == [task_id]
            self.gave_up(task_id)

    @rule()
    def time_passes(self):
        self.lab.make_due()
        self.store.promote(0)

    @rule()
    def nothing_is_to_mend(self):
        assert self.store.sweep(0).mended == []

    @rule(worker=st.sampled_from(WORKERS), acknowledge=st.booleans(), keep=st.booleans())
    def clean_up_and_perhaps_crash(self, worker, acknowledge, keep):
        ended = self.store.take_ended(0, worker)
        # A record that is forgotten leaves its void entries to the next claim of their queue.
        ended = [one for one in ended if "unqueue" not in one.record]
        if acknowledge:
            self.store.acknowledge_ended(0, worker, ended, keep_failed=keep)

    @rule(worker=st.sampled_from(WORKERS))
    def fail_to_clean_up(self, worker):
        ended = self.store.take_ended(0, worker)
        self.store.return_ended(0, worker, [one.task_id for one in ended])

    @rule(worker=st.sampled_from(WORKERS))
    def pop_an_end_and_crash(self, worker):
        if self.lab.end_queue():
            self.store.wait_for_ended(0, worker, 1)

    def doubly_ended(self):
        """Tasks that ended again while a Cleanup still held their last end."""
        held = Counter(
            one for w in WORKERS for one in self.lab.entries(self.lab.names.end_claim(w))
        )
        return [one for one in held if one in self.lab.end_queue() or held[one] > 1]

    # What must hold

    @invariant()
    def every_task_is_in_exactly_one_place(self):
        for task_id in ("a", "b", "c"):
            record = self.lab.record(task_id)
            where = self.places(task_id, record)
            assert +where == self.expected(record, where), (task_id, record)

    def places(self, task_id, record):
        """Count the entries of an ID by place; those a stop left behind are not counted."""
        lab, names = self.lab, self.lab.names
        void = record.get("unqueue", "").split()
        where = Counter()
        for queue in QUEUES:
            where["queue"] += lab.queue(queue).count(task_id) - void.count(queue)
            for worker in WORKERS:
                where["queue"] += lab.entries(names.new_claim(queue, worker)).count(task_id)
        where["end"] = lab.end_queue().count(task_id)
        held = [w for w in WORKERS if task_id in lab.entries(names.end_claim(w))]
        where["held"] = len(held)
        where["delayed"] = task_id in lab.scores(names.delayed)
        where["lease"] = task_id in lab.scores(names.leases)
        where["failed"] = task_id in lab.scores(names.failed)
        where["set"] = task_id in lab.active()
        assert min(where.values()) >= 0, f"unqueue names an entry that is not there: {where}"
        return where

    def expected(self, record, where):
        """Where an ID with this record belongs."""
        state = record.get("state")
        # Entries of an earlier end may outlive a restart; they are dropped when they are met.
        stale = Counter(end=where["end"], held=where["held"])
        assert stale["end"] <= 1, "twice in the end queue"
        if state is None:
            return +stale
        if state in ("WAIT", "RETRY"):
            assert where["queue"] + where["delayed"] == 1
            return +stale + Counter(["delayed" if where["delayed"] else "queue"])
        if state == "RUNNING":
            return +stale + Counter(["set", "lease"])
        if state == "STOPPED" or record.get("cleanup") == "false":
            return +stale + Counter(["set"])
        if where["failed"]:
            assert state in FAILED
            return +stale + Counter(["failed"])
        assert stale.total() >= 1, "an ended task nobody will clean up"
        assert (record.get("end_entry") == "1") <= (stale.total() >= 1)
        return +stale


@pytest.fixture
def verbs(valkey_server):
    return type("VerbsHere", (Verbs,), {"server_url": valkey_server.url})


@pytest.mark.slow
@pytest.mark.valkey
def test_any_sequence_of_verbs_keeps_every_task_in_one_place(verbs):
    run_state_machine_as_test(
        verbs,
        settings=settings(
            max_examples=int(os.environ.get("PYTASK_HISTORIES", "100")),
            stateful_step_count=30,
            deadline=None,
            derandomize="PYTASK_HISTORIES" not in os.environ,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
