"""What all rules share: calls with a fate, and the comparison after every step.

Two things are checked after each step. The whole key space equals the model, which the step has
changed in the same way. And the invariants hold, which know nothing of the model: they compare what
Redis holds now with what it held before the step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from pytask.exceptions import RedisUnavailable
from pytask.records import Ended
from pytask.store import Store

from . import invariants
from .faults import FATES, FINE, Fate
from .site import MAX_REAPS, Site
from .upkeep import Model
from .words import FOREIGN, Stamp

T = TypeVar("T")

#: Leases this old are stale in any case, or only if their worker is dead.
TASK_TIMEOUT, WORKER_TIMEOUT = 1000.0, 100.0
#: Rounding of stored instants, and steps of the clock by NTP.
CLOCK_SLACK = 0.05

fates = st.sampled_from(FATES)
picks = st.integers(0, 11)


class Base(RuleBasedStateMachine):
    """A history under way.

    Attributes:
        site: The real side; set by who runs the machine.
        models: What each partition should hold.
        views: What each partition held after the last step.
        verb: What the current step does, for the table of allowed transitions.
        runs: Partition, ID and token of every run there ever was.
        pending: Calls somebody gave up on, each of which may still arrive: sends it, and returns
            the reply and the expected one.
        held: What some Cleanup has taken: partition, worker, the end, and its mark in the model.
        meddled: IDs somebody laid hand on, until the final repair.
        stopped: IDs that may not start again before somebody wants them to.
        tokens: Every token there ever was, with its task.
        counts: How much of what was exercised, over all histories.
    """

    site: ClassVar[Site]
    counts: ClassVar[dict[str, int]]

    def __init__(self) -> None:
        super().__init__()
        self.site.clear()
        self.models = [Model() for _ in self.site.partitions]
        self.views = [Model() for _ in self.site.partitions]
        self.verb = ""
        self.began = time.time()
        self.runs: list[tuple[int, str, str]] = []
        self.pending: list[Callable[[], tuple[Any, Any]]] = []
        self.held: list[tuple[int, str, Ended, object]] = []
        self.meddled: set[str] = set()
        self.stopped: set[str] = set()
        self.tokens: dict[str, str] = {}

    @initialize(max_reaps=st.sampled_from((MAX_REAPS, MAX_REAPS, 1)))
    def agree(self, max_reaps: int) -> None:
        self.max_reaps = max_reaps
        self.site.allow_reaps(max_reaps)
        self.site.calm.agree_partitions()
        self.note("history")

    # Choosing

    def place(self, pick: int) -> tuple[int, str]:
        """Turn a number into an index among the partitions and an ID that lives there."""
        number = pick % len(self.site.partitions)
        ids = self.site.task_ids[number]
        return number, ids[pick // len(self.site.partitions) % len(ids)]

    def partition(self, pick: int) -> int:
        """Turn a number into an index among the partitions."""
        return pick % len(self.site.partitions)

    def partition_with(self, pick: int, has: Callable[[Model], object]) -> int:
        """Turn a number into an index among the partitions that have something, if any has."""
        fit = [at for at, model in enumerate(self.models) if has(model)]
        return fit[pick % len(fit)] if fit else self.partition(pick)

    def some_have(self, has: Callable[[Model], object]) -> bool:
        return any(has(model) for model in self.models)

    @staticmethod
    def grace_over(model: Model) -> set[tuple[str, str]]:
        """Return queue and ID of those that waited for a record for too long."""
        return {
            (queue, one)
            for queue, found in model.missing.items()
            for one, at in found.items()
            if at == 1.0
        }

    def run_of(self, pick: int) -> tuple[int, str, str]:
        """Turn a number into a run, a late one first: most are over."""
        return self.runs[-1 - pick % len(self.runs)]

    # Acting

    def tell_to_stop(self, at: int, task_id: str) -> None:
        """Ask for a stop as a step of its own, before the run does something else."""
        self.begin("stop")
        _, code = self.act(FINE, lambda store: store.stop(task_id))
        assert code == self.models[at].stop(task_id)
        self.redis_holds_what_the_model_says()

    def begin(self, verb: str) -> None:
        self.verb = verb
        self.began = time.time()
        self.note(verb)

    def note(self, what: str, times: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + times

    def act(self, fate: Fate, call: Callable[[Store], T]) -> tuple[int, T | None]:
        """Make one call of a verb that meets its fate.

        Returns:
            How often Redis carried it out, and the reply; None if the caller never got one.
        """
        link = self.site.link
        link.expect(fate)
        store = self.site.hasty if fate.gives_up else self.site.store
        try:
            reply = call(store)
        except RedisUnavailable:
            assert fate.gives_up, "a call that is repeated gets through"
            self.note("given up")
            return link.executed, None
        self.note("lost request or reply", len(fate.faults))
        return link.executed, reply

    def once(self, fate: Fate, call: Callable[[Store], T], model: Callable[[], T],
             again: Callable[[T], T] = lambda reply: reply) -> T | None:  # fmt: skip
        """Make a call that takes effect once, however often it is carried out.

        Args:
            fate: What happens to it.
            call: The verb.
            model: The same verb of the model, called once if Redis carried the call out at all.
            again: From the reply to what a repeat of the same request must answer.

        Returns:
            What the caller was told; None if nothing.
        """
        times, reply = self.act(fate, call)
        expected = model() if times else None
        if times > 1 and expected is not None:
            expected = again(expected)
        if reply is not None:
            assert reply == expected, f"{self.verb} answered {reply}, expected {expected}"
        return reply

    def repeatedly(
        self, fate: Fate, call: Callable[[Store], T], model: Callable[[], T]
    ) -> T | None:
        """Make a call whose repeat may do more of the same, such as taking what has come since."""
        times, reply = self.act(fate, call)
        expected = None
        for _ in range(times):
            expected = model()
        if reply is not None:
            assert reply == expected, f"{self.verb} answered {reply}, expected {expected}"
        return reply

    def take(self, at: int, worker: str, limit: int, fate: Fate) -> None:
        """Let a Cleanup take ended tasks, which it may acknowledge in a later step."""
        self.begin("take_ended")
        partition, model = self.site.partitions[at], self.models[at]
        taken: list[Ended] = []

        def in_redis(store: Store) -> list[str]:
            taken[:] = store.take_ended(partition, worker, limit)
            for one in taken:
                assert one.record["state"], "the handler of Cleanup needs the record (I14)"
            return [one.task_id for one in taken]

        self.repeatedly(fate, in_redis, lambda: model.take_ended(worker, limit))
        for one in taken:
            self.held.append((at, worker, one, model.records[one.task_id].get("done")))

    def acknowledge_last(self, fate: Fate, keep: bool, ago: int = 0, results: bool = False) -> None:
        """Let a Cleanup acknowledge what was taken last, or so many ends ago."""
        if not self.held:
            return
        self.begin("acknowledge")
        at, worker, ended, done = self.held[-1 - ago]
        partition, model = self.site.partitions[at], self.models[at]
        self.repeatedly(
            fate,
            lambda store: store.acknowledge_ended(
                partition,
                worker,
                [ended],
                keep_failed=keep,
                keep_results=3600.0 if results else 0.0,
            ),
            lambda: model.acknowledge(worker, [(ended.task_id, done)], keep, results),
        )

    def may_arrive_later(self, model: Callable[[], Any]) -> None:
        """Remember the call just given up: its request may be on its way still.

        Args:
            model: What the reply will be, from the model of that time.
        """
        call = self.site.link.last_call
        assert call is not None
        self.pending.append(lambda: (self.site.link.replay(call), model()))

    def released(self, task_id: str) -> None:
        """Note that a stopped task may start again, because somebody wants it to."""
        self.stopped.discard(task_id)

    # Comparing

    @invariant()
    def redis_holds_what_the_model_says(self) -> None:
        ended = time.time()
        for at, partition in enumerate(self.site.partitions):
            view = self.site.look(partition)
            absorb(self.models[at], view, self.began - CLOCK_SLACK, ended + CLOCK_SLACK)
            difference = differences(self.models[at], view)
            assert not difference, f"after {self.verb}:\n" + "\n".join(difference)
            self._check_history(self.views[at], view)
            self.views[at] = view
        self.verb = ""
        self.began = ended

    def _check_history(self, before: Model, after: Model) -> None:
        for task_id in before.records.keys() | after.records.keys():
            old, new = before.records.get(task_id), after.records.get(task_id)
            if old is FOREIGN or new is FOREIGN:
                continue
            invariants.check_edge(self.verb, task_id, old, new)
            invariants.check_run(self.verb, task_id, old, new, self.tokens)
            if new and new.get("state") == "RUNNING":
                assert task_id not in self.stopped, f"{task_id} was stopped before it started (I12)"
        invariants.check_conservation(after, self.meddled)


def absorb(model: Model, view: Model, earliest: float, latest: float) -> None:
    """Replace the stamps in the model by the instants found, as far as they are in range."""
    holders: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (model.delayed, view.delayed),
        (model.leases, view.leases),
        (model.failed, view.failed),
    ]
    holders += [(found, view.missing.get(name, {})) for name, found in model.missing.items()]
    holders += [(found, view.records.get(name, {})) for name, found in model.records.items()]
    for ours, theirs in holders:
        for name, value in ours.items():
            if not isinstance(value, Stamp) or name not in theirs:
                continue
            found = theirs[name]
            assert earliest <= found - value.later <= latest + value.grid, (
                f"{name} is {found}, expected {value.later} s after an instant between "
                f"{earliest} and {latest} (I11)"
            )
            ours[name] = found
    for name, found in model.missing.items():
        # Those of one instant are in the order of their names.
        order = list(view.missing.get(name, {}))
        model.missing[name] = {one: found[one] for one in sorted(found, key=_rank(order))}
    order = list(view.leases)
    model.leases = {one: model.leases[one] for one in sorted(model.leases, key=_rank(order))}


def _rank(order: Sequence[str]) -> Callable[[str], int]:
    return lambda one: order.index(one) if one in order else -1


def differences(model: Model, view: Model) -> list[str]:
    """Describe where Redis and the model disagree, a line each."""
    found = []
    for name in Model.__dataclass_fields__:
        ours, theirs = getattr(model, name), getattr(view, name)
        if isinstance(ours, dict):
            ours = {key: value for key, value in ours.items() if value or value == 0}
            for key in sorted(ours.keys() | theirs.keys(), key=str):
                if ours.get(key) != theirs.get(key):
                    found.append(f"  {name}[{key!r}]: expected {ours.get(key)}, "
                                 f"Redis has {theirs.get(key)}")  # fmt: skip
        elif ours != theirs:
            found.append(f"  {name}: expected {ours}, Redis has {theirs}")
    return found
