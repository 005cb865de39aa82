"""The methods clients can call, over the helpers of an app."""

from __future__ import annotations

import functools
import logging
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pytask.exceptions import InvalidTask, TaskFailed, TaskNotFound, UnknownTask, WaitTimeout
from pytask.helpers import PyTaskHelpers
from pytask.records import check_task_id
from pytask.rpc import describe
from pytask.rpc.describe import RESERVED
from pytask.rpc.errors import ErrorCode, RpcError
from pytask.rpc.protocol import RpcRequest, convert
from pytask.serializers import readable
from pytask.states import READY, State

if TYPE_CHECKING:
    from pytask.pytask import PyTask

logger = logging.getLogger(__name__)

#: Most tasks one page of ``get_tasks`` has, and most records looked at for it.
MAX_PAGE = 1_000
#: How often a wait looks whether the server shuts down, in seconds.
_ROUND = 1.0

#: The options of ``submit`` that a client may use: those that say something about the task. Written
#: down, so that one added there is not reached from outside before somebody has thought of it.
_OPTIONS = (
    *("task_id", "cleanup", "queue", "delay", "at", "expires"),
    *("max_retries", "retry_delay", "timeout", "max_concurrency", "on_limit"),
)

Filter = str | list[str] | None


class TaskMethods:
    """What clients may do; override :meth:`task_request_parameters` to say more about each task.

    Args:
        app: Whose tasks.
        task_request_parameters: Takes the place of the method of that name.
    """

    def __init__(
        self,
        app: PyTask,
        task_request_parameters: Callable[[RpcRequest], Mapping[str, Any]] | None = None,
    ) -> None:
        self.app = app
        #: Set when the server shuts down; waits end then.
        self.closing = False
        self._parameters_of = task_request_parameters or self.task_request_parameters
        hints = typing.get_type_hints(PyTaskHelpers.submit)
        self._options = {name: hints[name] for name in _OPTIONS if name in hints}

    def task_request_parameters(self, request: RpcRequest) -> Mapping[str, Any]:
        """Return what the server adds to a task that a client starts; nothing by default.

        Args:
            request: Whose call it is.

        Returns:
            Options of :meth:`pytask.PyTaskHelpers.submit`, and under ``data`` a mapping that is
            added to the data of the task. What is said here wins over what the client says.
        """
        return {}

    def bound_to(self, request: RpcRequest) -> dict[str, Callable[..., Any]]:
        """Return the methods by name, for one request."""
        return {
            "job_list": self.job_list,
            "queue_task": functools.partial(self.queue_task, request),
            "get_task": self.get_task,
            "get_tasks": self.get_tasks,
            "wait_for_task": functools.partial(self.wait_for_task, request),
            "num_tasks": self.num_tasks,
            "next_scheduled_tasks": self.next_scheduled_tasks,
            "stop_task": self.stop_task,
            "reload_task": self.reload_task,
            "restart_task": self.restart_task,
        }

    @property
    def names(self) -> list[str]:
        """The names of the tasks clients may start."""
        return [name for name in self.app.task_names if not name.startswith(RESERVED)]

    def job_list(self, names: Filter = None) -> list[dict[str, Any]]:
        """Return what tasks there are.

        Args:
            names: Only those; None: all.
        """
        wanted = _as_set(names)
        chosen = [name for name in self.names if wanted is None or name in wanted]
        return [describe.task_type(self.app.registry, name) for name in chosen]

    def queue_task(
        self,
        request: RpcRequest,
        /,
        name: str,
        data: dict[str, Any] | None = None,
        **options: Any,
    ) -> str:
        """Start a task.

        Args:
            request: Whose call it is.
            name: Its name, one that ``job_list`` has.
            data: Its arguments, by name.
            **options: Those of :meth:`pytask.PyTaskHelpers.submit`.

        Returns:
            The task ID.

        Raises:
            UnknownTask: The app has no such task.
            InvalidTask: Name, data or an option cannot be used.
        """
        if name not in self.names:
            raise UnknownTask(f"there is no task {name!r}; job_list tells which there are")
        unknown = set(options) - set(self._options)
        if unknown:
            raise InvalidTask(
                f"unknown option {', '.join(sorted(unknown))}; the options are "
                f"{', '.join(self._options)}"
            )
        given = {one: convert(one, value, self._options[one]) for one, value in options.items()}
        extra = self._extra(request)
        data = {**(data or {}), **extra.pop("data", {})}
        self._check_arguments(name, data)
        return self.app.helpers.submit(name, data, **{**given, **extra}).id

    def _extra(self, request: RpcRequest) -> dict[str, Any]:
        extra = dict(self._parameters_of(request))
        wrong = set(extra) - {*self._options, "data"}
        if wrong or not isinstance(extra.get("data", {}), Mapping):
            # Not the client's mistake: it ends as an internal error, and in the log.
            raise RuntimeError(
                f"task_request_parameters() returned {', '.join(sorted(wrong)) or 'data'}, which "
                f"is no option of a task; allowed are data (a mapping), {', '.join(self._options)}"
            )
        return extra

    def _check_arguments(self, name: str, data: dict[str, Any]) -> None:
        function = getattr(self.app.registry.get(name).task_class, "FUNCTION", None)
        if function is not None:
            function.call_with(data)

    def get_task(self, id: str) -> dict[str, Any]:
        """Return the record of a task.

        Raises:
            TaskNotFound: There is none.
        """
        record = self.app.helpers.get_task(check_task_id(id))
        if not record or record.get("task", "").startswith(RESERVED):
            raise _not_found(id)
        return describe.record(id, record)

    def get_tasks(
        self,
        state: Filter = None,
        task: Filter = None,
        queue: Filter = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """Return the tasks that fit all filters, a page at a time.

        Args:
            state: In that state, or one of those.
            task: Of that name.
            queue: Of that queue.
            limit: Most tasks in the page.
            cursor: That of the page before; None: the first page.

        Returns:
            ``tasks``, and the ``cursor`` for the next page: null after the last. A page may have
            fewer tasks than ``limit`` and not be the last.

        Raises:
            InvalidTask: A filter cannot be used.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidTask(f"limit={limit}: from 1 to {MAX_PAGE}")
        states = _as_set(state)
        unknown = (states or set()) - {one.value for one in State}
        if unknown:
            raise InvalidTask(
                f"state {', '.join(sorted(unknown))}: the states are {', '.join(State)}"
            )
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
            raise InvalidTask(f"cursor={cursor[:40]!r}: that of another page is needed")
        tests = {"state": states, "task": _as_set(task), "queue": _as_set(queue)}
        return describe.page(
            self.app.helpers,
            {name: wanted for name, wanted in tests.items() if wanted is not None},
            limit,
            int(cursor or 0),
            MAX_PAGE,
        )

    def wait_for_task(
        self, request: RpcRequest, id: str, timeout: float | None = None
    ) -> dict[str, Any]:
        """Wait until a task has ended or was stopped, and return its record.

        Args:
            request: Whose call it is; says how long it may wait at most.
            id: The task.
            timeout: Seconds; None: as long as the server allows.

        Raises:
            WaitTimeout: It goes on.
            TaskNotFound: There is no record of it.
        """
        if timeout is not None and not timeout >= 0:
            raise InvalidTask(f"timeout={timeout}: seconds")
        left = request.seconds_left if timeout is None else min(timeout, request.seconds_left)
        found = self.get_task(id)
        if found["state"] in READY:
            return found
        future = self.app.helpers.future(id)
        try:
            state = self._wait(future, left)
            record = self.app.helpers.get_task(id)
            if record:
                return describe.record(id, record)
            # It was cleaned up, but not before its end was heard.
            try:
                output = future.result(0)
            except TaskFailed as failed:
                output = failed.output
            return {"id": id, "state": state, "output": readable(output)}
        finally:
            future.close()

    def _wait(self, future: Any, seconds: float) -> str:
        while True:
            if self.closing:
                raise RpcError(ErrorCode.SHUTTING_DOWN, "the server shuts down; ask again")
            part = min(_ROUND, seconds)
            try:
                return str(future.wait(part))
            except WaitTimeout:
                seconds -= part
                if seconds <= 0:
                    raise WaitTimeout(f"task {future.id} has not ended yet") from None

    def num_tasks(self, queue: str | None = None) -> int:
        """Return about how many tasks wait.

        Args:
            queue: In that queue; None: in all, and those that are not due yet as well.
        """
        return describe.waiting(self.app.helpers, queue)

    def next_scheduled_tasks(self, names: Filter = None) -> list[dict[str, str]]:
        """Return when schedules are due next, the nearest first.

        Args:
            names: Of the schedules; None: all.
        """
        wanted = _as_set(names)
        due = self.app.helpers.next_scheduled().items()
        return [
            {"schedule": name, "due": instant.isoformat()}
            for name, instant in sorted(due, key=lambda one: one[1])
            if wanted is None or name in wanted
        ]

    def stop_task(self, id: str) -> bool:
        """Stop a task; return whether there was something to stop.

        Raises:
            TaskNotFound: There is no record of it.
        """
        return self.app.helpers.stop_task(self._reachable(id))

    def reload_task(self, id: str) -> bool:
        """Have a running task start anew with the data its record has; return whether it runs.

        Raises:
            TaskNotFound: There is no record of it.
        """
        return self.app.helpers.reload_task(self._reachable(id))

    def restart_task(self, id: str) -> bool:
        """Put a stopped or ended task back on its queue.

        Raises:
            TaskNotFound: There is no record of it.
        """
        return self.app.helpers.restart_task(self._reachable(id))

    def _reachable(self, task_id: str) -> str:
        """Return the ID of a task that is any business of clients.

        Raises:
            TaskNotFound: It is one of pytask's own.
        """
        name = self.app.helpers.get_task(check_task_id(task_id), "task")
        if name is not None and name.startswith(RESERVED):
            raise _not_found(task_id)
        return task_id


def _not_found(task_id: str) -> TaskNotFound:
    return TaskNotFound(f"task {task_id} has no record: it was removed or never started")


def _as_set(chosen: Filter) -> set[str] | None:
    if chosen is None:
        return None
    return {chosen} if isinstance(chosen, str) else set(chosen)
