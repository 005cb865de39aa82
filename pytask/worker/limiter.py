"""Between claim and start: gets the permits a run needs, or gives its task back.

Only runs whose task is under a limit come here. They own their task and occupy a slot, and their
leases are kept; not a line of their code has run. All that wait here are asked for in one call for
each partition of pools. Who is refused leaves at once: the task goes to the delayed set, from which
it is called when its turn comes, or it ends as REVOKED. Tasks are never kept here in numbers, so
those behind a full pool do not take the slots of others.

A local task cannot be given back, so it waits here: of those that all workers start, one runs.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence

from greenlet import GreenletExit

from pytask.exceptions import RedisError, RedisUnavailable, UnknownTask
from pytask.limits import Limit, limits_of, may_be_limited
from pytask.policy import REVOKE
from pytask.records import to_json
from pytask.settings import Settings
from pytask.states import State
from pytask.store import Store
from pytask.store.permits import Permit, PermitRequest
from pytask.worker.outcomes import decode_data, judge
from pytask.worker.permits import Admission, HeldPermits
from pytask.worker.registry import TaskRegistry
from pytask.worker.releaser import Releaser
from pytask.worker.retrying import policy_of
from pytask.worker.runs import KEEP, NEW, Run
from pytask.worker.service import Service

logger = logging.getLogger(__name__)

#: Most runs that are asked for at a time.
BATCH = 500
#: Seconds until a local task that was refused asks again.
LOCAL_PAUSE = 1.0
#: Seconds a task is held back if nobody calls it: this much at least,
SHORTEST_WAIT = 10.0
#: and so much more for each full round of the pool that is ahead of it, up to
WAIT_PER_ROUND = 1.0
#: this much.
LONGEST_WAIT = 300.0


class Limiter(Service):
    """Lets runs start as their limits allow.

    Args:
        store: Where the pools are.
        registry: Knows the policies.
        settings: Time-outs.
        held: Keeps what was granted.
        releaser: Gives back what turned out to be of no use, and calls who is next.
        start: Starts the code of a run; or concludes it, if it was told to stop meanwhile.
        conclude: Told how a run ended without its code.
        hold_back: Gives the task of a run back, to wait.
    """

    name = "limiter"

    def __init__(
        self,
        store: Store,
        registry: TaskRegistry,
        settings: Settings,
        held: HeldPermits,
        releaser: Releaser,
        start: Callable[[Run], None],
        conclude: Callable[[Run, State, bytes], None],
        hold_back: Callable[[Run], None],
    ) -> None:
        super().__init__()
        self._store = store.patient(0)
        self._registry = registry
        self._settings = settings
        self._held = held
        self._releaser = releaser
        self._start_run = start
        self._conclude = conclude
        self._hold_back = hold_back
        self._queue: deque[Run] = deque()
        self._local: list[Run] = []
        self._ask_local_at = 0.0

    def admit(self, run: Run) -> bool:
        """Tell whether a run may start at once; if not, it is dealt with here. Does not wait."""
        if run.limited is not None and run.limited.held:
            return True  # it was reloaded, and keeps what it has
        run.limited = None
        try:
            policy = self._registry.get(run.task).policy
        except UnknownTask:
            return True  # it ends with an error
        if b"max_concurrency" in run.policy:
            policy = policy_of(run, policy)
        if not may_be_limited(policy):
            return True
        self._queue.append(run)
        self.wake()
        return False

    def run_once(self) -> None:
        """Ask for what the next runs need, or wait for some."""
        self._signal.clear()
        runs = self._take()
        if not runs:
            self.pause(0.2 if self._local else None)
            return
        asking = [run for run in runs if self._is_to_be_asked(run)]
        unanswered, trouble = list(asking), None
        try:
            unanswered, trouble = self._ask(asking)
        finally:
            # Who was granted something is granted it once more.
            self._queue.extend(unanswered)
        left = set(map(id, unanswered))
        for run in asking:
            if id(run) not in left:
                self._decide(run)
        if trouble is not None:
            raise trouble

    def _take(self) -> list[Run]:
        now = time.monotonic()
        if self._local and (now >= self._ask_local_at or any(run.intent for run in self._local)):
            self._queue.extend(self._local)
            self._local.clear()
        return [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]

    def _is_to_be_asked(self, run: Run) -> bool:
        """Prepare a run; return False if it needs no permits or shall not have any."""
        if run.phase != NEW:
            return False
        if run.intent == KEEP and run.limited is None:
            run.limited = self._admission_of(run)
            if run.limited is None:
                return False
        if run.intent != KEEP or run.limited is None or not run.limited.limits:
            self._start_run(run)
            return False
        run.limited.refused_by = None
        return True

    def _admission_of(self, run: Run) -> Admission | None:
        kind = self._registry.get(run.task)
        policy = policy_of(run, kind.policy)
        try:
            data = decode_data(run.task, run.data)
            limits = limits_of(run.task, policy, data)
        except BaseException as error:
            # Whatever a function of the application does, it ends no more than its task.
            if self._stopping and isinstance(error, GreenletExit):
                raise
            logger.warning("limits of task %s (%s) not known: %r", run.task_id, run.task, error)
            self._conclude(run, *judge(error, kind.task_class, self._settings))
            return None
        return Admission(limits, policy.on_limit == REVOKE)

    def _ask(self, runs: list[Run]) -> tuple[list[Run], RedisError | None]:
        """Ask for one limit after the other, so that nobody keeps a permit and waits for another.

        Returns:
            The runs whose pools could not be asked, and why; the others have their answer.
        """
        unanswered: list[Run] = []
        trouble: RedisError | None = None
        stage = 0
        while runs:
            by_partition: dict[int, list[Run]] = {}
            for run in runs:
                partition = self._store.partition_of(_limits(run)[stage].pool)
                by_partition.setdefault(partition, []).append(run)
            asked: list[Run] = []
            for partition, those in by_partition.items():
                try:
                    self._ask_partition(partition, those, stage)
                    asked += those
                except RedisError as error:
                    # What lives on other nodes must not wait for this one.
                    unanswered += those
                    trouble = error
            stage += 1
            runs = [run for run in asked if not _is_refused(run) and len(_limits(run)) > stage]
        return unanswered, trouble

    def _ask_partition(self, partition: int, runs: list[Run], stage: int) -> None:
        requests = []
        for run in runs:
            limit = _limits(run)[stage]
            requests.append(PermitRequest(Permit(limit.pool, run.token, run.task_id), limit.most))
        sent_at = time.monotonic()
        grants = self._store.acquire_permits(partition, requests, self._settings.worker_timeout)
        self._releaser.call(grants.called)
        if time.monotonic() - sent_at > self._settings.redis_grace:
            # They may have run out by now.
            raise RedisUnavailable("permits were granted too late; they are asked for again")
        for run, request, answer in zip(runs, requests, grants.answers, strict=True):
            admission = run.limited
            assert admission is not None
            if answer > 0:
                entry = (partition, request.permit)
                if entry not in admission.held:
                    admission.held.append(entry)
                admission.sent_at = min(admission.sent_at or sent_at, sent_at)
                self._held.add(run)
            else:
                limit = admission.refused_by = _limits(run)[stage]
                admission.delay = _wait_for(-answer, limit)
                self._releaser.watch(partition, limit.pool)

    def _decide(self, run: Run) -> None:
        admission = run.limited
        assert admission is not None
        limit = admission.refused_by
        if run.phase != NEW:
            self._let_go(run, admission)  # the worker ends, and has given it up meanwhile
            return
        if limit is None:
            self._start_run(run)
            return
        self._let_go(run, admission)
        if admission.revokes:
            self._conclude(run, State.REVOKED, to_json(f"refused by a limit: {limit.text}"))
        elif run.is_local:
            self._local.append(run)
            self._ask_local_at = time.monotonic() + random.uniform(0.7, 1.0) * LOCAL_PAUSE
        else:
            self._hold_back(run)

    def _let_go(self, run: Run, admission: Admission) -> None:
        """Give back what a run was granted, or handed when it was called, before it was refused."""
        self._held.remove(run)
        returned, admission.held, admission.sent_at = admission.held, [], 0.0
        if len(admission.limits) > 1:
            returned = returned + [
                (self._store.partition_of(limit.pool), Permit(limit.pool, "", run.task_id))
                for limit in admission.limits
            ]
        self._releaser.give_back(returned)


def _limits(run: Run) -> Sequence[Limit]:
    assert run.limited is not None
    return run.limited.limits


def _is_refused(run: Run) -> bool:
    return run.limited is not None and run.limited.refused_by is not None


def _wait_for(ahead: int, limit: Limit) -> float:
    """Return the seconds a task is held back at most: the further behind, the longer.

    Being called is the rule, and this the exception: it is for a call that was lost. So tens of
    thousands of waiting tasks need not come and ask every few seconds.
    """
    rounds = ahead / max(1, limit.most)
    longest = min(LONGEST_WAIT, SHORTEST_WAIT + WAIT_PER_ROUND * rounds)
    return random.uniform(0.5, 1.0) * longest
