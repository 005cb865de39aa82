"""Every Redis key and channel pytask uses, and the only place that builds them.

On a single Redis there is one partition and the keys carry no hash tag::

    task-ID                     hash   the record of a task
    new-task                    list   IDs waiting in the default queue (LPUSH in, taken right)
    new-task:QUEUE              list   IDs waiting in a named queue
    new-task[:QUEUE]:claim:W    list   IDs a blocking pop handed to worker W, not yet claimed
    new-task:delayed            zset   ID -> due time
    new-task[:QUEUE]:missing    zset   ID without a record -> when it was first seen
    new-task:claims             hash   worker [queue] -> its last claim, for a repeat of it
    new-task:paused             set    names of the queues whose tasks are held back
    end-task                    list   IDs that ended and await Cleanup
    end-task:claim:W            list   IDs a Cleanup took and has not yet acknowledged
    tasks                       set    IDs that are in none of the lists
    tasks:lease                 zset   running ID -> last_update
    tasks:failed                zset   dead letters, ID -> when Cleanup kept them
    tasks:schedules             hash   schedule -> when it is due next
    tasks:permits:POOL          zset   who holds a permit of a limit or a lock -> until when
    tasks:waiting:POOL          zset   tasks a limit holds back, in the order they came
    tasks:fence                 string fencing number of the last permit granted
    tasks:workers               zset   worker -> last beat            (whole fleet)
    tasks:worker:W              hash   what worker W says of itself   (whole fleet)
    tasks:partitions            string number of partitions           (whole fleet)

On Redis Cluster the keys of partition 3 carry its number as the hash tag behind the base name
(``new-task{3}:delayed``, ``task-{3}ID``), so that every transition stays inside one slot; the
three keys of the whole fleet carry ``{fleet}``. Channels are no keys and carry no tag:
``task-ID`` for events, ``task-ID-control`` for ``stop`` and ``reload``, ``new-task:wake`` and
``new-task:wake:node.HOST`` for workers that wait, ``tasks:events`` for what concerns the fleet.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from zlib import crc32

from pytask.exceptions import ConfigurationError

#: The name by which people mean the queue without a name.
DEFAULT_QUEUE = "default"
#: Names that would collide with the keys above.
RESERVED_QUEUES = frozenset({"delayed", "claims", "claim", "missing", "paused"})
#: What the names of the queues of nodes begin with; the scripts know it as well.
NODE_PREFIX = "node."
#: Most characters of the name of a queue.
LONGEST_QUEUE = 64

_QUEUE_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}\Z")
_GLOB_CHARACTERS = re.compile(r"([*?\[\]\\])")


def check_queue_name(queue: str) -> str:
    """Return ``queue`` if it can name a queue.

    Raises:
        ConfigurationError: It is reserved, too long, or has a character outside
            ``A-Z a-z 0-9 _ . -``.
    """
    if not isinstance(queue, str) or not _QUEUE_NAME.match(queue):
        raise ConfigurationError(
            f"queue name {queue!r} is not usable: 1 to 64 letters, digits, '_', '.' or '-'"
        )
    if queue in RESERVED_QUEUES:
        raise ConfigurationError(f"queue name {queue!r} is reserved; choose another")
    return queue


class ClaimList(NamedTuple):
    """Whose claim list a key is, and which queue its IDs came from."""

    partition: int
    queue: str
    worker: str


class PartitionKeys:
    """The keys of one partition: everything one script may touch."""

    __slots__ = (
        "_end",
        "_new",
        "claims",
        "delayed",
        "end_queue",
        "failed",
        "fence",
        "leases",
        "number",
        "paused",
        "record_prefix",
        "schedules",
        "tasks",
    )

    def __init__(self, keys: Keys, number: int) -> None:
        tag = f"{{{number}}}" if keys.tagged else ""
        self.number = number
        self._new = keys.new_queue + tag
        self._end = keys.end_queue + tag
        self.record_prefix = keys.task_prefix + tag
        self.tasks = keys.task_set + tag
        self.leases = f"{self.tasks}:lease"
        self.failed = f"{self.tasks}:failed"
        self.schedules = f"{self.tasks}:schedules"
        self.fence = f"{self.tasks}:fence"
        self.delayed = f"{self._new}:delayed"
        self.claims = f"{self._new}:claims"
        self.paused = f"{self._new}:paused"
        self.end_queue = self._end

    def record(self, task_id: str) -> str:
        return self.record_prefix + task_id

    def new_queue(self, queue: str = DEFAULT_QUEUE) -> str:
        return self._new if queue == DEFAULT_QUEUE else f"{self._new}:{queue}"

    def new_claim(self, queue: str, worker: str) -> str:
        return f"{self.new_queue(queue)}:claim:{worker}"

    def missing(self, queue: str = DEFAULT_QUEUE) -> str:
        return f"{self.new_queue(queue)}:missing"

    def end_claim(self, worker: str) -> str:
        return f"{self._end}:claim:{worker}"

    def permits(self, pool: str) -> str:
        return f"{self.tasks}:permits:{pool}"

    def waiting(self, pool: str) -> str:
        return f"{self.tasks}:waiting:{pool}"


class Keys:
    """The names of one installation.

    Args:
        task_set: Name of the task set.
        task_prefix: What precedes an ID in the name of its record and its channels.
        new_queue: Name of the default new queue; the other queues are named after it.
        end_queue: Name of the end queue.
        partitions: Into how many hash slots the tasks are spread.
        tagged: Whether keys carry hash tags; true on Redis Cluster.

    Raises:
        ConfigurationError: Two names are equal, a name is empty or holds a brace, or the number of
            partitions does not fit.
    """

    def __init__(
        self,
        task_set: str = "tasks",
        task_prefix: str = "task-",
        new_queue: str = "new-task",
        end_queue: str = "end-task",
        partitions: int = 1,
        tagged: bool = False,
    ) -> None:
        names = {
            "task_set": task_set,
            "task_prefix": task_prefix,
            "new_queue": new_queue,
            "end_queue": end_queue,
        }
        for option, name in names.items():
            if not name or "{" in name or "}" in name:
                raise ConfigurationError(f"{option}={name!r}: a name without braces is needed")
        if len(set(names.values())) < len(names):
            raise ConfigurationError(f"these names must differ from each other: {names}")
        for option, name in names.items():
            for other, reserved in names.items():
                clash = ":" if other != "task_prefix" else ""
                if option != other and name.startswith(reserved + clash):
                    raise ConfigurationError(
                        f"{option}={name!r} begins like the keys under {other}={reserved!r}"
                    )
        if partitions < 1 or (partitions > 1 and not tagged):
            raise ConfigurationError(
                f"partitions={partitions}: at least 1, and more than 1 only on Redis Cluster"
            )
        self.task_set = task_set
        self.task_prefix = task_prefix
        self.new_queue = new_queue
        self.end_queue = end_queue
        self.tagged = tagged
        self.partitions = [PartitionKeys(self, number) for number in range(partitions)]
        fleet = task_set + ("{fleet}" if tagged else "")
        self.workers = f"{fleet}:workers"
        self.worker_prefix = f"{fleet}:worker:"
        self.partition_count = f"{fleet}:partitions"
        escaped = _GLOB_CHARACTERS.sub(r"\\\1", task_prefix)
        self.records_pattern = escaped + ("{*}*" if tagged else "*")
        self.events_pattern = f"{escaped}*"
        self.fleet_channel = f"{task_set}:events"
        self.control_pattern = f"{escaped}*-control"
        self.wake_channel = f"{new_queue}:wake"
        escaped = _GLOB_CHARACTERS.sub(r"\\\1", new_queue)
        self.queues_pattern = escaped + ("{*}:*" if tagged else ":*")

    def partition_of(self, task_id: str) -> int:
        if len(self.partitions) == 1:
            return 0
        return crc32(task_id.encode("utf-8", "surrogateescape")) % len(self.partitions)

    def of(self, task_id: str) -> PartitionKeys:
        """Return the keys of the partition ``task_id`` lives in."""
        return self.partitions[self.partition_of(task_id)]

    def task_of_record(self, key: str) -> str | None:
        """Return the task ID a key is the record of, or None if it is no such key."""
        if not key.startswith(self.task_prefix):
            return None
        rest = key[len(self.task_prefix) :]
        if self.tagged:
            tag, brace, rest = rest.partition("}")
            if not brace or tag != f"{{{self.partition_of(rest)}":
                return None
        return rest

    def owner_of_claim_list(self, key: str) -> ClaimList | None:
        """Return what a key says if it is a claim list of ours, of a worker or of a Cleanup."""
        for names in self.partitions:
            for base in (names.new_queue(), names.end_queue):
                rest = key.removeprefix(base)
                queue, found, worker = rest.partition(":claim:")
                if rest == key or not found or not worker or (queue and queue[0] != ":"):
                    continue
                return ClaimList(names.number, queue[1:] or DEFAULT_QUEUE, worker)
        return None

    def queue_of(self, key: str) -> str | None:
        """Return the named queue a key is the list of, or may be by its name; None otherwise."""
        for names in self.partitions:
            queue = key.removeprefix(f"{names.new_queue()}:")
            if queue != key:
                is_name = _QUEUE_NAME.match(queue) and queue not in RESERVED_QUEUES
                return queue if is_name else None
        return None

    def node_channel(self, queue: str) -> str:
        """Return the channel on which the workers of a node hear of tasks in its queue."""
        return f"{self.wake_channel}:{queue}"

    def worker(self, worker: str) -> str:
        return self.worker_prefix + worker

    def events_channel(self, task_id: str) -> str:
        return self.task_prefix + task_id

    def control_channel(self, task_id: str) -> str:
        return f"{self.task_prefix}{task_id}-control"

    def task_of_control_channel(self, channel: str) -> str | None:
        """Return the task ID a control channel belongs to, or None if it is no such channel."""
        if channel.startswith(self.task_prefix) and channel.endswith("-control"):
            return channel[len(self.task_prefix) : -len("-control")]
        return None
