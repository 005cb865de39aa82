"""Dead letters: tasks that failed for good and are kept for a person to look at."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pytask.exceptions import InvalidTask, task_failed
from pytask.messages import read_value
from pytask.states import FAILED

if TYPE_CHECKING:
    from pytask.store import Store

#: Told how many of how many have been dealt with.
Progress = Callable[[int, int], object]
#: Dead letters between two calls of a progress function.
STEP = 100


class FailedTask(NamedTuple):
    """A task that failed for good."""

    task_id: str
    #: Its ``NAME``.
    task: str
    #: ERROR, EXCEPTION or REVOKED.
    state: str
    #: When Cleanup put it aside.
    kept_at: datetime
    output: Any
    record: dict[str, str]

    @property
    def reason(self) -> str:
        """What the task raised, or why it was given up, in one line."""
        about = read_value(self.record.get("error"))
        failure = task_failed(
            self.task_id, self.state, self.output, about if isinstance(about, dict) else None
        )
        lines = failure.message.strip().splitlines()
        name = failure.type.rpartition(".")[2] if failure.type else ""
        return ": ".join(filter(None, (name, lines[0] if lines else "")))


class DeadLetters:
    """The part of the helpers that is about them."""

    @property
    def store(self) -> Store:
        """The store behind these helpers."""
        raise NotImplementedError

    def list_failed(self, number: int = 100, after: int = 0) -> list[FailedTask]:
        """Return tasks that failed for good, the latest first.

        Args:
            number: Most of them.
            after: How many to leave out before.

        Raises:
            InvalidTask: A number is negative.
        """
        if number < 0 or after < 0:
            raise InvalidTask(f"number={number}, after={after}: numbers from 0")
        page = self.store.list_failed(number, after) if number else []
        records = self.store.read_records([task_id for task_id, _ in page])
        return [
            _failed(task_id, kept_at, records[task_id])
            for task_id, kept_at in page
            if task_id in records
        ]

    def retry_failed(self, task_id: str) -> bool:
        """Put one that failed back on its queue; return whether it was one."""
        return self.store.restart(task_id, FAILED) > 0

    def drop_failed(self, task_id: str) -> bool:
        """Forget one that failed and is kept; return whether it was one.

        One that was retried meanwhile, or never failed, is left alone.
        """
        return self.store.remove(task_id, only_failed=True) > 0

    def retry_all_failed(self, progress: Progress | None = None) -> int:
        """Put all that have failed by now back on their queues, the earliest first.

        One that fails again meanwhile is not tried twice.

        Args:
            progress: Called with how many have been dealt with, and how many there are.

        Returns:
            How many wait again.
        """
        return self._each(self.retry_failed, progress)

    def drop_all_failed(self, progress: Progress | None = None) -> int:
        """Forget all that have failed by now; see :meth:`retry_all_failed`.

        Args:
            progress: Called with how many have been dealt with, and how many there are.

        Returns:
            How many were forgotten.
        """
        return self._each(self.drop_failed, progress)

    def _each(self, act: Callable[[str], bool], progress: Progress | None) -> int:
        # All that were there at the beginning: who acts on what he lists would never end.
        listed = [task_id for task_id, _ in self.store.iterate_failed()]
        done = 0
        for number, task_id in enumerate(listed, 1):
            done += act(task_id)
            if progress is not None and (number % STEP == 0 or number == len(listed)):
                progress(number, len(listed))
        return done


def _failed(task_id: str, kept_at: float, record: dict[str, str]) -> FailedTask:
    output = record.get("output")
    return FailedTask(
        task_id,
        record.get("task", ""),
        record.get("state", ""),
        datetime.fromtimestamp(kept_at, UTC),
        read_value(output),
        record,
    )
