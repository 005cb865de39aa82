"""The app: what is configured in one place, and run as a worker or used as a client."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from pytask import __version__, exceptions
from pytask.concurrency import modes
from pytask.configuring import Configuring
from pytask.connection import connect
from pytask.discovery import find_modules, task_classes_of
from pytask.exceptions import ConfigurationError
from pytask.functions import TaskFunction, decorate
from pytask.helpers import PyTaskHelpers
from pytask.plugins import GuardedPlugin, Pluggable, with_queues
from pytask.schedules import SCHEDULE_OPTIONS, make_schedule
from pytask.serializers import encode_data
from pytask.store import Store, open_store
from pytask.worker.registry import TaskRegistry

if TYPE_CHECKING:
    from pytask.worker.supervisor import Supervisor

P = ParamSpec("P")
R = TypeVar("R")

_HOW_TO_PATCH = """\
gevent has not patched the standard library, so one task that waits would stop all others. Make \
these the first two lines of your program, above every other import:

    from gevent import monkey
    monkey.patch_all()"""


_HOW_TO_GUARD = """\
a child process imports your program to find a task with concurrency="process", and the program \
starts another worker; put that under a condition:

    if __name__ == "__main__":
        app.run()"""


class PyTask(Configuring, Pluggable):
    """A worker for tasks, and the way to its Redis.

    Example::

        app = PyTask({"host": "localhost", "port": 6379})
        app.add_task(MyTask)
        app.run()

    Nothing is connected before it is needed, so an app can also be made by a program that only
    starts tasks, through ``app.helpers``, and has not patched anything.

    Args:
        redis_instance: A Redis client object, a URL, a dict of redis-py arguments, a
            ``(host, port)`` pair, or a list of pairs or dicts; more than one is a Redis Cluster.
            ``local://`` starts an embedded server.
        update_task_interval: Seconds between two refreshes of the leases of running tasks.
        **options: The fields of :class:`pytask.settings.Settings`, among them ``task_set``,
            ``task_prefix``, ``new_queue``, ``end_queue``, ``concurrency`` and ``queues``.

    Raises:
        ConfigurationError: The address or an option cannot be used.

    Attributes:
        settings: All options.
        helpers: Starts, stops and inspects tasks.
        worker_id: The name of this worker in Redis.
    """

    #: Thrown into a task that is to stop.
    StopTask = exceptions.StopTask
    #: Base class of what pytask raises.
    PyTaskException = exceptions.PyTaskException

    def __init__(
        self, redis_instance: Any, update_task_interval: float = 5, **options: Any
    ) -> None:
        options["update_task_interval"] = update_task_interval
        self._set_options(options, unless_default="update_task_interval")
        self._registry = TaskRegistry()
        self.helpers = PyTaskHelpers.of(
            connect(redis_instance), self.settings, self._registry.policy_of
        )
        self._plugins: list[GuardedPlugin] = []
        self._exception_handlers: list[Callable[[BaseException], Any]] = []
        self._local_tasks: list[tuple[str, bytes]] = []
        self._supervisor: Supervisor | None = None
        self._new_identity()

    def _new_identity(self) -> None:
        self._pid = os.getpid()
        self._store: Store | None = None
        self.worker_id = f"{socket.gethostname()}-{self._pid}-{secrets.token_hex(4)}"

    @property
    def redis(self) -> Any:
        """The Redis client that was given, or one made from the address."""
        return self.helpers.redis

    @property
    def store(self) -> Store:
        """The worker's own connection to its tasks."""
        if self._store is None:
            # A call without an answer for redis_grace means trouble; it is better asked again.
            backend, keys = self.helpers.connector, self.helpers.keys
            link = backend.link(timeout=max(1.0, self.settings.redis_grace))
            self._store = open_store(backend, link, keys, self.settings)
        return self._store

    @property
    def is_at_work(self) -> bool:
        """Whether :meth:`run` is under way, and :meth:`stop` would end it."""
        return self._supervisor is not None

    @property
    def running(self) -> int:
        """How many tasks run in this worker at this moment."""
        return len(self._supervisor.parts.table) if self._supervisor is not None else 0

    @property
    def registry(self) -> TaskRegistry:
        """The task classes and schedules of this app."""
        return self._registry

    @property
    def task_names(self) -> list[str]:
        """The names of the task classes of this app."""
        return self._registry.names()

    def add_task(self, task_class: type[Any]) -> None:
        """Add a task class; the same one twice is harmless.

        Raises:
            ConfigurationError: It is abstract, has no ``start`` or an unusable ``NAME`` or policy,
                or another class has its name.
        """
        self._registry.add(task_class)

    def add_tasks(self, *task_classes: type[Any]) -> None:
        """Add several task classes, see :meth:`add_task`."""
        for task_class in task_classes:
            self._registry.add(task_class)

    @overload
    def task(self, function: Callable[P, R], /) -> TaskFunction[P, R]: ...

    @overload
    def task(
        self, *, name: str | None = None, **policy: Any
    ) -> Callable[[Callable[P, R]], TaskFunction[P, R]]: ...

    def task(
        self,
        *functions: Callable[..., Any],
        name: str | None = None,
        **policy: Any,
    ) -> Any:
        """Make a task of a function; a decorator, with or without arguments.

        Args:
            *functions: The function. Its arguments are the data of the task; those annotated with
                types are checked and converted.
            name: What the task is called; None: as the function.
            **policy: Any of ``queue``, ``expires``, ``max_retries``, ``retry_delay``,
                ``retry_on``, ``timeout``, ``max_concurrency``, ``can_overlap`` and ``on_limit``,
                see :class:`pytask.policy.Policy`; ``concurrency``, how it is executed; and to
                start it by itself what :meth:`schedule` takes.

        Returns:
            A :class:`~pytask.functions.TaskFunction`: to be called, or submitted.

        Raises:
            ConfigurationError: It is no function, an option cannot be used, or another task has
                its name.
        """
        if not functions:
            return lambda function: self._add_function(function, name, policy)
        (function,) = functions
        return self._add_function(function, name, policy)

    def _add_function(
        self, function: Callable[..., Any], name: str | None, policy: dict[str, Any]
    ) -> TaskFunction[..., Any]:
        timing = {one: policy.pop(one) for one in SCHEDULE_OPTIONS if one in policy}
        made = decorate(function, name, policy, self.helpers)
        schedule = make_schedule(made.name, **timing) if timing else None
        self._registry.add(made.task_class)
        if schedule is not None:
            self._registry.add_schedule(schedule)
        return made

    def schedule(self, task_name: str, **options: Any) -> None:
        """Start a task by itself, at an interval or at the times of a cron expression.

        Each due time starts one task in the whole fleet, whichever workers live. A task class
        declares the same by ``RUN_EVERY``, ``ANCHOR``, ``CRON``, ``TIMEZONE`` and ``MISSED``, and a
        static method ``is_due``.

        Args:
            task_name: ``NAME`` of the task class.
            **options: ``run_every``, seconds or a timedelta, with ``anchor``, a datetime that is a
                due time; or ``cron``, a cron expression, with ``timezone``, ``UTC`` unless given;
                ``name`` of the schedule, that of the task unless given; ``data`` for the task;
                ``missed``, what becomes of due times no worker was there for: ``once`` (one task
                for all of them, the default), ``skip`` or ``all``; ``is_due``, a function that is
                given the due time and may leave it out by returning False.

        Raises:
            ConfigurationError: An option cannot be used, or another schedule has that name.
            InvalidTask: The serializer has no form for the data.
        """
        schedule = make_schedule(task_name, **options)
        encode_data(task_name, schedule.data, self.settings)
        self._registry.add_schedule(schedule)

    def discover(self, *modules: str) -> list[str]:
        """Import modules and add the task classes they define.

        Functions decorated with :meth:`task` add themselves when their module is imported.

        Args:
            *modules: Dotted names; ``"shop.tasks.*"`` means ``shop.tasks`` and all below it.

        Returns:
            The names of the tasks this added, sorted.

        Raises:
            ConfigurationError: A module does not exist, or two tasks have the same name.
        """
        before = set(self.task_names)
        for module in find_modules(modules):
            for task_class in task_classes_of(module):
                self._registry.add(task_class)
        return sorted(set(self.task_names) - before)

    def add_exception_handler(self, handler: Callable[[BaseException], Any]) -> None:
        """Add a function that is told of every unexpected exception of a task.

        It runs in the greenlet of the task, after its state was decided; what it raises is logged.

        Args:
            handler: Called with the exception.
        """
        self._exception_handlers.append(handler)

    def execute(self, task_name: str, /, **task_data: Any) -> Any:
        """Run a task here and now, as a worker would, without a queue and without Redis.

        The data are checked, ``provide_context`` is entered, ``current_task()`` and the attributes
        of the task work, and the result passes through JSON. There is one attempt, no time limit,
        no record and nobody who hears its events; it has an ID of its own. For tests, for a look at
        what a task does, and for callers that cannot wait for a worker.

        Args:
            task_name: ``NAME`` of a task class of this app.
            **task_data: What its ``__init__`` is given.

        Returns:
            What it returned.

        Raises:
            UnknownTask: There is no such class.
            InvalidTask: The data, or what it returned, have no JSON form, or do not fit.
            TaskFailed: It raised in a child process, as ``CONCURRENCY = "process"`` has it.
            Exception: Whatever the task raises otherwise, as it is.
        """
        # Here, because it needs greenlet, and an app that is only a client does not.
        from pytask.executing import execute

        kind = self._registry.get(task_name)
        return execute(kind, task_name, task_data, self.settings, self.helpers)

    def start_local_task(self, task_name: str, **task_data: Any) -> None:
        """Start a task that is bound to this worker: now, or when :meth:`run` is called.

        Nobody else takes it over. It occupies no slot, is removed when the worker ends, and starts
        again after Redis was away.

        Args:
            task_name: ``NAME`` of a task class of this app.
            **task_data: What its ``__init__`` is given.

        Raises:
            InvalidTask: The serializer has no form for the data, or too long a one.
        """
        data = encode_data(task_name, task_data, self.settings)
        if self._supervisor is not None:
            self._supervisor.parts.local_tasks.add(task_name, data)
        else:
            self._local_tasks.append((task_name, data))

    def run(self, task_map: Mapping[str, type[Any]] | None = None) -> None:
        """Work until SIGINT, SIGTERM, SIGHUP or :meth:`stop`.

        Running tasks then get ``drain_timeout`` seconds to end by themselves; the others are
        stopped and go back to their queues. A second signal skips the wait. SIGUSR1 prints the
        stack of every greenlet, thread and coroutine to stderr. It also returns after ``max_tasks``
        tasks.

        With ``processes`` above one it starts this program so often, as it was started itself, and
        looks after these processes.

        Args:
            task_map: More task classes, by name.

        Raises:
            ConfigurationError: gevent has not patched the standard library.
            PartitionMismatch: The data in Redis were written with another number of partitions.
            RedisRejected: The credentials or permissions do not suffice.
            SystemExit: With status 1, if the end of some tasks could not be told to Redis; with
                another one, if this is one of several processes and wants to be replaced.
        """
        if modes.in_child:
            raise ConfigurationError(_HOW_TO_GUARD)
        _check_patched()
        from pytask.worker.processes import RECYCLED, join_supervisor, run_program_in_processes

        supervisor = join_supervisor()
        if supervisor is None and self.settings.processes > 1:
            run_program_in_processes(self.settings.processes, self.helpers.connector.url)
            return
        if supervisor is not None and supervisor.redis:
            self.configure(supervisor.redis)
        for name, task_class in (task_map or {}).items():
            self._registry.add(task_class, name)
        # Here, because it needs gevent, and an app that is only a client does not.
        from pytask.worker.parts import Parts
        from pytask.worker.plugins import PluginServices
        from pytask.worker.signals import SignalHandlers
        from pytask.worker.supervisor import Supervisor

        if self._supervisor is not None:
            raise ConfigurationError("this app runs already; make another one for a second worker")
        if self._pid != os.getpid():
            self._new_identity()  # made before a fork, which other workers may share
        parts = Parts(
            connector=self.helpers.connector,
            store=self.store,
            settings=with_queues(self.settings, self._plugins),
            plugins=PluginServices.of(self._plugins, self, self.worker_id),
            registry=self._registry,
            exception_handlers=self._exception_handlers,
            environment=self,
            worker=self.worker_id,
            version=__version__,
        )
        for task_name, data in self._local_tasks:
            parts.local_tasks.add(task_name, data)
        running = self._supervisor = Supervisor(parts)
        self._outlet = parts.plugins.queued
        try:
            with SignalHandlers(running.stop, running.print_stacks):
                delivered = running.run()
        finally:
            self._supervisor = self._outlet = None
            self._new_identity()  # for the next run; the registry still has the old one
        if not delivered:
            raise SystemExit(1)
        if running.recycles and supervisor is not None:
            raise SystemExit(RECYCLED)

    def stop(self) -> None:
        """End :meth:`run` as SIGTERM does; called from another greenlet, or a task."""
        if self._supervisor is not None:
            self._supervisor.stop()


def _check_patched() -> None:
    from gevent import monkey

    if not monkey.is_module_patched("socket") or not monkey.is_module_patched("time"):
        raise ConfigurationError(_HOW_TO_PATCH)
