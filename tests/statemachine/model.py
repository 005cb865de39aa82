"""The key space of one partition as plain Python: what the store promises to make of it.

A model has the same verbs as the store. Each takes the same arguments, changes the model as the
design of the state machine says, and returns what the store has to answer. Nothing here talks to
Redis, and nothing is shared with the scripts.

Instants are compared by kind, not by value: a verb writes a :class:`Stamp`, "now" and so many
seconds later, and the machine replaces it by the instant it found in Redis once that was in range.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pytask.records import NewTask, Outcome, to_text
from pytask.states import Code

from .scan import Scan
from .words import EXPIRED_OUTPUT, FOREIGN, NOW, WAITING, Record, Stamp


class Memo(NamedTuple):
    """What the last claim of a worker got."""

    request: str
    task_ids: list[str]


@dataclass
class Partition:
    """Every key of a partition. Lists are in the order of Redis: taken from the right."""

    records: dict[str, Record] = field(default_factory=dict)
    queues: dict[str, list[str]] = field(default_factory=dict)
    claims: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    missing: dict[str, dict[str, Any]] = field(default_factory=dict)
    delayed: dict[str, Any] = field(default_factory=dict)
    end: list[str] = field(default_factory=list)
    end_claims: dict[str, list[str]] = field(default_factory=dict)
    tasks: set[str] = field(default_factory=set)
    leases: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, Any] = field(default_factory=dict)
    schedules: dict[str, float] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    memos: dict[str, Memo] = field(default_factory=dict)

    # Places

    def queue(self, name: str) -> list[str]:
        return self.queues.setdefault(name, [])

    def claim_list(self, queue: str, worker: str) -> list[str]:
        return self.claims.setdefault((queue, worker), [])

    def end_claim(self, worker: str) -> list[str]:
        return self.end_claims.setdefault(worker, [])

    def set_aside(self, queue: str) -> dict[str, Any]:
        return self.missing.setdefault(queue, {})

    def state(self, task_id: str) -> str | None:
        record = self.records.get(task_id)
        return record.get("state", "") if record is not None and record is not FOREIGN else None

    def _absent(self, task_id: str) -> Code | None:
        if self.records.get(task_id) is FOREIGN:
            return Code.BAD_TYPE
        return None if task_id in self.records else Code.MISSING

    # What people and clients ask for

    def enqueue(self, tasks: Sequence[NewTask], request: str) -> list[Code]:
        codes, seen = [], set()
        for task in tasks:
            old = self.records.get(task.task_id)
            if old is FOREIGN:
                codes.append(Code.BAD_TYPE)
            elif task.task_id in seen:
                codes.append(Code.EXISTS)
            elif old is not None and old.get("eid") == request:
                codes.append(Code.ALREADY)
            elif old is not None and (
                old.get("state") in ("WAIT", "RETRY", "RUNNING")
                or (not old.get("state") and "task" in old)
            ):
                codes.append(Code.EXISTS)
            else:
                codes.append(Code.OK)
            if codes[-1] is not Code.BAD_TYPE:
                seen.add(task.task_id)
        for task, code in zip(tasks, codes, strict=True):
            if code is Code.OK:
                self._create(task, request)
        return codes

    def _create(self, task: NewTask, request: str) -> None:
        task_id = task.task_id
        old = self.records.get(task_id, {})
        fresh: Record = {} if "state" in old or "void" in old else dict(old)
        if "state" in old or "void" in old:
            self.tasks.discard(task_id)
            self.failed.pop(task_id, None)
        fresh |= {"task": task.task, "data": task.data.decode(), "state": "WAIT", "eid": request}
        if task.queue != "default":
            fresh["queue"] = task.queue
        if not task.cleanup:
            fresh["cleanup"] = "false"
        if task.expires:
            fresh["expires"] = Stamp(task.expires)
        if old.get("at_end"):
            fresh["at_end"] = True
        if "void" in old:
            fresh["void"] = set(old["void"])
        self.records[task_id] = fresh
        if task.delay:
            self.delayed[task_id] = Stamp(task.delay)
        else:
            self._offer(task_id, task.queue, 0)

    def _offer(self, task_id: str, queue: str, at: int) -> None:
        """Put an ID on a queue, or let an entry that a stop made void serve again."""
        if not self.unvoid(task_id, queue):
            entries = self.queue(queue)
            entries.insert(at if at >= 0 else len(entries), task_id)

    def unvoid(self, task_id: str, queue: str) -> bool:
        record = self.records.get(task_id)
        if record is None or record is FOREIGN or queue not in record.get("void", ()):
            return False
        record["void"].discard(queue)
        if not record["void"]:
            del record["void"]
        return True

    def stop(self, task_id: str) -> Code:
        if (absent := self._absent(task_id)) is not None:
            return absent
        record = self.records[task_id]
        state = record.get("state", "")
        if state == "STOPPED":
            return Code.ALREADY
        if state == "RUNNING":
            record["control"] = "stop"
            return Code.SENT
        if state not in WAITING:
            return Code.WRONG_STATE
        record["state"] = "STOPPED"
        if self.delayed.pop(task_id, None) is None:
            record.setdefault("void", set()).add(record.get("queue", "default"))
        self.tasks.add(task_id)
        return Code.OK

    def reload(self, task_id: str) -> Code:
        if (absent := self._absent(task_id)) is not None:
            return absent
        record = self.records[task_id]
        if record.get("state") != "RUNNING":
            return Code.WRONG_STATE
        if record.get("control") != "stop":
            record["control"] = "reload"
        return Code.SENT

    def restart(self, task_id: str, states: Sequence[str], request: str) -> Code:
        if (absent := self._absent(task_id)) is not None:
            return absent
        record = self.records[task_id]
        state = record.get("state", "")
        if record.get("eid") == request:
            return Code.ALREADY
        if states and (state or "WAIT") not in states:
            return Code.WRONG_STATE
        if state in WAITING or state == "RUNNING":
            return Code.EXISTS
        for name in ("output", "reaps", "retries", "control", "expires", "end_claim", "kept"):
            record.pop(name, None)
        record.update(state="WAIT", eid=request, last_update=NOW)
        self.tasks.discard(task_id)
        self.failed.pop(task_id, None)
        self._offer(task_id, record.get("queue", "default"), 0)
        return Code.OK

    def remove(self, task_id: str, force: bool) -> Code:
        if self.records.get(task_id) is FOREIGN:
            return Code.BAD_TYPE
        record = self.records.get(task_id, {})
        if record.get("state") == "RUNNING" and not force:
            return Code.WRONG_STATE
        queues = set(record.get("void", ()))
        if record.get("state", "") in WAITING:
            queues.add(record.get("queue", "default"))
        for queue in queues:
            self.queues[queue] = [one for one in self.queue(queue) if one != task_id]
        if record.get("at_end"):
            self.end = [one for one in self.end if one != task_id]
        self.tasks.discard(task_id)
        for scores in (self.leases, self.failed, self.delayed):
            scores.pop(task_id, None)
        return Code.MISSING if self.records.pop(task_id, None) is None else Code.OK

    # What owners do

    def claim(
        self,
        worker: str,
        queues: Sequence[str],
        limit: int,
        request: str,
        grace_over: set[tuple[str, str]],
        waits_at: str = "",
    ) -> tuple[list[tuple[str, str, int]], list[tuple[str, str]], int]:
        """Return claimed (ID, token, attempts), rejected (ID, reason) and how many are set aside.

        ``grace_over`` names queue and ID of those whose time to get a record has passed.
        """
        claimant = f"{worker} {waits_at}".rstrip()
        memo = self.memos.get(claimant)
        if memo is not None and memo.request == request:
            return self._claimed_before(memo), [], 0
        if waits_at and memo is not None and request < memo.request:
            return [], [], 0
        scan = Scan(self, limit, grace_over)
        for queue in queues:
            if queue in self.paused:
                popped = self.claim_list(queue, worker)
                self.queue(queue).extend(popped)
                popped.clear()
                continue
            waiting = list(self.set_aside(queue))
            scan.drain(self.claim_list(queue, worker), queue)
            for task_id in waiting:
                if not scan.is_full:
                    scan.decide(task_id, queue, True)
            scan.drain(self.queue(queue), queue)
        takes = scan.takes
        claimed = [self._take(task_id, n, worker, request) for n, task_id in enumerate(takes, 1)]
        if takes or waits_at:
            self.memos[claimant] = Memo(request, takes)
        return claimed, scan.rejected, scan.aside

    def _claimed_before(self, memo: Memo) -> list[tuple[str, str, int]]:
        found = []
        for number, task_id in enumerate(memo.task_ids, 1):
            record = self.records.get(task_id, {})
            attempts = record.get("attempts", 0)
            token = f"{attempts}-{memo.request}{number:03x}"
            if record.get("state") == "RUNNING" and record.get("run") == token:
                found.append((task_id, token, attempts))
        return found

    def _take(self, task_id: str, number: int, worker: str, request: str) -> tuple[str, str, int]:
        record = self.records[task_id]
        attempts = record.get("attempts", 0) + 1
        token = f"{attempts}-{request}{number:03x}"
        if record.get("state") in ("STOPPED", "RETRY"):
            record.pop("output", None)
        record.update(state="RUNNING", run=token, worker=worker, attempts=attempts, last_update=NOW)
        record.pop("local", None)
        self.tasks.add(task_id)
        self.leases[task_id] = NOW
        return task_id, token, attempts

    def expire(self, task_id: str) -> None:
        self.records[task_id].update(
            state="REVOKED", output=EXPIRED_OUTPUT, done=("expired", "end")
        )
        self._to_end(task_id)

    def _to_end(self, task_id: str) -> None:
        record = self.records[task_id]
        if record.get("cleanup") == "false":
            self.tasks.add(task_id)
            return
        self.tasks.discard(task_id)
        if not record.get("at_end"):
            self.end.insert(0, task_id)
        record["at_end"] = True

    def check(self, task_id: str, token: str, kind: str) -> Code:
        """Whether a token may write; ``kind`` is what the caller would do with it."""
        record = self.records.get(task_id, {})
        if record is FOREIGN:
            return Code.BAD_TYPE
        if record.get("run") == token:
            return Code.OK if record.get("state") == "RUNNING" else Code.WRONG_STATE
        if record.get("done") == (token, kind):
            return Code.ALREADY
        if "run" in record:
            return Code.NOT_OWNER
        return Code.WRONG_STATE if "state" in record else Code.MISSING

    def heartbeat(self, runs: Iterable[tuple[str, str]]) -> list[tuple[str, Code, str]]:
        attention = []
        for task_id, token in runs:
            code = self.check(task_id, token, "end")
            control = ""
            if code is Code.OK:
                record = self.records[task_id]
                control = record.get("control", "")
                record["last_update"] = NOW
                self.leases[task_id] = NOW
            if code is not Code.OK or control:
                attention.append((task_id, code, control))
        return attention

    def finish(self, outcomes: Sequence[Outcome]) -> list[Code]:
        codes = []
        for task_id, token, state, output, delay, _ in outcomes:
            code = self.check(task_id, token, "end")
            codes.append(code)
            if code is Code.OK:
                self._finish(task_id, token, state.value, to_text(output), delay)
        return codes

    def _finish(self, task_id: str, token: str, state: str, output: str, delay: float) -> None:
        record = self.records[task_id]
        if state == "RETRY" and record.get("control") == "stop":
            state = "STOPPED"
        self._release(task_id)
        record.update(state=state, output=output, done=(token, "end"))
        if state == "RETRY":
            record["retries"] = record.get("retries", 0) + 1
            self.delayed[task_id] = Stamp(delay)
            self.tasks.discard(task_id)
        elif state == "STOPPED":
            self.tasks.add(task_id)
        else:
            self._to_end(task_id)

    def _release(self, task_id: str) -> None:
        for name in ("run", "worker", "control"):
            self.records[task_id].pop(name, None)
        self.leases.pop(task_id, None)

    def requeue(
        self, runs: Sequence[tuple[str, str]], held_back: float | None = None
    ) -> list[Code]:
        return [self._requeue(task_id, token, held_back) for task_id, token in runs]

    def _requeue(self, task_id: str, token: str, held_back: float | None) -> Code:
        code = self.check(task_id, token, "requeue")
        if code is not Code.OK:
            return code
        record = self.records[task_id]
        if record.get("local") == "true":
            del self.records[task_id]
            self.leases.pop(task_id, None)
            self.tasks.discard(task_id)
            return Code.REMOVED
        stopped = record.get("control") == "stop"
        self._release(task_id)
        record["done"] = (token, "requeue")
        if stopped:
            record["state"] = "STOPPED"
        else:
            record.update(state="WAIT", last_update=NOW)
            self.tasks.discard(task_id)
            if held_back is None:
                self.queue(record.get("queue", "default")).append(task_id)
            else:
                record["held"] = self.delayed[task_id] = Stamp(held_back, grid=5.0)
                record["attempts"] = max(0, record.get("attempts", 1) - 1)
        return code
