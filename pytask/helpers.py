"""What other services, scripts and tasks use to start, control and look at tasks.

Works with and without gevent's monkey-patching, in threads and greenlets, and connects when it is
first used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from pytask.backends import Backend, Link
from pytask.connection import connect
from pytask.exceptions import TaskNotFound
from pytask.following import Following
from pytask.future import TaskFuture
from pytask.keys import Keys
from pytask.letters import DeadLetters
from pytask.locks import Locking
from pytask.looking import Looking, wrong_type
from pytask.loops import run_loop
from pytask.queueing import Queueing
from pytask.records import NewTask, check_task_id, new_task_ids
from pytask.settings import Settings
from pytask.states import Code, State
from pytask.store import Store, open_store
from pytask.submission import PolicyOf, TaskRequest, new_task, no_policy, read_request
from pytask.task import running_task_id

__all__ = ["PyTaskHelpers", "run_loop"]


class PyTaskHelpers(Looking, Queueing, Locking, DeadLetters, Following):
    """Start, control and inspect tasks, and lock what they share.

    Every :class:`pytask.PyTask` has one as ``helpers``, and so has every running task.

    Args:
        redis_instance: Where Redis is; everything :class:`pytask.PyTask` accepts.
        task_set: Name of the task set.
        task_prefix: What precedes an ID in the name of its record and channels.
        new_queue: Name of the default new queue.
        end_queue: Name of the end queue.
        **options: Further options of :class:`pytask.settings.Settings`.

    Raises:
        ConfigurationError: The address or an option cannot be used.

    All methods raise :class:`~pytask.exceptions.RedisUnavailable` when Redis did not answer within
    ``redis_patience``; the request may or may not have been carried out, and can be repeated.
    """

    def __init__(
        self,
        redis_instance: Any,
        task_set: str = "tasks",
        task_prefix: str = "task-",
        new_queue: str = "new-task",
        end_queue: str = "end-task",
        **options: Any,
    ) -> None:
        names = {
            "task_set": task_set,
            "task_prefix": task_prefix,
            "new_queue": new_queue,
            "end_queue": end_queue,
        }
        self.rebind(connect(redis_instance), Settings.of({**names, **options}))

    #: Returns what is known of how tasks of a name are to be treated.
    policy_of: PolicyOf = staticmethod(no_policy)
    #: Told of the tasks these helpers have queued; None: nobody wants to know.
    on_queued: Callable[[Sequence[NewTask]], None] | None = None

    @classmethod
    def of(
        cls, connector: Backend, settings: Settings, policy_of: PolicyOf | None = None
    ) -> PyTaskHelpers:
        """Build helpers on an address that was read already.

        Args:
            connector: The address.
            settings: All options.
            policy_of: Returns the policy of a task by its name.
        """
        helpers = cls.__new__(cls)
        helpers.rebind(connector, settings)
        if policy_of is not None:
            helpers.policy_of = policy_of
        return helpers

    def rebind(self, connector: Backend, settings: Settings) -> None:
        """Point these helpers, and whoever holds them, at another Redis or other options."""
        self.connector = connector
        self.settings = settings
        self.keys = Keys(
            settings.task_set,
            settings.task_prefix,
            settings.new_queue,
            settings.end_queue,
            settings.partitions if connector.is_cluster else 1,
            tagged=connector.is_cluster,
        )
        self._link: Link | None = None
        self._store: Store | None = None
        self._lock = threading.Lock()
        self._begin_following()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and end what listens; the helpers connect anew if used again.

        A client object that was given stays open. An embedded server ends when nobody in this
        process uses it any more.
        """
        self._end_following()
        with self._lock:
            self._link = self._store = None
        self.connector.close()

    @property
    def redis(self) -> Any:
        """The Redis client that was given, or one made from the address."""
        return self.connector.user_client

    @property
    def store(self) -> Store:
        """The store behind these helpers, for what they do not offer.

        Raises:
            PartitionMismatch: The data in Redis were written with another number of partitions.
        """
        store = self._store
        if store is None:
            store = open_store(self.connector, self.link, self.keys, self.settings)
            if self.keys.tagged:
                store.agree_partitions()
            self._store = store
        return store

    @property
    def link(self) -> Link:
        """The connections all calls of these helpers share."""
        with self._lock:
            if self._link is None:
                self._link = self.connector.link()
            return self._link

    # Starting

    def start_task(
        self, task_name: str, task_id: str | None = None, cleanup: bool = True, **task_data: Any
    ) -> str:
        """Start a task, unless one of that ID is waiting or running.

        Data whose names clash with ``task_id`` or ``cleanup`` go through :meth:`submit`.

        Args:
            task_name: ``NAME`` of the task class.
            task_id: Its ID; a random one if not given.
            cleanup: False keeps the record after the end, out of reach of Cleanup.
            **task_data: What the task's ``__init__`` is given.

        Returns:
            The task ID.

        Raises:
            InvalidTask: The ID, the name or the data cannot be stored.
            RedisRefused: Redis is full.
            WrongKeyType: The task's key holds another type.
        """
        policy = self.policy_of(task_name)
        task = new_task(
            task_name, task_data, self.settings, policy, task_id=task_id, cleanup=cleanup
        )
        self._enqueue([task])
        return task.task_id

    def submit(
        self,
        task_name: str,
        data: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        cleanup: bool = True,
        queue: str | None = None,
        delay: float = 0.0,
        at: datetime | float | None = None,
        expires: float | None = None,
        max_retries: int | None = None,
        retry_delay: float | None = None,
        timeout: float | None = None,
        max_concurrency: int | None = None,
        on_limit: str | None = None,
        watch: bool = False,
        callback: Callable[[TaskFuture], object] | None = None,
    ) -> TaskFuture:
        """Start a task and return a handle on it.

        What is None is as the class of the task says. A worker reads that from the class; ``queue``
        and ``expires`` are needed here already, so they are known only to the helpers of an app
        that has the class, and are the default queue and never elsewhere.

        Args:
            task_name: ``NAME`` of the task class.
            data: What the task's ``__init__`` is given.
            task_id: Its ID; a random one if not given.
            cleanup: False keeps the record after the end, out of reach of Cleanup.
            queue: The queue it waits in; ``pytask.LOCAL``: that of this machine.
            delay: Seconds until it may start.
            at: The time from which it may start, in place of a delay: a datetime with a time zone,
                or Unix seconds. By the clock of the Redis server; one in the past means now.
            expires: Seconds after which it is not started any more but REVOKED; 0: never.
            max_retries: How often it is tried again if it fails.
            retry_delay: Seconds until it is.
            timeout: Seconds a run of it may last before it is stopped and REVOKED; 0: for ever.
            max_concurrency: It starts while fewer tasks of its name run in the whole fleet.
            on_limit: What becomes of it if a limit refuses it: ``"wait"`` or ``"revoke"``.
            watch: Begin to listen before the task is started, so that even a task that ends and
                is cleaned up at once can be waited for.
            callback: Called once with the handle when the task has ended, see
                :meth:`TaskFuture.add_done_callback`; implies ``watch``.

        Raises:
            InvalidTask: The ID, the name or the data cannot be stored.
            RedisRefused: Redis is full.
            WrongKeyType: The task's key holds another type.
        """
        task = new_task(
            task_name,
            data or {},
            self.settings,
            self.policy_of(task_name),
            task_id=task_id,
            cleanup=cleanup,
            queue=queue,
            delay=delay,
            at=at,
            expires=expires,
            max_retries=max_retries,
            retry_delay=retry_delay,
            timeout=timeout,
            max_concurrency=max_concurrency,
            on_limit=on_limit,
        )
        future = TaskFuture(self, task.task_id)
        if watch or callback is not None:
            future.watch()
        self._enqueue([task])
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def start_tasks(self, tasks: Iterable[TaskRequest]) -> list[str]:
        """Start many tasks with few round-trips.

        Args:
            tasks: For each a pair of name and data, or a mapping with ``task`` and any of ``data``,
                ``task_id``, ``cleanup``, ``queue``, ``delay``, ``at``, ``expires``,
                ``max_retries``, ``retry_delay``, ``timeout``, ``max_concurrency`` and ``on_limit``
                (see :meth:`submit`).

        Returns:
            The task IDs, in the order given.

        Raises:
            InvalidTask: One of them cannot be stored; none was started.
            RedisRefused: Redis became full; the tasks before that were started, and starting all
                again under the same IDs starts the rest.
            WrongKeyType: The key of a task holds another type; all others were started.
        """
        fresh_id = new_task_ids().__next__
        new = [read_request(task, self.settings, self.policy_of, fresh_id) for task in tasks]
        self._enqueue(new)
        return [task.task_id for task in new]

    def _enqueue(self, tasks: Sequence[NewTask]) -> None:
        if from_task := running_task_id():
            tasks = [task._replace(from_task=from_task) for task in tasks]
        codes = self.store.enqueue(tasks)
        if self.on_queued is not None:
            self.on_queued([task for task, code in zip(tasks, codes, strict=True) if code > 0])
        if Code.BAD_TYPE in codes:
            raise wrong_type(self.keys, tasks[codes.index(Code.BAD_TYPE)].task_id)

    # Control

    def stop_task(self, task_id: str) -> bool:
        """Stop a task: at once if it waits, through its worker if it runs.

        Returns:
            Whether there was something to stop; false when it has ended.

        Raises:
            TaskNotFound: There is no record of it.
        """
        return self._done(task_id, self.store.stop(task_id))

    def reload_task(self, task_id: str) -> bool:
        """Have a running task stopped and started anew with the data its record holds now.

        Returns:
            Whether it runs; false otherwise, its next start reads the data anyway.

        Raises:
            TaskNotFound: There is no record of it.
        """
        return self._done(task_id, self.store.reload(task_id))

    def restart_task(self, task_id: str) -> bool:
        """Put a stopped or ended task back on its queue; one that waits or runs is left alone.

        Returns:
            True; the task waits or runs now.

        Raises:
            TaskNotFound: There is no record of it.
        """
        return self._done(task_id, self.store.restart(task_id))

    def restart_if_state(self, task_id: str, states: Iterable[str] | str) -> bool:
        """Put a task back on its queue if it is in one of these states.

        Args:
            task_id: The task.
            states: Names of states, or one name.

        Returns:
            Whether it was in one of them.

        Raises:
            ValueError: There is no such state.
            TaskNotFound: There is no record of it.
        """
        names = [states] if isinstance(states, str) else list(states)
        if not names:
            return False
        code = self.store.restart(task_id, [State(name) for name in names])
        return self._done(task_id, code)

    def remove_task(self, task_id: str, force: bool = False) -> bool:
        """Forget a task.

        Args:
            task_id: The task.
            force: Remove a running one too; its worker then stops it.

        Returns:
            Whether it was removed; false when it runs, or was not there.
        """
        code = self.store.remove(task_id, force)
        return False if code is Code.MISSING else self._done(task_id, code)

    def _done(self, task_id: str, code: Code) -> bool:
        if code is Code.MISSING:
            raise TaskNotFound(f"task {task_id} has no record: it was removed or never started")
        if code is Code.BAD_TYPE:
            raise wrong_type(self.keys, task_id)
        return code > 0 or code is Code.EXISTS

    def future(self, task_id: str) -> TaskFuture:
        """Return a handle on a task that was started elsewhere."""
        return TaskFuture(self, check_task_id(task_id))
