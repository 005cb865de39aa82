"""Every tunable with its default, its unit and its reason, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from pytask.cores import read_concurrency
from pytask.exceptions import ConfigurationError
from pytask.keys import DEFAULT_QUEUE
from pytask.queues import Queues, node_queue

#: What ``data`` and ``output`` can be written as, see pytask.serializers.
SERIALIZERS = ("json", "msgpack")


@dataclass(frozen=True)
class Settings:
    """How a worker and its clients behave. Durations are seconds.

    All of these are keyword options of :class:`pytask.PyTask`; the first eleven matter to
    :class:`pytask.PyTaskHelpers` as well.

    Raises:
        ConfigurationError: A value is out of range, or two values contradict each other.
    """

    #: Name of the set of active tasks.
    task_set: str = "tasks"
    #: What precedes an ID in the name of its record and channels.
    task_prefix: str = "task-"
    #: Name of the default new queue.
    new_queue: str = "new-task"
    #: Name of the end queue.
    end_queue: str = "end-task"
    #: Hash slots the tasks are spread over on Redis Cluster; fixed at the first use of the data.
    partitions: int = 16
    #: How long a client repeats a request while Redis cannot answer.
    redis_patience: float = 10.0
    #: Replicas that must have a task before its start is acknowledged; 0: the master is enough.
    wait_replicas: int = 0
    #: What is written as ``data`` and ``output``, ``json`` or ``msgpack``; both are read.
    serializer: str = "json"
    #: Largest ``data`` a client stores, in bytes once it is encoded.
    max_data_bytes: int = 1_000_000
    #: Largest ``output`` a worker stores, in bytes once it is encoded.
    max_output_bytes: int = 1_000_000
    #: Name of this machine, and so of its own queue; empty: its host name.
    node: str = ""

    #: Tasks one worker process runs at a time; also ``"N/core"``, ``"auto"`` (``"1000/core"``) or a
    #: function that is given the number of cores.
    concurrency: int = 1_000
    #: Worker processes that are started and kept alive.
    processes: int = 1
    #: Tasks after which a worker process ends, to be replaced by a fresh one; 0: never.
    max_tasks: int = 0
    #: Native threads for tasks with ``concurrency="thread"``.
    thread_pool_size: int = 16
    #: Child processes for tasks with ``concurrency="process"``; 0: as many as there are cores.
    process_pool_size: int = 0
    #: The queues a worker takes tasks from, the most urgent first, or a mapping to weights.
    queues: tuple[str, ...] = Queues((DEFAULT_QUEUE,))
    #: No lease of a running task gets older than this; each is refreshed a little earlier.
    update_task_interval: float = 5.0
    #: How often a worker reports itself in the registry; up to 2.5 times more seldom while it runs
    #: nothing but local tasks.
    beat_interval: float = 1.0
    #: A worker silent for longer is dead, and its tasks move.
    worker_timeout: float = 5.0
    #: A lease not refreshed for longer is reaped even if its worker seems alive.
    task_timeout: float = 60.0
    #: How long a worker that cannot reach Redis keeps its tasks running.
    redis_grace: float = 4.0
    #: After this many lost workers a task becomes a dead letter.
    max_reaps: int = 3
    #: How long shutdown waits for running tasks before it stops them.
    drain_timeout: float = 0.0
    #: How long a task may take to stop once asked.
    stop_timeout: float = 5.0
    #: A hub stuck for longer is sick: the worker lets its leases lapse.
    hub_stall_timeout: float = 60.0
    #: How long an ID without a record waits for one.
    missing_grace: float = 5.0
    #: How long failed tasks are kept for a person to look at; 0: not at all.
    keep_failed: float = 7 * 24 * 3600.0
    #: How long the result of a success can be read after Cleanup; 0: forgotten at once.
    keep_results: float = 0.0
    #: Whether this worker starts the tasks of schedules; any number of workers may.
    schedule_periodic: bool = True
    #: Longest blocking wait for a new task.
    block_seconds: float = 5.0
    #: Most tasks one claim takes; bounds how long Redis is busy with one script.
    claim_batch: int = 200
    #: Most outcomes one call reports.
    finish_batch: int = 200
    #: Most leases one call refreshes.
    heartbeat_batch: int = 500

    def __post_init__(self) -> None:
        processes = self.processes if type(self.processes) is int else 1
        concurrency = read_concurrency(self.concurrency, processes)
        object.__setattr__(self, "concurrency", concurrency)
        object.__setattr__(self, "queues", Queues.read(self.queues))
        if self.node:
            node_queue(self.node)
        if self.serializer not in SERIALIZERS:
            raise ConfigurationError(f"serializer={self.serializer!r}: {' or '.join(SERIALIZERS)}")
        self._check_ranges()
        if self.redis_grace >= self.worker_timeout:
            raise ConfigurationError(
                f"redis_grace={self.redis_grace} must be less than worker_timeout="
                f"{self.worker_timeout}: a run has to stop before its successor may start"
            )
        if self.task_timeout < 2 * self.update_task_interval:
            raise ConfigurationError(
                f"task_timeout={self.task_timeout} must be at least twice update_task_interval="
                f"{self.update_task_interval}, or running tasks would be taken for dead"
            )
        if self.worker_timeout < 2 * self.beat_interval:
            raise ConfigurationError(
                f"worker_timeout={self.worker_timeout} must be at least twice beat_interval="
                f"{self.beat_interval}, or living workers would be taken for dead"
            )

    @cached_property
    def node_queue(self) -> str:
        """The queue of this machine, which each worker on it serves in addition."""
        return node_queue(self.node)

    def claim_order(self) -> tuple[str, ...]:
        """Return the queues for one claim in their order, that of this machine first."""
        assert isinstance(self.queues, Queues)
        if self.node_queue in self.queues:
            return self.queues.draw()
        return (self.node_queue, *self.queues.draw())

    def _check_ranges(self) -> None:
        zero_allowed = {
            "drain_timeout",
            "keep_failed",
            "keep_results",
            "max_tasks",
            "missing_grace",
            "process_pool_size",
            "redis_grace",
            "wait_replicas",
        }
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "bool" and not isinstance(value, bool):
                raise ConfigurationError(f"{field.name}={value!r}: True or False is needed")
            if field.type not in ("int", "float"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigurationError(f"{field.name}={value!r}: a number is needed")
            if field.type == "int" and not isinstance(value, int):
                raise ConfigurationError(f"{field.name}={value!r}: a whole number is needed")
            if value < 0 or (value == 0 and field.name not in zero_allowed) or value != value:
                raise ConfigurationError(f"{field.name}={value!r} is out of range")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Settings:
        """Build settings from keyword options.

        Raises:
            ConfigurationError: An option is unknown or its value unusable.
        """
        unknown = set(options) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigurationError(
                f"unknown option {', '.join(sorted(unknown))}; the options are "
                f"{', '.join(field.name for field in fields(cls))}"
            )
        return cls(**options)

    def with_options(self, **options: Any) -> Settings:
        """Return a copy with some values changed."""
        return replace(self, **options)
