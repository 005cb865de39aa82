"""What the tests of scripts share: seed tasks, look at everything, break things on purpose.

A test seeds a state with the store or by hand, calls one verb, and compares the whole key space.
Time is not waited for: the lab writes old time stamps instead.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gevent
import pytest

from pytask.exceptions import WrongKeyType
from pytask.keys import DEFAULT_QUEUE
from pytask.states import State
from pytask.store import Store
from pytask.testing.conformance.seeds import Seeds

#: Commands that make a key of each type, and none of them what pytask keeps under its names.
FOREIGN = {
    b"string": ("SET", "foreign"),
    b"hash": ("HSET", "field", "foreign"),
    b"list": ("RPUSH", "foreign"),
    b"set": ("SADD", "foreign"),
    b"zset": ("ZADD", 1, "foreign"),
}

_READERS = {
    b"string": lambda call, key: call("GET", key),
    b"hash": lambda call, key: _pairs(call("HGETALL", key)),
    b"list": lambda call, key: call("LRANGE", key, 0, -1),
    b"set": lambda call, key: set(call("SMEMBERS", key)),
    b"zset": lambda call, key: _pairs(call("ZRANGE", key, 0, -1, "WITHSCORES")),
}


def _pairs(flat: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


class Tap:
    """A link that passes calls on, and can watch or repeat them.

    Args:
        link: Where calls go.
        times: How often a script runs per call; 2 is a call whose first reply was lost.
    """

    def __init__(self, link: Any, times: int = 1) -> None:
        self._link = link
        self._times = times
        self.calls: list[list[bytes]] = []
        self.first: Any = None

    def evalsha(self, sha: str, source: str, keys: Sequence[bytes], *rest: Any) -> Any:
        self.calls.append(list(keys))
        for number in range(self._times):
            reply = self._link.evalsha(sha, source, keys, *rest)
            if number == 0:
                self.first = reply
        return reply

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class Lab(Seeds):
    """One partition of one namespace, with eyes as well, and hands that do harm.

    Attributes:
        names: The keys of the partition, as :class:`pytask.keys.PartitionKeys`.
    """

    task = "lab/task"
    data = b'{"n":1}'

    def __init__(self, store: Store, namespace: Any) -> None:
        super().__init__(store)
        self.keys = store.keys
        self.namespace = namespace
        self.names = self.keys.partitions[self.partition]

    # Seeding

    def call(self, *args: Any) -> Any:
        """Send one raw command."""
        return self.store._link.execute(*args)

    def stopped(self) -> str:
        """Return the ID of a new task that was stopped while it ran."""
        return self.ended(State.STOPPED)

    def put(self, task_id: str, **fields: Any) -> str:
        """Write a record by hand."""
        args = [part for item in fields.items() for part in item]
        self.call("HSET", self.names.record(task_id), *args)
        return task_id

    def push(self, *task_ids: Any, queue: str = DEFAULT_QUEUE) -> None:
        """LPUSH IDs by hand."""
        self.call("LPUSH", self.names.new_queue(queue), *task_ids)

    def age(self, task_id: str, seconds: float) -> None:
        """Make the lease of a run look as if its last heartbeat was so long ago."""
        at = f"{time.time() - seconds:.3f}"
        self.put(task_id, last_update=at)
        self.call("ZADD", self.names.leases, at, task_id)

    def make_due(self) -> None:
        """Let the time of all delayed tasks come."""
        for task_id in self.call("ZRANGE", self.names.delayed, 0, -1):
            self.call("ZADD", self.names.delayed, 1, task_id)

    # Looking

    def queue(self, queue: str = DEFAULT_QUEUE) -> list[str]:
        """The IDs in a queue, the next to be taken first."""
        return self._list(self.names.new_queue(queue))

    def end_queue(self) -> list[str]:
        return self._list(self.names.end_queue)

    def entries(self, key: str) -> list[str]:
        """The IDs in a list, the next to be taken first."""
        return self._list(key)

    def _list(self, key: str) -> list[str]:
        raw = self.call("LRANGE", key, 0, -1)
        return [one.decode("utf-8", "surrogateescape") for one in reversed(raw)]

    def scores(self, key: str) -> dict[str, float]:
        raw = self.call("ZRANGE", key, 0, -1, "WITHSCORES")
        return {name.decode(): float(score) for name, score in _pairs(raw).items()}

    def active(self) -> set[str]:
        return {one.decode() for one in self.call("SMEMBERS", self.names.tasks)}

    def snapshot(self) -> dict[bytes, Any]:
        """Everything stored under the namespace, binary-safe."""
        found = {}
        for key in set(self.store._link.scan_iter(f"{self.namespace.prefix}*")):
            kind = self.call("TYPE", key)
            if kind != b"none":
                found[key] = (kind, _READERS[kind](self.call, key))
        return found

    # Disturbing

    def repeating(self) -> tuple[Store, Tap]:
        """A view of the store whose every script runs twice, as when a reply was lost."""
        tap = Tap(self.store._link, times=2)
        return self.store.using(tap), tap

    def foreign(self, key: str, kind: bytes) -> None:
        """Replace a key by a value of another type."""
        command, *values = FOREIGN[kind]
        self.call("DEL", key)
        self.call(command, key, *values)

    def race(self, functions: Iterable[Callable[[], Any]]) -> list[Any]:
        """Call all at once, on connections of their own, and return what they returned."""
        greenlets = [gevent.spawn(function) for function in functions]
        gevent.joinall(greenlets, timeout=60, raise_error=True)
        return [greenlet.value for greenlet in greenlets]

    def check_wrong_types(self, act: Callable[[], Any], keys: dict[str, bytes]) -> None:
        """Check that a verb refuses foreign values, one key after the other, and writes nothing.

        Args:
            act: The verb, with something to do.
            keys: The fixed keys of its script with the type pytask keeps there.
        """
        for key, kind in keys.items():
            before = self.snapshot()
            saved = self.call("DUMP", key)
            self.foreign(key, b"string" if kind != b"string" else b"list")
            disturbed = self.snapshot()
            with pytest.raises(WrongKeyType, match=key.split(":", 1)[1].replace("{", "[{]")):
                act()
            assert self.snapshot() == disturbed, f"something was written although {key} is foreign"
            self.call("DEL", key)
            if saved is not None:
                self.call("RESTORE", key, 0, saved)
            assert self.snapshot() == before

    def changes(self, before: dict[bytes, Any]) -> list[str]:
        """Names of the keys that differ from a snapshot, without prefix and tag."""
        after = self.snapshot()
        tag = f"{{{self.partition}}}" if self.keys.tagged else ""
        return sorted(
            key.decode().removeprefix(self.namespace.prefix).replace(tag, "")
            for key in before.keys() | after.keys()
            if before.get(key) != after.get(key)
        )


def tally(values: Iterable[Any]) -> Counter[Any]:
    return Counter(values)
