"""Tasks in any state, made by the verbs of a store, for tests of that store."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, ClassVar

from pytask.keys import DEFAULT_QUEUE
from pytask.records import Claimed, ClaimReply, NewTask, Outcome, new_request_id
from pytask.states import Code, State
from pytask.store import Store


class Seeds:
    """One partition of one namespace, with hands to seed it.

    Attributes:
        store: The verbs under test.
        partition: Where the tasks live: the last one.
    """

    #: Name and data of the tasks that are made.
    task: ClassVar[str] = "task"
    data: ClassVar[bytes] = b"{}"

    def __init__(self, store: Store) -> None:
        self.store = store
        self.partition = len(store.partitions) - 1
        self._numbers = count()

    def id(self, name: str = "t") -> str:
        """Return a new ID that lives in the partition."""
        while True:
            task_id = f"{name}{next(self._numbers)}"
            if self.store.partition_of(task_id) == self.partition:
                return task_id

    def ids(self, number: int) -> list[str]:
        """Return so many."""
        return [self.id() for _ in range(number)]

    def enqueue(self, *task_ids: str, data: bytes | None = None, **options: Any) -> list[Code]:
        """Start tasks; the options are fields of :class:`pytask.records.NewTask`."""
        data = self.data if data is None else data
        return self.store.enqueue([NewTask(one, self.task, data, **options) for one in task_ids])

    def waiting(self, **options: Any) -> str:
        """Return the ID of a new task that waits."""
        task_id = self.id()
        assert self.enqueue(task_id, **options) == [Code.OK]
        return task_id

    def claim(
        self,
        limit: int = 100,
        *,
        worker: str = "w",
        queues: Sequence[str] = (DEFAULT_QUEUE,),
        request: str | None = None,
        store: Store | None = None,
    ) -> ClaimReply:
        """Claim as a worker does."""
        return (store or self.store).claim(
            self.partition,
            worker=worker,
            queues=queues,
            limit=limit,
            request=request or new_request_id(),
        )

    def wait_and_claim(
        self, seconds: float, request: str, *, limit: int = 10, store: Store | None = None
    ) -> ClaimReply:
        """Wait at the default queue as worker ``w``, and claim from it at once."""
        return (store or self.store).wait_and_claim(
            self.partition,
            DEFAULT_QUEUE,
            worker="w",
            queues=[DEFAULT_QUEUE],
            limit=limit,
            request=request,
            seconds=seconds,
        )

    def repeat_claim(self, request: str, limit: int = 10) -> ClaimReply:
        """Ask what became of a :meth:`wait_and_claim`."""
        return self.store.claim(
            self.partition,
            worker="w",
            queues=[DEFAULT_QUEUE],
            limit=limit,
            request=request,
            waits_at=DEFAULT_QUEUE,
        )

    def running(self, worker: str = "w", **options: Any) -> Claimed:
        """Return the run of a new task."""
        task_id = self.waiting(**options)
        reply = self.claim(worker=worker, queues=[options.get("queue", DEFAULT_QUEUE)])
        return next(run for run in reply.claimed if run.task_id == task_id)

    def finish(
        self,
        run: Claimed,
        state: State = State.SUCCESS,
        output: bytes = b"null",
        delay: float = 0.0,
        store: Store | None = None,
    ) -> Code:
        """End a run as its owner."""
        outcome = Outcome(run.task_id, run.token, state, output, delay)
        return (store or self.store).finish(self.partition, [outcome])[0]

    def ended(self, state: State = State.SUCCESS, output: bytes = b"null", **options: Any) -> str:
        """Return the ID of a new task that has ended."""
        run = self.running(**options)
        assert self.finish(run, state, output) is Code.OK
        return run.task_id

    def record(self, task_id: str) -> dict[str, str]:
        """Return the fields of a record."""
        return self.store.read_record(task_id)

    def state(self, task_id: str) -> str | None:
        """Return the state as it is stored."""
        return self.record(task_id).get("state")
