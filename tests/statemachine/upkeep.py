"""The second half of the model: what Monitor, Cleanup and the small services promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from pytask.states import Code

from .model import Partition
from .words import ENDED, FOREIGN, NOW, WAITING, Stamp


class Model(Partition):
    """One partition with all verbs."""

    def start_local(self, task_id: str, task: str, data: str, worker: str, token: str) -> bool:
        record = self.records.get(task_id)
        if record is not None:
            return record.get("run") == token
        self.records[task_id] = {
            "task": task, "data": data, "state": "RUNNING", "local": "true", "run": token,
            "worker": worker, "attempts": 1, "last_update": NOW,
        }  # fmt: skip
        self.tasks.add(task_id)
        self.leases[task_id] = NOW
        return True

    def pause(self, queue: str) -> Code:
        code = Code.ALREADY if queue in self.paused else Code.OK
        self.paused.add(queue)
        return code

    def resume(self, queue: str) -> Code:
        code = Code.OK if queue in self.paused else Code.ALREADY
        self.paused.discard(queue)
        return code

    def flush(self, queue: str) -> list[str]:
        """Remove what waits in a queue, and return the tasks that went."""
        gone: dict[str, None] = {}
        for task_id in (*self.queue(queue)[::-1], *self.set_aside(queue)):
            record = self.records.get(task_id)
            if record is None or record is FOREIGN or self.unvoid(task_id, queue):
                continue
            if record.get("state", "") in WAITING and ("state" in record or "task" in record):
                gone[task_id] = None
        self.queues[queue] = []
        self.missing[queue] = {}
        for task_id in gone:
            record = self.records.pop(task_id)
            for name in (*record.get("void", ()), record.get("queue", "default")):
                self.queues[name] = [one for one in self.queue(name) if one != task_id]
            if record.get("at_end"):
                self.end = [one for one in self.end if one != task_id]
            self.tasks.discard(task_id)
            self.delayed.pop(task_id, None)
        return list(gone)

    def promote(self, due: Sequence[str]) -> int:
        """Move the IDs whose time has come, in the order given."""
        moved = 0
        for task_id in due:
            del self.delayed[task_id]
            record = self.records.get(task_id, {})
            if record is FOREIGN or "task" not in record or record.get("state", "") not in WAITING:
                continue
            self._offer(task_id, record.get("queue", "default"), 0)
            moved += 1
        return moved

    def hasten(self, called: Sequence[str]) -> int:
        """Move those that a limit holds back and that wait for nothing else, the first in front."""
        held = []
        for task_id in called:
            record = self.records.get(task_id, {})
            until = self.delayed.get(task_id)
            if record is not FOREIGN and until is not None and record.get("held") == until:
                held.append(task_id)
        moved = 0
        for task_id in reversed(held):
            del self.delayed[task_id]
            record = self.records[task_id]
            if "task" in record and record.get("state", "") in WAITING:
                self._offer(task_id, record.get("queue", "default"), -1)
                moved += 1
        return moved

    def tick(
        self, name: str, expected: float | None, following: float, task_id: str, now: float
    ) -> tuple[bool, float | None]:
        """Move a schedule on; the first to expect its due time starts the task."""
        due = self.schedules.get(name)
        if expected is None and (due is None or due > following):
            self.schedules[name] = following
            return True, following
        if expected is None or due != expected or due > now:
            return False, due
        self.schedules[name] = following
        record = self.records.get(task_id, {})
        if task_id and record is not FOREIGN and not {"state", "task"} & record.keys():
            self.records[task_id] = {
                **record, "task": "t", "data": "{}", "state": "WAIT", "schedule": name,
            }  # fmt: skip
            self._offer(task_id, "default", 0)
        return True, following

    def reap(
        self, stale: Sequence[str], now: float, timeouts: tuple[float, float], dead: set[str],
        max_reaps: int, started: Mapping[str, float],
    ) -> list[tuple[str, Code]]:  # fmt: skip
        """Take back what is stale.

        Args:
            stale: IDs whose lease looks old, oldest first.
            now: The instant of the call.
            timeouts: Of tasks, and of dead workers.
            dead: Workers.
            max_reaps: Workers a task may cost.
            started: When each run was.
        """
        reaped, lost = [], dict[str, list[str]]()
        for task_id in stale:
            owner = self.records.get(task_id, {}).get("worker", "")
            code = self._reap(task_id, now, timeouts, dead)
            if code is not None:
                reaped.append((task_id, code))
            if code is Code.OK and self.state(task_id) == "RUNNING":
                lost.setdefault(owner, []).append(task_id)
        condemned = set[str]()
        for ids in lost.values():
            guilty = [one for one in ids if self.records[one]["reaps"] >= max_reaps]
            worst = [(self.records[one]["reaps"], started[one], one) for one in guilty]
            worst.sort(key=lambda one: one[:2])  # the later one, where they are equal
            condemned |= set(guilty) if max_reaps == 1 else {one[2] for one in worst[-1:]}
        all_lost = set(chain.from_iterable(lost.values()))
        in_order = [one for one in stale if one in all_lost]
        self._part(in_order, condemned, timeouts, max_reaps)
        return [(one, Code.DEAD if one in condemned else code) for one, code in reaped]

    def _reap(
        self, task_id: str, now: float, timeouts: tuple[float, float], dead: set[str]
    ) -> Code | None:
        """Take back one; what a worker is to be blamed for stays RUNNING, and its reaps count."""
        record = self.records.get(task_id, {})
        if record is FOREIGN or "state" not in record:
            self.leases.pop(task_id)
            self.tasks.discard(task_id)
            return Code.MISSING
        if record["state"] != "RUNNING":
            self.leases.pop(task_id)
            return Code.WRONG_STATE
        age = now - record.get("last_update", 0.0)
        if age <= timeouts[0] and not (record.get("worker") in dead and age > timeouts[1]):
            return None
        if record.get("local") == "true":
            del self.records[task_id]
            self.leases.pop(task_id)
            self.tasks.discard(task_id)
            return Code.REMOVED
        if record.get("control") == "stop":
            self._release(task_id)
            record["state"] = "STOPPED"
        else:
            record["reaps"] = record.get("reaps", 0) + 1
        return Code.OK

    def _part(
        self, lost: Sequence[str], condemned: set[str], timeouts: tuple[float, float],
        max_reaps: int,
    ) -> None:  # fmt: skip
        """Send each lost run where it belongs: to its end, to its queue, or there after a while."""
        probation = [
            one
            for one in lost
            if one not in condemned and self.records[one]["reaps"] >= max_reaps - 1
        ]
        for task_id in lost:
            record = self.records[task_id]
            token = record.get("run", "")
            self._release(task_id)
            if task_id in condemned:
                record.update(state="EXCEPTION", output="gave up", done=(token, "reap"))
                self._to_end(task_id)
                continue
            record["state"] = "WAIT"
            self.tasks.discard(task_id)
            if task_id in probation[1:]:
                apart = min(0.2, timeouts[0] / len(probation))
                self.delayed[task_id] = Stamp(probation.index(task_id) * apart)
            else:
                self.queue(record.get("queue", "default")).append(task_id)

    def give_back(self, worker: str, queues: Sequence[str], forget: bool, keep_ended: bool) -> int:
        returned = 0
        held = [] if keep_ended else self.end_claim(worker)
        once = list(dict.fromkeys(held))
        to_queue = [one for one in once if one not in self.end]
        for task_id in once:
            record = self.records.get(task_id, {})
            if record is FOREIGN or "state" not in record:
                continue
            record.pop("end_claim", None)
            record["at_end"] = True
            if task_id in to_queue:
                self.end.append(task_id)
                returned += 1
        if not keep_ended:
            self.end_claims[worker] = []
        for queue in queues:
            popped = self.claim_list(queue, worker)
            self.queue(queue).extend(popped)
            returned += len(popped)
            self.claims[queue, worker] = []
        if forget:
            for claimant in [one for one in self.memos if f"{one} ".startswith(f"{worker} ")]:
                del self.memos[claimant]
        return returned

    def sweep(self) -> set[tuple[str, str]]:
        """Mend the task set; returns rule and ID of each."""
        mended = set()
        for task_id in sorted(self.tasks):
            record = self.records.get(task_id)
            if record is FOREIGN:
                continue
            if record is None:
                mended.add(("no_record", task_id))
                self.tasks.discard(task_id)
                self.leases.pop(task_id, None)
                continue
            state = record.get("state", "")
            if state == "RUNNING":
                if task_id not in self.leases:
                    mended.add(("no_lease", task_id))
                    self.leases[task_id] = record["last_update"]
            elif state in ("WAIT", "RETRY") or (
                state in ENDED and record.get("cleanup") != "false"
            ):
                mended.add(("not_ours", task_id))
                self.tasks.discard(task_id)
        return mended

    def adopt(self, task_id: str, only_look: bool) -> Code:
        if (absent := self._absent(task_id)) is not None:
            return absent
        record = self.records[task_id]
        if "state" not in record:
            return Code.MISSING
        state, queue = record["state"], record.get("queue", "default")
        if task_id in self.tasks:
            return Code.WRONG_STATE
        if state in ("WAIT", "RETRY"):
            if task_id in self.delayed or task_id in self.queue(queue):
                return Code.WRONG_STATE
            if not only_look:
                self.unvoid(task_id, queue)
                self.queue(queue).append(task_id)
        elif state in ("RUNNING", "STOPPED") or record.get("cleanup") == "false":
            if not only_look:
                self.tasks.add(task_id)
        else:
            accounted = "end_claim" in record or "kept" in record
            if accounted or task_id in self.failed or task_id in self.end:
                return Code.WRONG_STATE
            if not only_look:
                record["at_end"] = True
                self.end.insert(0, task_id)
        return Code.OK

    def take_ended(self, worker: str, limit: int) -> list[str]:
        held = self.end_claim(worker)
        again, rest = held[-limit:], held[:-limit]
        fresh = [self.end.pop() for _ in range(min(limit - len(again), len(self.end)))]
        taken: list[str] = []
        kept = list(again)
        for at, task_id in enumerate([*reversed(again), *fresh]):
            record = self.records.get(task_id, FOREIGN)
            is_fit = self.state(task_id) in ENDED and record.get("cleanup") != "false"
            if is_fit and task_id not in taken:
                taken.append(task_id)
                record["end_claim"] = worker
            elif at < len(again):
                drop_last(kept, task_id)
        for task_id in {*again, *fresh}:
            record = self.records.get(task_id, FOREIGN)
            if record is not FOREIGN and (task_id in fresh or task_id not in self.end):
                record.pop("at_end", None)
        newly = [task_id for task_id in taken if task_id not in again]
        self.end_claims[worker] = [*reversed(newly), *rest, *kept]
        return taken

    def acknowledge(
        self,
        worker: str,
        ended: Sequence[tuple[str, object]],
        keep_failed: bool,
        keep_results: bool = False,
    ) -> list[Code]:
        """Confirm ends; each is an ID and the ``done`` its record had when it was taken."""
        codes = []
        held = self.end_claim(worker)
        for task_id, done in ended:
            record = self.records.get(task_id, {})
            if record is FOREIGN:
                code = Code.BAD_TYPE
            elif "state" not in record:
                code = Code.MISSING
            elif record.get("done") != done or record["state"] not in ENDED:
                code = Code.NOT_OWNER
            else:
                code = Code.OK
            codes.append(code)
            stands_for_another = code is Code.NOT_OWNER and record["state"] in ENDED
            if not stands_for_another or task_id in self.end:
                drop_last(held, task_id)
            if code is Code.NOT_OWNER and not stands_for_another and task_id not in self.end:
                record.pop("at_end", None)
            if code is not Code.OK:
                continue
            if record.pop("at_end", False):
                drop_last(self.end, task_id)
            self.tasks.discard(task_id)
            if record["state"] == "SUCCESS" and keep_results:
                record["kept"] = "1"
                record.pop("end_claim", None)
                self.failed.pop(task_id, None)
            elif record["state"] == "SUCCESS" or not keep_failed:
                del self.records[task_id]
                self.failed.pop(task_id, None)
            else:
                record.pop("end_claim", None)
                self.failed[task_id] = NOW
        return codes

    def return_ended(self, worker: str, task_ids: Sequence[str]) -> int:
        returned = 0
        held = self.end_claim(worker)
        for task_id in task_ids:
            if not drop_last(held, task_id):
                continue
            record = self.records.get(task_id, {})
            if (
                record is FOREIGN
                or "state" not in record
                or (record.get("at_end") and task_id in self.end)
            ):
                continue
            record.pop("end_claim", None)
            record["at_end"] = True
            self.end.insert(0, task_id)
            returned += 1
        return returned

    def forget_failed(self, old: Sequence[str]) -> int:
        for task_id in old:
            del self.failed[task_id]
            if self.state(task_id) in ("ERROR", "EXCEPTION", "REVOKED"):
                del self.records[task_id]
        return len(old)


def drop_last(entries: list[str], task_id: str) -> bool:
    """Remove the rightmost entry of an ID; say whether there was one."""
    for at in range(len(entries) - 1, -1, -1):
        if entries[at] == task_id:
            del entries[at]
            return True
    return False
