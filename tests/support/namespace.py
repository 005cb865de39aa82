"""Names of one test's own keys, and a look at everything stored under them."""

import uuid
from dataclasses import dataclass
from typing import Any

#: Enough for every master of the test cluster to hold some: slots 13907, 9842, 5649 and 1584.
PARTITIONS = 4

_READERS = {
    "string": lambda client, key: client.get(key),
    "hash": lambda client, key: client.hgetall(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "set": lambda client, key: set(client.smembers(key)),
    "zset": lambda client, key: dict(client.zrange(key, 0, -1, withscores=True)),
}


@dataclass(frozen=True)
class Namespace:
    """The key names one test passes to pytask, so that tests can share a server.

    Nothing is flushed: tests of several processes run on one server at a time.
    """

    prefix: str

    @classmethod
    def fresh(cls) -> "Namespace":
        """Make names nobody else uses."""
        return cls(f"t{uuid.uuid4().hex[:10]}:")

    @property
    def task_set(self) -> str:
        """Name of the task set."""
        return f"{self.prefix}tasks"

    @property
    def task_prefix(self) -> str:
        """What precedes an ID in a record's key and in its channels."""
        return f"{self.prefix}task-"

    @property
    def new_queue(self) -> str:
        """Name of the default new queue."""
        return f"{self.prefix}new-task"

    @property
    def end_queue(self) -> str:
        """Name of the end queue."""
        return f"{self.prefix}end-task"

    @property
    def names(self) -> dict[str, str]:
        """The four names as keyword options."""
        return {
            "task_set": self.task_set,
            "task_prefix": self.task_prefix,
            "new_queue": self.new_queue,
            "end_queue": self.end_queue,
        }

    @property
    def options(self) -> dict[str, Any]:
        """The four names and a small number of partitions: options for ``PyTask``."""
        return {**self.names, "partitions": PARTITIONS}

    def dump(self, servers: list[Any]) -> dict[str, Any]:
        """Return every key of this namespace with its value, as Python structures.

        Args:
            servers: Clients that decode replies, one for each master.
        """
        return {
            key: _READERS[client.type(key)](client, key)
            for client in servers
            for key in sorted(client.scan_iter(match=f"{self.prefix}*", count=1000))
        }

    def remove(self, servers: list[Any]) -> None:
        """Delete every key of this namespace."""
        for client in servers:
            for key in list(client.scan_iter(match=f"{self.prefix}*", count=1000)):
                client.unlink(key)
