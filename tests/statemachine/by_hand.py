"""Rules: people with redis-cli, who make tasks, push IDs and damage things."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from .base import Base, picks
from .invariants import BY_HAND
from .site import QUEUES
from .words import FOREIGN


class ByHand(Base):
    def _meddle(self, pick: int) -> tuple[int, str]:
        self.begin(BY_HAND)
        at, task_id = self.place(pick)
        self.meddled.add(task_id)
        self.released(task_id)
        return at, task_id

    @rule(pick=picks, push=st.booleans())
    def make_a_task(self, pick: int, push: bool) -> None:
        """Write a record of task and data, nothing else, and push its ID at once or later."""
        at, task_id = self.place(pick)
        model = self.models[at]
        if task_id in model.records:
            return
        self._meddle(pick)
        names = self.site.names(self.site.partitions[at])
        self.site.call("HSET", names.record(task_id), "task", "lab/hand", "data", "{}")
        model.records[task_id] = {"task": "lab/hand", "data": "{}"}
        if push:
            self.site.call("LPUSH", names.new_queue(), task_id)
            model.queue("default").insert(0, task_id)

    @rule(pick=picks, queue=st.sampled_from(QUEUES))
    def push(self, pick: int, queue: str) -> None:
        """Push an ID, whatever it is: without a record, running, ended, or there already."""
        at, task_id = self._meddle(pick)
        names = self.site.names(self.site.partitions[at])
        self.site.call("LPUSH", names.new_queue(queue), task_id)
        self.models[at].queue(queue).insert(0, task_id)

    @rule(pick=picks)
    def give_up_waiting_for_a_record(self, pick: int) -> None:
        """Let the time be over that an ID without a record is given."""
        at, task_id = self.place(pick)
        model = self.models[at]
        for queue in QUEUES:
            if task_id in model.set_aside(queue):
                self.begin(BY_HAND)
                names = self.site.names(self.site.partitions[at])
                self.site.call("ZADD", names.missing(queue), 1, task_id)
                model.missing[queue][task_id] = 1.0

    @rule(pick=picks)
    def let_it_expire(self, pick: int) -> None:
        at, task_id = self.place(pick)
        record = self.models[at].records.get(task_id, {})
        if "state" not in record:
            return
        self.begin(BY_HAND)
        key = self.site.names(self.site.partitions[at]).record(task_id)
        self.site.call("HSET", key, "expires", "1")
        record["expires"] = 1.0

    @rule(pick=picks, damage=st.sampled_from(("delete", "replace", "lease", "set", "queue", "end")))
    def damage(self, pick: int, damage: str) -> None:
        """Delete a record under everybody's feet, or take its ID out of where it belongs."""
        at, task_id = self.place(pick)
        model = self.models[at]
        if task_id not in model.records:
            return
        self._meddle(pick)
        names = self.site.names(self.site.partitions[at])
        record, call = model.records[task_id], self.site.call
        if damage == "delete" or record is FOREIGN:
            call("DEL", names.record(task_id))
            del model.records[task_id]
        elif damage == "replace":
            call("SET", names.record(task_id), "something else")
            model.records[task_id] = FOREIGN
        elif damage == "lease":
            call("ZREM", names.leases, task_id)
            model.leases.pop(task_id, None)
        elif damage == "set":
            call("SREM", names.tasks, task_id)
            model.tasks.discard(task_id)
        elif damage == "queue":
            for queue in QUEUES:
                call("LREM", names.new_queue(queue), 0, task_id)
                model.queues[queue] = [one for one in model.queue(queue) if one != task_id]
        else:
            call("LREM", names.end_queue, 0, task_id)
            model.end = [one for one in model.end if one != task_id]

    @rule(pick=picks, where=st.sampled_from(("tasks", "leases", "delayed", "failed", "end")))
    def put_a_ghost(self, pick: int, where: str) -> None:
        """Enter an ID where it has no business."""
        at, task_id = self._meddle(pick)
        names, model = self.site.names(self.site.partitions[at]), self.models[at]
        call = self.site.call
        if where == "tasks":
            call("SADD", names.tasks, task_id)
            model.tasks.add(task_id)
        elif where == "leases":
            call("ZADD", names.leases, 1, task_id)
            model.leases[task_id] = 1.0
        elif where == "failed":
            call("ZADD", names.failed, 1, task_id)
            model.failed[task_id] = 1.0
        elif where == "delayed":
            call("ZADD", names.delayed, 1, task_id)
            model.delayed[task_id] = 1.0
        else:
            call("LPUSH", names.end_queue, task_id)
            model.end.insert(0, task_id)
