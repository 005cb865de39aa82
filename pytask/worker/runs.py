"""The runs of a worker and the slots they occupy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any

from gevent.event import Event
from gevent.lock import BoundedSemaphore
from greenlet import GreenletExit

if TYPE_CHECKING:
    from greenlet import greenlet

    from pytask.records import Claimed
    from pytask.task import TaskEnvironment
    from pytask.worker.permits import Admission

# Plain numbers: these are compared several times per task, and an IntEnum costs ten times more.

#: Phases of a run: nothing of it has been executed yet;
NEW = 0
#: it enters the context or is in ``__init__``;
STARTING = 1
#: it is in ``start``;
STARTED = 2
#: ``start`` is over, the context is being left;
ENDING = 3
#: it was stopped for a reload, and its new data are being read;
RELOADING = 4
#: its outcome is decided, and nothing its code still does counts.
DONE = 5

#: What is to become of a run; the greater one wins. Nothing: it goes on until it ends;
KEEP = 0
#: it stops and starts again with fresh data;
RELOAD = 1
#: it stops and its task goes back to the queue;
REQUEUE = 2
#: it stops and its task ends, because it has lasted too long;
TIME_OUT = 3
#: it stops, as a person asked;
STOP = 4
#: it stops and writes nothing, because it does not own its task any more.
LOST = 5


class Run:
    """One run of one task. There may be 100,000 of them, so it holds only what is needed."""

    __slots__ = (
        "attempt",
        "claimed_at",
        "data",
        "environment",
        "error",
        "greenlet",
        "instance",
        "intent",
        "is_local",
        "limited",
        "partition",
        "phase",
        "policy",
        "reload_id",
        "step",
        "stop_greenlet",
        "stopping",
        "task",
        "task_id",
        "timer",
        "token",
    )

    def __init__(
        self, claimed: Claimed, partition: int, claimed_at: float, environment: TaskEnvironment
    ) -> None:
        (
            self.task_id,
            self.token,
            self.task,
            self.data,
            self.attempt,
            self.policy,
            self.is_local,
        ) = claimed
        self.partition = partition
        #: When the claim was sent, monotonic: no later than the beginning of the lease.
        self.claimed_at = claimed_at
        self.environment = environment
        #: What carries it out at present; None while its code is under way elsewhere.
        self.greenlet: greenlet | None = None
        self.instance: Any = None
        self.stop_greenlet: Any = None
        #: Ends it when it has lasted too long.
        self.timer: Any = None
        self.phase = NEW
        #: What was raised, JSON, if it ends in a failure.
        self.error = b""
        self.intent = KEEP
        #: The stop has taken effect: whatever ``start`` does now, it was stopped.
        self.stopping = False
        #: Which deadline of its stop is the valid one, see stopper.
        self.step = 0
        #: The last reload request carried out or under way.
        self.reload_id = ""
        #: What it holds and waits for, if its task is under a limit.
        self.limited: Admission | None = None

    def enter(self) -> None:
        """Note that ``start`` comes next.

        Raises:
            GreenletExit: It was left behind while its instance was made, and must not start now.
        """
        if self.phase == DONE:
            raise GreenletExit
        self.phase = STARTED

    def leave(self) -> None:
        """Note that ``start`` is over; what was left behind stays done."""
        if self.phase != DONE:
            self.phase = ENDING

    @property
    def goes_on(self) -> bool:
        """Whether its code is under way, which it may be although the run was left behind."""
        return self.greenlet is not None or self.instance is not None

    @property
    def is_over(self) -> bool:
        return self.phase == DONE or self.intent == LOST

    @property
    def held_back(self) -> float | None:
        """Seconds its task is to wait, if a limit refused it; None if none did."""
        limited = self.limited
        return None if limited is None or limited.refused_by is None else limited.delay

    def context(self) -> Context:
        """Return a copy of the context variables as the run sees them now."""
        context = self.greenlet.gr_context if self.greenlet is not None else None
        return Context() if context is None else context.copy()

    def __repr__(self) -> str:
        return f"<Run {self.task_id} {self.task} {self.token} phase={self.phase}>"


def copied(runs: Mapping[str, Run]) -> list[Run]:
    """Return runs that another thread may enter and remove meanwhile."""
    while True:
        try:
            return list(runs.values())
        except RuntimeError:
            # A garbage collection inside list() let the other thread change them.
            continue


class Slots:
    """Counts the runs that may still be started; whoever claims reserves first."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        # Claimers queue here, so that none of them starves while slots are scarce.
        self._turn = BoundedSemaphore(1)
        self._room = Event()

    def reserve_now(self, up_to: int) -> int:
        """Take the free slots, at most ``up_to``, and return how many that were."""
        taken = min(self.free, up_to)
        self.free -= taken
        return taken

    def reserve(self, up_to: int) -> int:
        """Wait for at least one free slot, then do as :meth:`reserve_now`."""
        with self._turn:
            while self.free <= 0:
                self._room.clear()
                self._room.wait()
            return self.reserve_now(up_to)

    def release(self, count: int) -> None:
        """Give ``count`` slots back."""
        if count:
            self.free += count
            self._room.set()


class RunTable:
    """The runs this worker answers for, by task ID, until Redis has acknowledged their end.

    The heartbeat thread reads it as well, and only through :meth:`snapshot`.
    """

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self._runs: dict[str, Run] = {}
        #: Runs that occupy a slot; local tasks do not.
        self.occupied = 0
        #: Runs of tasks from queues that have to end before somebody is told.
        self._until_call = inf
        self._call: Callable[[], object] = int
        #: Told of each run under a limit that is forgotten; it must not wait.
        self.on_limited: Callable[[Run], None] | None = None

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, task_id: str) -> Run | None:
        return self._runs.get(task_id)

    def add(self, run: Run) -> Run | None:
        """Enter a run and return the one it supersedes, if this worker still has that.

        A slot has been reserved for it, unless it is local.
        """
        before = self._runs.get(run.task_id)
        self._runs[run.task_id] = run
        if not run.is_local:
            self.occupied += 1
        return before

    def remove(self, runs: Iterable[Run]) -> None:
        """Forget runs and free their slots."""
        freed = held_back = 0
        table = self._runs
        for run in runs:
            if table.get(run.task_id) is run:
                del table[run.task_id]
            if not run.is_local:
                freed += 1
            if run.limited is not None and self.on_limited is not None:
                # One that a limit held back has not begun, and so has not ended either.
                held_back += run.held_back is not None
                self.on_limited(run)
        self.occupied -= freed
        self.slots.release(freed)
        self._until_call -= freed - held_back
        if self._until_call <= 0:
            self._until_call = inf
            self._call()

    def call_after(self, runs: int, call: Callable[[], object]) -> None:
        """Have a function called once so many runs of tasks from queues have ended; 0: never."""
        self._until_call, self._call = runs or inf, call

    def snapshot(self) -> list[Run]:
        """Return the runs as they are now; safe to call from another thread."""
        return copied(self._runs)
