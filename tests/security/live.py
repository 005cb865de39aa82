"""A worker in the test process, and somebody with redis-cli beside it."""

import json
from typing import Any

import gevent

from pytask import Task


class Echo(Task):
    """Answers what it was given."""

    NAME = "security/echo"

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def start(self) -> Any:
        return self.value


class Rest(Task):
    """Runs until it is stopped, and counts how often it was started."""

    NAME = "security/rest"
    starts = 0

    def start(self) -> None:
        Rest.starts += 1
        gevent.sleep(600)


def check_alive(worker: Any, value: Any = "still here") -> None:
    """Check that a good task runs, soon and rightly."""
    assert worker.run_task("security/echo", value=value) == ("SUCCESS", value)


class People:
    """Writes and pushes bytes as they are.

    Args:
        worker: Whose tasks.
        link: The way to Redis.
    """

    def __init__(self, worker: Any, link: Any) -> None:
        self.keys, self.call = worker.helpers.keys, link.execute
        self._link = link

    def names(self, task_id: bytes) -> Any:
        return self.keys.of(task_id.decode("utf-8", "surrogateescape"))

    def record(self, task_id: bytes) -> bytes:
        prefix: bytes = self.names(task_id).record_prefix.encode()
        return prefix + task_id

    def make(self, task_id: bytes, **fields: Any) -> None:
        """Write a record by hand and push its ID."""
        if fields:
            self.call("HSET", self.record(task_id), *(x for item in fields.items() for x in item))
        self.call("LPUSH", self.names(task_id).new_queue(), task_id)

    def state(self, task_id: bytes) -> str:
        state = self.call("HGET", self.record(task_id), "state")
        return (state or b"").decode()

    def output(self, task_id: bytes) -> Any:
        return json.loads(self.call("HGET", self.record(task_id), "output"))

    def clean_up(self) -> None:
        """Delete everything; the decoding client of the namespace cannot name all keys."""
        prefix = self.keys.task_set.removesuffix("tasks")
        for key in set(self._link.scan_iter(f"{prefix}*")):
            self.call("DEL", key)
