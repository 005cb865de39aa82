"""Rules: Monitor, Cleanup and the small services, and the time that passes for them."""

from __future__ import annotations

import time

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from pytask.exceptions import RedisUnavailable
from pytask.states import Code
from pytask.store import Store

from .base import TASK_TIMEOUT, WORKER_TIMEOUT, Base, fates, picks
from .faults import FINE, Fate
from .invariants import BY_HAND, entries_of
from .owners import workers
from .site import WORKERS


class Keepers(Base):
    def _let_time_pass(self, at: int, task_id: str, age: float, only_index: bool) -> None:
        """Make the last heartbeat of a run an old one, or one of the future: a clock went back."""
        model = self.models[at]
        record = model.records.get(task_id, {})
        if record.get("state") != "RUNNING":
            return
        self.begin(BY_HAND)
        names = self.site.names(self.site.partitions[at])
        instant = round(time.time() - age, 3)
        self.site.call("ZADD", names.leases, instant, task_id)
        model.leases[task_id] = instant
        if not only_index:
            self.site.call("HSET", names.record(task_id), "last_update", f"{instant:.3f}")
            record["last_update"] = instant
        self.redis_holds_what_the_model_says()

    @precondition(lambda self: self.some_have(lambda m: m.leases))
    @rule(
        pick=picks,
        dead=st.sampled_from(((), ("w1",), WORKERS)),
        limit=st.sampled_from((1, 200)),
        age=st.sampled_from((0.0, 300.0, 3000.0, 3000.0, -3600.0)),
        only_index=st.booleans(),
        all_runs=st.booleans(),
        on_probation=st.booleans(),
        fate=fates,
    )
    def reap(
        self,
        pick: int,
        dead: tuple[str, ...],
        limit: int,
        age: float,
        only_index: bool,
        all_runs: bool,
        on_probation: bool,
        fate: Fate,
    ) -> None:
        """Let time pass for runs, as far as their record or only their index tells, and reap.

        On probation: each of them has lost all workers but one that it may lose.
        """
        at = self.partition_with(pick, lambda m: m.leases)
        leases = sorted(self.models[at].leases)
        for task_id in leases if all_runs else [leases[pick % len(leases)]]:
            if age:
                self._let_time_pass(at, task_id, age, only_index and age > 0)
            if on_probation:
                self._put_on_probation(at, task_id)
        self.begin("reap")
        partition, model = self.site.partitions[at], self.models[at]
        timeouts = (TASK_TIMEOUT, WORKER_TIMEOUT)
        started = {one: self._started(partition, one) for one in model.leases}

        def in_model() -> tuple[int, list[tuple[str, Code]]]:
            now = time.time()
            bound = now - (WORKER_TIMEOUT if dead else TASK_TIMEOUT)
            # Those a heartbeat of this very step has touched are fresh.
            old = {one: at for one, at in model.leases.items() if isinstance(at, float)}
            oldest = sorted(old, key=lambda one: (old[one], one))
            stale = [one for one in oldest if old[one] < bound][:limit]
            reaped = model.reap(stale, now, timeouts, set(dead), self.max_reaps, started)
            return len(stale), reaped

        self.repeatedly(
            fate,
            lambda store: _plain(
                store.reap(
                    partition,
                    task_timeout=TASK_TIMEOUT,
                    worker_timeout=WORKER_TIMEOUT,
                    dead_workers=dead,
                    limit=limit,
                )
            ),
            in_model,
        )

    def _put_on_probation(self, at: int, task_id: str) -> None:
        record = self.models[at].records.get(task_id, {})
        if record.get("state") != "RUNNING":
            return
        self.begin(BY_HAND)
        key = self.site.names(self.site.partitions[at]).record(task_id)
        lost = "\n".join(["by hand"] * (self.max_reaps - 1))
        self.site.call("HSET", key, "reaps", self.max_reaps - 1, "history", lost)
        record["reaps"] = self.max_reaps - 1
        self.redis_holds_what_the_model_says()

    def _started(self, partition: int, task_id: str) -> float:
        key = self.site.names(partition).record(task_id)
        found = self.site.call("TYPE", key) == b"hash" and self.site.call("HGET", key, "started")
        return float(found or 0)

    @precondition(lambda self: any(model.delayed for model in self.models))
    @rule(pick=picks)
    def a_delay_is_over(self, pick: int) -> None:
        at = next(n for n, model in enumerate(self.models) if model.delayed)
        model = self.models[at]
        task_id = sorted(model.delayed)[pick % len(model.delayed)]
        self.begin(BY_HAND)
        self.site.call("ZADD", self.site.names(self.site.partitions[at]).delayed, 1, task_id)
        model.delayed[task_id] = 1.0

    @precondition(lambda self: self.some_have(lambda m: m.delayed))
    @rule(pick=picks, limit=st.sampled_from((1, 500)), fate=fates)
    def promote(self, pick: int, limit: int, fate: Fate) -> None:
        self.begin("promote")
        at = self.partition_with(pick, lambda m: m.delayed)
        partition, model = self.site.partitions[at], self.models[at]

        def in_model() -> int:
            due = sorted(one for one, when in model.delayed.items() if when == 1.0)
            return model.promote(due[:limit])

        self.repeatedly(fate, lambda store: store.promote(partition, limit).moved, in_model)

    @precondition(lambda self: self.some_have(lambda m: m.delayed))
    @rule(pick=picks, wanted=st.lists(picks, min_size=1, max_size=3, unique=True), fate=fates)
    def call_what_waits_for_a_limit(self, pick: int, wanted: list[int], fate: Fate) -> None:
        self.begin("promote")
        at = self.partition_with(pick, lambda m: m.delayed)
        model, ids = self.models[at], self.site.task_ids[at]
        called = list(dict.fromkeys(ids[number % len(ids)] for number in wanted))
        self.repeatedly(fate, lambda store: store.hasten(called), lambda: model.hasten(called))

    @precondition(lambda self: self.some_have(lambda m: m.end or any(m.end_claims.values())))
    @rule(pick=picks, worker=workers, limit=st.integers(1, 4), fate=fates)
    def take_ended(self, pick: int, worker: str, limit: int, fate: Fate) -> None:
        at = self.partition_with(pick, lambda m: m.end or any(m.end_claims.values()))
        self.take(at, worker, limit, fate)

    @precondition(lambda self: self.some_have(lambda m: m.end))
    @rule(pick=picks, worker=workers, fate=fates)
    def pop_ended(self, pick: int, worker: str, fate: Fate) -> None:
        """Let the blocking pop of a Cleanup move an ID, and perhaps never say so."""
        at = self.partition_with(pick, lambda m: m.end)
        self.begin("pop_ended")
        partition, model, link = self.site.partitions[at], self.models[at], self.site.link
        link.expect(fate)
        try:
            assert self.site.store.wait_for_ended(partition, worker, 1.0)
        except RedisUnavailable:
            assert fate.faults
        if link.executed:
            model.end_claim(worker).insert(0, model.end.pop())

    @precondition(lambda self: self.held)
    @rule(pick=picks, keep=st.booleans(), results=st.booleans(), fate=fates)
    def acknowledge(self, pick: int, keep: bool, results: bool, fate: Fate) -> None:
        """Confirm an end that was taken, perhaps long ago and confirmed by somebody else."""
        self.acknowledge_last(fate, keep, pick % len(self.held), results)

    @precondition(lambda self: self.held)
    @rule(pick=picks, fate=fates)
    def return_ended(self, pick: int, fate: Fate) -> None:
        self.begin("return_ended")
        at, worker, ended, _ = self.held[-1 - pick % len(self.held)]
        partition, model = self.site.partitions[at], self.models[at]
        self.repeatedly(
            fate,
            lambda store: store.return_ended(partition, worker, [ended.task_id]),
            lambda: model.return_ended(worker, [ended.task_id]),
        )

    @precondition(lambda self: self.some_have(lambda m: m.failed))
    @rule(pick=picks, age=st.booleans(), fate=fates)
    def forget_failed(self, pick: int, age: bool, fate: Fate) -> None:
        """Let Cleanup forget what was kept for long; of what is kept let one grow old before."""
        at = self.partition_with(pick, lambda m: m.failed)
        partition, model = self.site.partitions[at], self.models[at]
        if age and model.failed:
            self.begin(BY_HAND)
            task_id = sorted(model.failed)[pick % len(model.failed)]
            self.site.call("ZADD", self.site.names(partition).failed, 1, task_id)
            model.failed[task_id] = 1.0
            self.redis_holds_what_the_model_says()
        self.begin("forget_failed")
        self.repeatedly(
            fate,
            lambda store: store.forget_failed(partition, 1000.0),
            lambda: model.forget_failed(sorted(n for n, at in model.failed.items() if at == 1.0)),
        )

    @precondition(lambda self: self.some_have(lambda m: m.tasks))
    @rule(pick=picks, fate=fates)
    def sweep(self, pick: int, fate: Fate) -> None:
        self.begin("sweep")
        at = self.partition_with(pick, lambda m: m.tasks)
        partition, model = self.site.partitions[at], self.models[at]
        self.repeatedly(fate, lambda store: set(store.sweep(partition).mended), model.sweep)

    @rule(pick=picks, only_look=st.booleans(), fate=fates)
    def adopt(self, pick: int, only_look: bool, fate: Fate) -> None:
        """Suspect a task of being lost; wrongly, while a worker's claim list holds it."""
        self.begin("adopt")
        at, task_id = self.place(pick)
        model = self.models[at]
        self.repeatedly(
            fate,
            lambda store: store.adopt(task_id, only_look),
            lambda: model.adopt(task_id, only_look),
        )
        if not only_look and entries_of(model, task_id) > 1:
            # The price of a wrong suspicion: an entry too many, which the claim drops.
            self.meddled.add(task_id)
            self.released(task_id)

    @rule(
        pick=picks,
        expects=st.sampled_from(("", "the due time", "the due time", "another")),
        following=st.sampled_from((1.5, 2.5, 3.5, 4e9)),
        starts=st.booleans(),
        fate=fates,
    )
    def schedule_tick(
        self, pick: int, expects: str, following: float, starts: bool, fate: Fate
    ) -> None:
        """A schedule becomes known, or one of its due times is dealt with."""
        self.begin("schedule_tick")
        at, name = self.place(pick)
        model = self.models[at]
        due = {"": None, "another": 5.0}.get(expects, model.schedules.get(name, 6.0))
        task_id = name if starts else ""

        def in_redis(store: Store) -> tuple[bool, float | None]:
            expected = "" if due is None else f"{due:.3f}"
            tick = store._tick(name, expected, following, task_id, "t", b"{}", "default", 0.0)
            return tick.moved, tick.due

        self.repeatedly(
            fate, in_redis, lambda: model.tick(name, due, following, task_id, time.time())
        )

    @rule(worker=workers, deed=st.sampled_from(("beat", "leave", "forget", "fall silent")))
    def registry(self, worker: str, deed: str) -> None:
        """Workers come and go; nothing about tasks follows from it by itself."""
        self.begin("registry")
        store, keys = self.site.store, self.site.keys
        self.site.link.expect(FINE)
        if deed == "beat":
            store.beat_worker(worker, {"pid": "1"})
        elif deed == "leave":
            store.leave_fleet(worker)
        elif deed == "forget":
            known = {one.worker: one.alive for one in store.list_workers()}
            code = store.forget_worker(worker)
            expected = {True: Code.FRESH, False: Code.OK, None: Code.MISSING}
            assert code is expected[known.get(worker)]
        else:
            self.site.call("ZADD", keys.workers, "XX", 1, worker)
        alive = {one.worker: one.alive for one in store.list_workers()}
        if deed != "beat":
            assert not alive.get(worker) or deed == "forget"
        else:
            assert alive[worker]


def _plain(round_: object) -> tuple[int, list[tuple[str, Code]]]:
    examined, reaped = round_  # type: ignore[misc]
    return examined, [(one.task_id, one.code) for one in reaped]
