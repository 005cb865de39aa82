"""A drill: thousands of random calls of the store on one server, checked like a chaos run.

One process plays all workers, Cleanups, Monitors and clients, awake or long declared dead, so that
every guard of every script is leant on within seconds. Calls are repeated as if their reply had
been lost. It is what mutants of the scripts are thrown at first: ``python -m tests.chaos.drill``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from pytask.exceptions import PyTaskException, WrongKeyType
from pytask.keys import Keys
from pytask.records import Claimed, Ended, NewTask, Outcome, new_request_id
from pytask.settings import Settings
from pytask.states import State
from pytask.store import Store
from pytask.store.permits import Permit, PermitRequest, WaitingTask

from . import audit
from .checker import Evidence, Verdict, Violation, check
from .repeats import Repeating

WORKERS = ("w1", "w2", "w3")
QUEUES = ("default", "mail")
OUTCOMES = (
    (State.SUCCESS,) * 5
    + (State.ERROR, State.EXCEPTION, State.REVOKED)
    + (State.STOPPED, State.RETRY, State.RETRY)
)
#: Permits of each pool.
POOL_SIZE = 2
#: Time-outs of the reaper. Leases are made old by hand, to half or twice of these.
TASK_TIMEOUT, WORKER_TIMEOUT = 1000.0, 100.0


class Drill:
    """Random calls.

    Args:
        link: Of the server.
        seed: Decides everything.
    """

    def __init__(self, link: Any, seed: int) -> None:
        self.rng = random.Random(seed)
        self.link = Repeating(link, self.rng)
        self.settings = Settings(max_reaps=3, missing_grace=0.05, keep_failed=50.0)
        self.store = Store(self.link, Keys(), self.settings)
        self.names = self.store.keys.partitions[0]
        self.ids = [f"t{number}" for number in range(40)]
        self.runs: list[tuple[str, Claimed]] = []
        self.taken: dict[str, list[Ended]] = {worker: [] for worker in WORKERS}
        self.history: list[dict[str, Any]] = []
        self.hand: set[str] = set()
        self.count = 0
        self.keep = seed % 4 != 0
        self.two_cleanups = seed % 2 == 0
        self._actions: list[tuple[Callable[[], Any], int]] = [
            (self.enqueue, 14),
            (self.claim, 14),
            (self.finish, 14),
            (self.requeue, 4),
            (self.hasten, 2),
            (self.permits, 6),
            (self.heartbeat, 5),
            (self.age, 5),
            (self.reap, 6),
            (self.stop, 8),
            (self.restart, 6),
            (self.reload, 2),
            (self.remove, 3),
            (self.promote, 5),
            (self.pop, 4),
            (self.give_back, 2),
            (self.take_ended, 8),
            (self.acknowledge, 8),
            (self.forget_failed, 2),
            (self.start_local, 2),
            (self.pause_or_resume, 3),
            (self.flush, 1),
            (self.tend, 3),
            (self.push, 1),
            (self.spoil, 1),
        ]

    def run(self, steps: int) -> None:
        """Make so many calls."""
        actions = [action for action, _ in self._actions]
        weights = [weight for _, weight in self._actions]
        for self.count in range(steps):
            try:
                self.rng.choices(actions, weights)[0]()
            except WrongKeyType:
                continue  # a record was spoilt on purpose

    def _say(self, event: str, **details: Any) -> None:
        self.history.append({"ev": event, "wall": time.time(), **details})

    def _id(self) -> str:
        return self.rng.choice(self.ids)

    # Clients

    def enqueue(self) -> None:
        ids = [self._id() for _ in range(self.rng.choice((1, 1, 1, 3)))]
        if self.rng.random() < 0.3:
            ids[0] = f"n{self.count}"
        tasks = [
            NewTask(
                task_id,
                "drill",
                b"{}",
                self.rng.choice(QUEUES),
                self.rng.random() > 0.1,
                self.rng.choice((0.0, 0.0, 0.0, 0.001, 1000.0)),
                self.rng.choice((0.0, 0.0, 0.0, 0.0, 0.002)),
                at=self.rng.choice((0.0, 0.0, 0.0, time.time() - 1, time.time() + 1000)),
            )
            for task_id in ids
        ]
        self._say("enq.invoke", ids=ids)
        codes = self.store.enqueue(tasks)
        self._say("enq.ok", ids=[one for one, code in zip(ids, codes, strict=True) if code != -3])

    def stop(self) -> None:
        task_id = self._some()
        code = self.store.stop(task_id)
        self._say("stop.ok", id=task_id, code=int(code))

    def restart(self) -> None:
        states = self.rng.choice(((), (State.STOPPED,), (State.SUCCESS, State.ERROR)))
        self.store.restart(self._some(), states)

    def reload(self) -> None:
        self.store.reload(self._some())

    def remove(self) -> None:
        task_id = self._some()
        self._say("remove.invoke", id=task_id)
        self.store.remove(task_id, self.rng.random() < 0.3)

    def pause_or_resume(self) -> None:
        act = self.store.pause if self.rng.random() < 0.4 else self.store.resume
        act(self.rng.choice(QUEUES))

    def flush(self) -> None:
        queue = self.rng.choice(QUEUES)
        self._say("flush.invoke", queue=queue)
        self.store.flush(queue)

    def _some(self) -> str:
        if self.runs and self.rng.random() < 0.4:
            return self.rng.choice(self.runs)[1].task_id
        return self._id()

    # Workers

    def claim(self) -> None:
        worker = self.rng.choice(WORKERS)
        queues = self.rng.sample(QUEUES, self.rng.choice((1, 2)))
        reply = self.store.claim(
            0,
            worker=worker,
            queues=queues,
            limit=self.rng.choice((1, 2, 5)),
            request=new_request_id(),
        )
        # Runs that were lost or have ended stay: their owners try again and again.
        self.runs = [*self.runs, *((worker, claimed) for claimed in reply.claimed)][-60:]

    def _pick_runs(self) -> list[tuple[str, Claimed]]:
        if not self.runs:
            return []
        count = self.rng.choice((1, 1, 2, 4))
        recent = self.runs[-10:] if self.rng.random() < 0.7 else self.runs
        return [self.rng.choice(recent) for _ in range(count)]

    def finish(self) -> None:
        outcomes = [
            Outcome(
                run.task_id,
                run.token,
                OUTCOMES[crc32(run.token.encode()) % len(OUTCOMES)],
                b'{"token":"%s"}' % run.token.encode(),
                0.001,
            )
            for _, run in self._pick_runs()
        ]
        if not outcomes:
            return
        codes = self.store.finish(0, outcomes)
        for outcome, code in zip(outcomes, codes, strict=True):
            self._say(
                "finish",
                token=outcome.token,
                id=outcome.task_id,
                state=str(outcome.state),
                code=int(code),
            )

    def requeue(self) -> None:
        runs = [(run.task_id, run.token) for _, run in self._pick_runs()]
        if runs:
            waits = [self.rng.choice((None, None, 30.0)) for _ in runs]
            self.store.requeue(0, runs, waits)

    def hasten(self) -> None:
        self.store.hasten([self._some() for _ in range(3)])

    def permits(self) -> None:
        """Take, keep and give back permits of two pools; let some run out, and tasks wait."""
        pool = self.rng.choice(("limit:a", "limit:b"))
        some = [Permit(pool, f"p{self.rng.randrange(8)}", self._id()) for _ in range(3)]
        verb = self.rng.choice(("acquire", "acquire", "renew", "release", "enter", "expire"))
        called: list[str] = []
        if verb == "acquire":
            requests = [PermitRequest(one, POOL_SIZE) for one in some]
            called = self.store.acquire_permits(0, requests, 1000.0).called
        elif verb == "renew":
            self.store.renew_permits(0, some, 1000.0)
        elif verb == "release":
            called = self.store.release_permits(0, some).called
        elif verb == "enter":
            waiting = [WaitingTask(pool, self._some(), POOL_SIZE)]
            called = self.store.release_permits(0, entering=waiting).called
        else:
            for holder in self.link.execute("ZRANGE", self.names.permits(pool), 0, -1):
                if self.rng.random() < 0.3:
                    self.link.execute("ZADD", self.names.permits(pool), "XX", 1, holder)
        self.store.hasten(called)
        count = self.link.execute("ZCARD", self.names.permits(pool))
        if count > POOL_SIZE:
            self._say("mended", rule=f"{count} permits of {POOL_SIZE} after {verb}", id=pool)

    def heartbeat(self) -> None:
        runs = [(run.task_id, run.token) for _, run in self._pick_runs()]
        if runs:
            self.store.heartbeat(0, runs)

    def pop(self) -> None:
        source = self.names.new_queue(self.rng.choice(QUEUES))
        worker = self.rng.choice(WORKERS)
        queue = source.partition(":")[2] or "default"
        target = self.names.new_claim(queue, worker)
        self.link.execute("LMOVE", source, target, "RIGHT", "LEFT")

    def give_back(self) -> None:
        self.store.give_back(
            0,
            worker=self.rng.choice(WORKERS),
            queues=QUEUES,
            forget=self.rng.random() < 0.3,
            keep_ended=self.rng.random() < 0.5,
        )

    def start_local(self) -> None:
        task_id, token = f"local{self.count}", f"1-{new_request_id()}"
        worker = self.rng.choice(WORKERS)
        claimed = self.store.start_local(task_id, "drill", b"{}", worker, token)
        self.runs.append((worker, claimed))

    # Upkeep

    def age(self) -> None:
        """Make leases look old, or not quite."""
        for _, run in self._pick_runs():
            state, token = self.store.read_fields(run.task_id, ["state", "run"])
            if state != "RUNNING" or token != run.token:
                continue
            seconds = self.rng.choice((50.0, 500.0, 2000.0))
            at = f"{time.time() - seconds:.3f}"
            self.link.execute("HSET", self.names.record(run.task_id), "last_update", at)
            # The index may be older than the record, never the record than the index: a heartbeat
            # writes both. So what the index calls stale the script must not believe.
            older = f"{time.time() - self.rng.choice((seconds, 5000.0)):.3f}"
            self.link.execute("ZADD", self.names.leases, "XX", older, run.task_id)

    def reap(self) -> None:
        dead = [worker for worker in WORKERS if self.rng.random() < 0.4]
        self.store.reap(
            0, task_timeout=TASK_TIMEOUT, worker_timeout=WORKER_TIMEOUT, dead_workers=dead
        )

    def promote(self) -> None:
        for task_id in self.link.execute("ZRANGE", self.names.delayed, 0, -1):
            if self.rng.random() < 0.3:
                self.link.execute("ZADD", self.names.delayed, "XX", 1, task_id)
        self.store.promote(0, self.rng.choice((1, 500)))

    def take_ended(self) -> None:
        """Do as a Cleanup does: deal with what was taken before waiting for more.

        Unless two of them run in one worker, which happens when one was lost and started again.
        """
        worker = self.rng.choice(WORKERS)
        if (self.two_cleanups or not self.taken[worker]) and self.rng.random() < 0.4:
            target = self.names.end_claim(worker)
            self.link.execute("LMOVE", self.names.end_queue, target, "RIGHT", "LEFT")
        if self.two_cleanups or not self.taken[worker]:
            self.taken[worker] = self.store.take_ended(0, worker, self.rng.choice((1, 3, 10)))

    def acknowledge(self) -> None:
        worker = self.rng.choice(WORKERS)
        ended = self.taken[worker]
        if not self.two_cleanups or self.rng.random() < 0.7:
            self.taken[worker] = []
        failed = [item for item in ended if self.rng.random() < 0.3]
        handled = [item for item in ended if item not in failed]
        self.store.acknowledge_ended(
            0, worker, handled, keep_failed=self.keep, keep_results=self.rng.choice((0.0, 1000.0))
        )
        self.store.return_ended(0, worker, [item.task_id for item in failed])

    def forget_failed(self) -> None:
        for task_id in self.link.execute("ZRANGE", self.names.failed, 0, -1):
            if self.rng.random() < 0.2:
                at = f"{time.time() - 100:.3f}"
                self.link.execute("ZADD", self.names.failed, "XX", at, task_id)
        self.store.forget_failed(0, 50.0)

    def tend(self) -> None:
        """Sweep, and look at all records for orphans: there must be none."""
        for rule, task_id in self.store.sweep(0).mended:
            if task_id not in self.hand:
                self._say("mended", rule=rule, id=task_id)
        for task_id in set(self.store.scan_records()) - self.hand:
            try:
                if self.store.adopt(task_id, only_look=True) > 0 and not self._is_held(task_id):
                    self._say("mended", rule="orphan", id=task_id)
            except PyTaskException:
                continue

    def _is_held(self, task_id: str) -> bool:
        """Whether the ID stands in some claim list, where adopt does not look."""
        for worker in WORKERS:
            lists = [self.names.new_claim(queue, worker) for queue in QUEUES]
            for key in (*lists, self.names.end_claim(worker)):
                if self.link.execute("LPOS", key, task_id) is not None:
                    return True
        return any(
            self.link.execute("ZSCORE", self.names.missing(queue), task_id) is not None
            for queue in QUEUES
        )

    # By hand

    def push(self) -> None:
        task_id = self.rng.choice((self._id(), f"ghost{self.count}"))
        self.hand.add(task_id)
        self.link.execute("LPUSH", self.names.new_queue(self.rng.choice(QUEUES)), task_id)

    def spoil(self) -> None:
        task_id = f"spoilt{self.count}"
        self.hand.add(task_id)
        self.link.execute("SET", self.names.record(task_id), "no hash")
        self.ids.append(task_id)
        self.ids = self.ids[:40] + self.ids[40:][-2:]


def run_drill(link: Any, seed: int, steps: int, dump: Callable[[], Any]) -> Verdict:
    """Run a drill and check it; the scripts must have been audited before (``audit.install``)."""
    drill = Drill(link, seed)
    drill.run(steps)
    evidence = Evidence(
        audit=list(audit.read_stream(link.execute, "audit")),
        history=drill.history,
        dump=dump(),
        codes=audit.read_codes(link.execute, ["audit"]),
        hand=drill.hand,
        max_reaps=drill.settings.max_reaps,
    )
    verdict = check(evidence)
    verdict.violations += drill.link.violations
    verdict.violations += _mended(drill.history)
    return verdict


def _mended(history: Sequence[dict[str, Any]]) -> list[Violation]:
    return [
        Violation("I9", event["id"], f"it had to be mended: {event['rule']}")
        for event in history
        if event["ev"] == "mended"
    ]
