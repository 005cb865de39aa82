"""The real side: a namespace in Redis, how to reach it, and all that stands in it."""

from __future__ import annotations

import json
from typing import Any

from pytask.connection.retry import Patience
from pytask.keys import Keys, PartitionKeys
from pytask.records import to_text
from pytask.settings import Settings
from pytask.store import Store

from .faults import FaultyLink
from .model import Memo
from .upkeep import Model
from .words import FOREIGN

QUEUES = ("default", "fast")
WORKERS = ("w1", "w2")
MAX_REAPS = 2

# One round-trip per look: there is one after each step of each history.
_LOOK = """
local found = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  local value
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'string' then value = {} end
  if value then table.insert(found, {i, kind, value}) end
end
return found
"""

#: Fields of a record the model leaves to the tests of the single scripts.
_UNMODELLED = ("created", "started", "ended", "history")


class Site:
    """A store on an empty namespace.

    Args:
        link: The real connection.
        keys: The names.
        settings: The settings of the namespace.

    Attributes:
        store: Repeats what was lost, at once.
        hasty: Tries once.
        partitions: Numbers of the partitions histories use.
        task_ids: For each of them the IDs histories use.
    """

    def __init__(self, link: Any, keys: Keys, settings: Settings) -> None:
        self.raw = link
        self.keys = keys
        self.link = FaultyLink(link)
        settings = settings.with_options(max_reaps=MAX_REAPS, missing_grace=1000.0)
        self.store = Store(self.link, keys, settings, Patience(20.0, base=0.0))
        self.hasty = Store(self.link, keys, settings, Patience(0))
        self.calm = Store(link, keys, settings)
        self.partitions = tuple(self.store.partitions)[:2]
        self.task_ids = [self._pick_ids(number) for number in self.partitions]
        self._names = [self._list_names(number) for number in self.partitions]
        first = self.partitions[0]
        names = (f"limit:{number}" for number in range(1_000))
        fit = [one for one in names if self.keys.partition_of(one) == first]
        #: Names of two pools of permits in the first partition.
        self.pools = fit[:2]

    def allow_reaps(self, number: int) -> None:
        """Make a dead letter of a task that lost so many workers."""
        for store in (self.store, self.hasty, self.calm):
            store.settings = store.settings.with_options(max_reaps=number)

    def _pick_ids(self, partition: int) -> tuple[str, ...]:
        # Among them an ID with characters that patterns, hash tags and shells make something of.
        wanted = ("a", "b{x}*\\", "ü %s -control", "c", "d", "e", "f", "g", "h", "i", "j", "k")
        fit = [one for one in wanted if self.keys.partition_of(one) == partition]
        return tuple(fit[: 3 if len(self.keys.partitions) == 1 else 2])

    def names(self, partition: int) -> PartitionKeys:
        return self.keys.partitions[partition]

    def _list_names(self, partition: int) -> list[tuple[tuple[str, ...], str]]:
        """Every key a partition may have, with the place in the model it stands for."""
        names = self.names(partition)
        found: list[tuple[tuple[str, ...], str]] = [
            (("delayed",), names.delayed),
            (("end",), names.end_queue),
            (("tasks",), names.tasks),
            (("leases",), names.leases),
            (("failed",), names.failed),
            (("schedules",), names.schedules),
            (("memos",), names.claims),
            (("paused",), names.paused),
        ]
        at = self.partitions.index(partition)
        found += [(("records", one), names.record(one)) for one in self.task_ids[at]]
        for queue in QUEUES:
            found.append((("queues", queue), names.new_queue(queue)))
            found.append((("missing", queue), names.missing(queue)))
            found += [(("claims", queue, one), names.new_claim(queue, one)) for one in WORKERS]
        found += [(("end_claims", one), names.end_claim(one)) for one in WORKERS]
        return found

    def look(self, partition: int) -> Model:
        """Return what stands in Redis, in the form of the model."""
        places = self._names[self.partitions.index(partition)]
        raw_keys = [key.encode() for _, key in places]
        view = Model()
        for at, kind, value in self.raw.execute("EVAL", _LOOK, len(raw_keys), *raw_keys):
            place, key = places[at - 1]
            _enter(view, place, key, kind.decode(), value)
        return view

    def call(self, *args: Any) -> Any:
        """Send one command as a person with redis-cli would."""
        raw = [one.encode() if isinstance(one, str) else one for one in args]
        return self.raw.execute(*raw)

    def all_keys(self) -> set[str]:
        """Return every key of the namespace, known or not."""
        prefix = self.keys.task_set.removesuffix("tasks")
        return {key.decode() for key in self.raw.scan_iter(f"{prefix}*", 10_000)}

    def known_keys(self) -> set[str]:
        """Return every key a history may have made."""
        fleet = {self.keys.workers, self.keys.partition_count}
        fleet |= {self.keys.worker(worker) for worker in WORKERS}
        names = self.names(self.partitions[0])
        fleet |= {names.fence}
        for pool in self.pools:
            fleet |= {names.permits(pool), names.waiting(pool)}
        return fleet | {key for places in self._names for _, key in places}

    def clear(self) -> None:
        """Delete everything for the next history."""
        for key in self.all_keys():
            self.call("UNLINK", key)


def _enter(view: Model, place: tuple[str, ...], key: str, kind: str, value: list[bytes]) -> None:
    name, *rest = place
    texts = [to_text(one) for one in value]
    pairs = dict(zip(texts[::2], texts[1::2], strict=True)) if kind in ("hash", "zset") else {}
    if name == "records":
        view.records[rest[0]] = _record(pairs) if kind == "hash" else FOREIGN
        return
    expected = {
        "tasks": "set", "paused": "set", "memos": "hash", "schedules": "hash", "queues": "list",
        "claims": "list", "end": "list", "end_claims": "list",
    }.get(name, "zset")  # fmt: skip
    assert kind == expected, f"{key} became a {kind}"
    if kind == "set":
        setattr(view, name, set(texts))
    elif name == "memos":
        view.memos = {worker: _memo(text) for worker, text in pairs.items()}
    elif name == "end":
        view.end = texts
    elif kind == "list":
        place_key = rest[0] if len(rest) == 1 else (rest[0], rest[1])
        getattr(view, name)[place_key] = texts
    else:
        scores = {task_id: float(score) for task_id, score in pairs.items()}
        if rest:
            view.missing[rest[0]] = scores
        else:
            setattr(view, name, scores)


def _memo(text: str) -> Memo:
    request, *task_ids = json.loads(text)
    return Memo(request, task_ids)


def _record(pairs: dict[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {k: v for k, v in pairs.items() if k not in _UNMODELLED}
    for name in ("attempts", "reaps", "retries"):
        if name in record:
            record[name] = int(record[name])
    for name in ("last_update", "expires", "held"):
        if name in record:
            record[name] = float(record[name])
    if "control" in record:
        record["control"] = record["control"].partition(":")[0]
    if "unqueue" in record:
        record["void"] = set(record.pop("unqueue").split())
    if record.pop("end_entry", None) == "1":
        record["at_end"] = True
    if "done_run" in record:
        record["done"] = _done(record.pop("done_run"))
    if record.get("output", "").startswith('{"'):
        record["output"] = json.loads(record["output"])["reason"].partition(":")[0]
    lost = pairs.get("history", "")
    lines = lost.count("\n") + bool(lost)
    assert lines == min(record.get("reaps", 0), 10), "a line for each of the last ten lost workers"
    return record


def _done(mark: str) -> tuple[str, str]:
    if mark.startswith("expired-"):
        return "expired", "end"
    token, _, kind = mark.partition("/")
    return token, kind or "end"
