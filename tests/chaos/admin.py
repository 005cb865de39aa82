"""Looks at the servers past all proxies: audit, key space, work left; and starts tasks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from pytask.connection import connect
from pytask.exceptions import PyTaskException
from pytask.helpers import PyTaskHelpers
from pytask.records import NewTask, to_json
from pytask.settings import Settings
from pytask.store import Store

from . import audit
from .history import Recorder, wall
from .targets import Target

_READERS: dict[bytes, Callable[[Callable[..., Any], bytes], Any]] = {
    b"string": lambda call, key: _text(call("GET", key)),
    b"hash": lambda call, key: _pairs(call("HGETALL", key)),
    b"list": lambda call, key: [_text(one) for one in call("LRANGE", key, 0, -1)],
    b"set": lambda call, key: {_text(one) for one in call("SMEMBERS", key)},
    b"zset": lambda call, key: _pairs(call("ZRANGE", key, 0, -1, "WITHSCORES")),
    b"stream": lambda call, key: None,
}


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "surrogateescape")


def _pairs(flat: list[bytes]) -> dict[str, str]:
    texts = [_text(one) for one in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def dump_of(link: Any) -> dict[str, Any]:
    """Return every key of all masters and its value."""
    found = {}
    for key in set(link.scan_iter("*", 1000)):
        kind = link.execute("TYPE", key)
        if kind in _READERS:
            found[_text(key)] = _READERS[kind](link.execute, key)
    # What is empty was forgotten by Redis in between.
    return {key: value for key, value in found.items() if value}


class Admin:
    """Args: target: The servers. settings: As the workers have them. record: For the history."""

    def __init__(self, target: Target, settings: dict[str, Any], record: Recorder) -> None:
        options = Settings.of({**settings, "partitions": target.partitions})
        self.target = target
        self.settings = options
        self.record = record
        self._connector = connect(target.direct)
        self.keys = PyTaskHelpers.of(self._connector, options).keys
        # Short time-outs: whoever looks must not stand still when a server does.
        link = self._connector.link(timeout=1.0, connect_timeout=1.0)
        self.store = Store(link, self.keys, options).patient(1.0)
        self._hasty = self.store.patient(0)
        self._drained: dict[str, str] = {}
        self._entries: list[dict[str, Any]] = []
        # What is younger may be rolled back, and is left where that happens to it as well.
        self._settled = 25.0 if target.may_lose else 6.0

    def execute(self, *words: Any) -> Any:
        return self.store._command(*words)

    def close(self) -> None:
        self._connector.close()

    def submit(self, tasks: list[dict[str, Any]]) -> None:
        """Start tasks; nobody minds if Redis is away."""
        ids = [task["task_id"] for task in tasks]
        self.record("enq.invoke", ids=ids)
        sent = wall()
        store = self.store.patient(0.5)
        try:
            store.enqueue(
                [
                    NewTask(one["task_id"], one["task"], to_json(one.get("data", {})))
                    for one in tasks
                ]
            )
        except PyTaskException as error:
            self.record("enq.unknown", ids=ids, error=str(error)[:80])
        else:
            self.record("enq.ok", ids=ids, sent=sent)

    def pause(self, queue: str) -> None:
        self.store.pause(queue)

    def resume(self, queue: str) -> bool:
        """Resume a queue; return whether Redis has confirmed it."""
        with suppress(PyTaskException):
            self.store.resume(queue)
            return True
        return False

    def waits_in(self, queue: str) -> int:
        """Return how many tasks wait in a queue, as far as Redis answers."""
        try:
            return int(self._hasty.count([queue])["waiting"])
        except PyTaskException:
            return 0

    def flush(self, queue: str) -> None:
        """Flush a queue; nobody minds if Redis is away."""
        self.record("flush.invoke", queue=queue)
        with suppress(PyTaskException):
            self.store.flush(queue)

    # What is left to do

    def left(self) -> dict[str, int]:
        """Count the tasks that are not where they stay, without the local ones."""
        count = self.store.count(self.settings.claim_order())
        local = 2 * len([worker for worker in self.store.list_workers() if worker.alive])
        left = {name: count[name] for name in ("waiting", "delayed", "ended")}
        left["running"] = max(0, count["running"] - local)
        left["claimed"] = sum(
            int(self.execute("LLEN", key)) for key in set(self.store.find_claim_lists())
        )
        left["dead"] = sum(not worker.alive for worker in self.store.list_workers())
        for names in self.keys.partitions:
            for queue in self.settings.claim_order():
                left["claimed"] += int(self.execute("ZCARD", names.missing(queue)))
        return {name: number for name, number in left.items() if number}

    def stop_services(self) -> int:
        """Ask every service that has not ended to stop."""
        asked = 0
        for task_id in set(self.store.iterate_active()):
            task, state = self.store.read_fields(task_id, ["task", "state"])
            if task == "chaos/service" and state == "RUNNING":
                self.record("stop.invoke", id=task_id)
                sent = wall()
                code = int(self.store.stop(task_id))
                self.record("stop.ok", id=task_id, code=code, sent=sent)
                asked += 1
        return asked

    # Evidence

    def drain_audit(self) -> None:
        """Move the older audit out of the servers, which otherwise grow all the time."""
        until = f"{int((wall() - self._settled) * 1000)}"
        for key in audit.stream_keys(self.target.partitions, self.target.is_cluster):
            start = self._drained.get(key)
            since = f"({start}" if start else "-"
            page = self._hasty._command("XRANGE", key, since, until, "COUNT", 10_000)
            for stream_id, fields in page:
                entry = audit.entry_of(key, stream_id, fields)
                self._entries.append(entry)
            if page:
                self._drained[key] = page[-1][0].decode()
                self._hasty._command("XTRIM", key, "MINID", page[-1][0])

    def rewrite(self, number: int) -> None:
        """Let one server write its file anew, so that a restart does not read all of its past."""
        nodes = self.target.nodes
        with suppress(redis.RedisError):
            nodes[number % len(nodes)].command("BGREWRITEAOF", timeout=1.0)

    def forget_audit(self) -> None:
        """Begin anew."""
        self._entries = []
        for key in audit.stream_keys(self.target.partitions, self.target.is_cluster):
            self.execute("XTRIM", key, "MAXLEN", 0)

    def read_audit(self) -> list[dict[str, Any]]:
        entries = self._entries
        for key in audit.stream_keys(self.target.partitions, self.target.is_cluster):
            last = self._drained.get(key)
            for entry in audit.read_stream(self.execute, key, last or ""):
                entries.append(entry)
        return entries

    def read_codes(self) -> Counter[str]:
        keys = audit.stream_keys(self.target.partitions, self.target.is_cluster)
        return audit.read_codes(self.execute, keys)

    def dump(self) -> dict[str, Any]:
        """Return every key of all masters and its value."""
        return dump_of(self.store._link)

    def living(self) -> list[str]:
        return [worker.worker for worker in self.store.list_workers() if worker.alive]


def save(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, default=sorted, indent=1))
