"""Plug-ins: code beside the tasks that follows them, and adds queues, information or RPC methods.

A plug-in can do no harm by raising: each call is guarded, and what it raises is logged. In a worker
it lives in a greenlet of its own (:mod:`pytask.worker.plugins`), so nobody waits for it either.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pytask.exceptions import ConfigurationError
from pytask.queues import Queues
from pytask.records import NewTask
from pytask.serializers import decode_value
from pytask.settings import Settings
from pytask.states import State

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers

logger = logging.getLogger(__name__)

QUEUED = "queued"
STARTED = "started"
DONE = "done"

#: Seconds between two log lines about the same failing method.
_REMIND = 30.0


class TaskSnapshot(NamedTuple):
    """A task as a plug-in sees it at one moment."""

    #: Its ID.
    id: str
    #: ``NAME`` of its class.
    name: str
    #: As the event leaves it.
    state: State
    #: The queue it was put on; None unless it was just queued.
    queue: str | None
    #: The worker it runs or ran in; None unless it has started.
    worker: str | None
    #: How often it has started.
    attempt: int
    #: What its ``__init__`` is given, as it is stored; empty once it has run: a worker with 100,000
    #: tasks does not keep their data.
    raw_data: bytes
    #: What it returned, or the text of its failure, as it is stored; empty before its end.
    raw_output: bytes = b""

    @property
    def data(self) -> Any:
        """What its ``__init__`` is given; None once it has run, or if that cannot be read."""
        return _decoded(self.raw_data)

    @property
    def output(self) -> Any:
        """What it returned, or the text of its failure; None before its end."""
        return _decoded(self.raw_output)


class Plugin:
    """Base class of plug-ins: override what you need, the rest does nothing.

    All methods are called in a greenlet of the plug-in's own, one after the other, and may wait;
    ``queues`` is called before that, and ``store_message`` elsewhere if no worker runs in this
    process. What they raise is logged.
    """

    #: What the log and the registry call it; empty: as its class.
    name: str = ""

    def start(self, app: Any) -> None:
        """Called in a worker, before anything else.

        Args:
            app: The :class:`pytask.PyTask` it was added to.
        """

    def close(self) -> None:
        """Called when the worker ends, after everything was stored."""

    def tick(self) -> None:
        """Called about once a second in a worker."""

    def store_message(self, task: TaskSnapshot, event: str) -> None:
        """Called when something has become of a task.

        Args:
            task: The task, as it is now.
            event: ``queued`` in the process that queues it, through the helpers of this app, and in
                a worker that gives it back or will try it again; ``started`` and ``done`` in the
                worker that runs it.
        """

    def queues(self) -> Iterable[str]:
        """Return names of queues that this worker takes tasks from as well, after its own."""
        return ()

    def info(self) -> Mapping[str, Any]:
        """Return what the registry is to say of this worker; shown by ``pytask status``.

        Called about once a second. At most twenty keys count, with 200 characters each.
        """
        return {}

    def rpc_methods(self) -> Mapping[str, Callable[..., Any]]:
        """Return methods to serve over JSON-RPC, by name."""
        return {}


class GuardedPlugin:
    """A plug-in whose exceptions are logged.

    Args:
        plugin: The plug-in.
    """

    #: Nothing of this may end a process or a service.
    caught: tuple[type[BaseException], ...] = (Exception, SystemExit)

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.name = plugin.name or type(plugin).__name__
        #: Most plug-ins that only add queues or information need not be told of tasks.
        self.wants_messages = overrides(plugin, "store_message")
        self._failures: dict[str, int] = {}
        self._told_at: dict[str, float] = {}

    def call(self, method: str, *args: Any) -> Any:
        """Call a method and return what it returns; None if it raised."""
        try:
            return getattr(self.plugin, method)(*args)
        except self.caught as error:
            self.note(method, error)
            return None

    def store(self, event: str, snapshots: Iterable[TaskSnapshot]) -> None:
        """Tell it of tasks, each of them whatever becomes of the others."""
        store_message = self.plugin.store_message
        for task in snapshots:
            try:
                store_message(task, event)
            except self.caught as error:
                self.note("store_message", error)

    def note(self, method: str, error: BaseException) -> None:
        """Log a failure; of those that follow each other quickly, only how many."""
        self._failures[method] = self._failures.get(method, 0) + 1
        now = time.monotonic()
        if now < self._told_at.get(method, 0.0):
            return
        count = self._failures.pop(method)
        self._told_at[method] = now + _REMIND
        logger.error(
            "plug-in %s: %s() failed%s; the work goes on without it",
            self.name,
            method,
            f", {count} times since the last report" if count > 1 else "",
            exc_info=error,
        )


def overrides(plugin: Plugin, method: str) -> bool:
    """Whether a plug-in has a method of its own."""
    own = vars(plugin).get(method) or getattr(type(plugin), method)
    return own is not getattr(Plugin, method)


class Pluggable:
    """The part of an app that knows its plug-ins."""

    helpers: PyTaskHelpers
    _supervisor: Any
    _plugins: list[GuardedPlugin]
    #: Where a running worker takes messages; None: they are stored at once.
    _outlet: Callable[[Sequence[NewTask]], None] | None = None

    def add_plugin(self, plugin: Plugin) -> None:
        """Add a plug-in, before :meth:`run`.

        Args:
            plugin: An instance of a subclass of :class:`pytask.Plugin`.

        Raises:
            ConfigurationError: It is none, its name is taken, or the app runs already.
        """
        if not isinstance(plugin, Plugin):
            raise ConfigurationError(
                f"{plugin!r} is no plug-in: an instance of a subclass of pytask.Plugin is needed"
            )
        if self._supervisor is not None:
            raise ConfigurationError("this app runs already; add plug-ins before run()")
        guarded = GuardedPlugin(plugin)
        if guarded.name in {one.name for one in self._plugins}:
            raise ConfigurationError(
                f"two plug-ins are named {guarded.name!r}: give one of them another `name`"
            )
        self._plugins.append(guarded)
        if guarded.wants_messages:
            self.helpers.on_queued = self._on_queued

    @property
    def plugins(self) -> list[Plugin]:
        """The plug-ins, in the order they were added."""
        return [one.plugin for one in self._plugins]

    def _on_queued(self, tasks: Sequence[NewTask]) -> None:
        if self._outlet is not None:
            self._outlet(tasks)
            return
        for one in self._plugins:
            if one.wants_messages:
                one.store(QUEUED, map(queued_snapshot, tasks))


def queued_snapshot(task: NewTask) -> TaskSnapshot:
    """Return how a plug-in sees a task that was just queued."""
    return TaskSnapshot(task.task_id, task.task, State.WAIT, task.queue, None, 0, task.data)


def with_queues(settings: Settings, plugins: Iterable[GuardedPlugin]) -> Settings:
    """Return settings with the queues plug-ins add; one that cannot be used is logged."""
    for plugin in plugins:
        try:
            for queue in plugin.plugin.queues():
                if queue not in settings.queues:
                    settings = settings.with_options(
                        queues=Queues.read(settings.queues).plus(queue)
                    )
        except plugin.caught as error:
            plugin.note("queues", error)
    return settings


def _decoded(raw: bytes) -> Any:
    try:
        return decode_value(raw) if raw else None
    except ValueError:
        return None
