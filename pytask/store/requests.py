"""What clients and people ask for: start, stop, reload, restart, remove."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pytask.keys import DEFAULT_QUEUE
from pytask.records import NewTask, new_request_id
from pytask.serializers import encode_event
from pytask.states import Code, State
from pytask.store.calls import Argument, Calls, Counted, chunks, codes

#: Tasks per call of ``enqueue``: long enough to hide the round-trip, short enough (about 1 ms of
#: Redis) not to delay others.
ENQUEUE_BATCH = 400


class Requests(Calls):
    """Verbs that need no ownership."""

    def enqueue(self, tasks: Sequence[NewTask]) -> list[Code]:
        """Create tasks and put them on their queues, in the order given.

        A task whose ID is waiting or running is left alone; one that has ended or was stopped
        starts afresh.

        Args:
            tasks: Any number; they are sent in batches per partition.

        Returns:
            For each its code, ``OK``, ``ALREADY`` (a repeat of this call found it done), ``EXISTS``
            (left alone) or ``BAD_TYPE`` (its key holds another type).
        """
        if len(tasks) == 1:
            partition = self.keys.partition_of(tasks[0].task_id)
            return self._enqueue_batch(partition, tasks)
        result: list[Code] = [Code.OK] * len(tasks)
        for partition, indexes in self._by_partition(tasks).items():
            for batch in chunks(indexes, ENQUEUE_BATCH):
                wanted = [tasks[index] for index in batch]
                reply = self._enqueue_batch(partition, wanted)
                for index, code in zip(batch, reply, strict=True):
                    result[index] = code
        return result

    def _by_partition(self, tasks: Sequence[NewTask]) -> Mapping[int, Sequence[int]]:
        if len(self.keys.partitions) == 1:
            return {0: range(len(tasks))}
        indexes: dict[int, list[int]] = defaultdict(list)
        for index, task in enumerate(tasks):
            indexes[self.keys.partition_of(task.task_id)].append(index)
        return indexes

    def _enqueue_batch(self, partition: int, tasks: Sequence[NewTask]) -> list[Code]:
        names = self._partition(partition)
        replicas = self.settings.wait_replicas
        args: list[Argument] = [len(tasks), new_request_id(), "1" if replicas else ""]
        args += (self.keys.fleet_channel, self.keys.wake_channel, partition, names.record_prefix)
        keys = [names.tasks, names.delayed, names.failed]
        keys += [names.record_prefix + task.task_id for task in tasks]
        # What tasks have in common is sent once: each argument costs both ends.
        options: list[Argument] = []
        begins: dict[tuple[Argument, ...], int] = {}
        queues: list[str] = []
        for task in tasks:
            shared = task.task, *task[3:]
            if shared not in begins:
                begins[shared] = len(options) + 1
                if task.queue not in queues:
                    queues.append(task.queue)
                options += (task.task, queues.index(task.queue) + 1, *_options(task))
            args += (task.data, begins[shared])
        args += options
        keys += [names.new_queue(queue) for queue in queues]
        return codes(self._run("enqueue", keys, args, replicas))

    def stop(self, task_id: str) -> Code:
        """Stop a waiting task, or tell the worker of a running one to stop it.

        Returns:
            ``OK`` stopped, ``SENT`` its worker was told, ``ALREADY`` stopped before,
            ``WRONG_STATE`` ended, ``MISSING`` or ``BAD_TYPE``.
        """
        names = self.keys.of(task_id)
        keys = [names.record(task_id), names.tasks, names.delayed]
        return Code(self._run("stop", keys, [task_id, self.keys.task_prefix]))

    def reload(self, task_id: str) -> Code:
        """Tell the worker of a running task to start it anew with fresh data.

        Returns:
            ``SENT``, ``WRONG_STATE`` (not running), ``MISSING`` or ``BAD_TYPE``.
        """
        args = [task_id, self.keys.task_prefix, new_request_id()]
        return Code(self._run("reload", [self.keys.of(task_id).record(task_id)], args))

    def restart(self, task_id: str, states: Iterable[State] = ()) -> Code:
        """Put a stopped or ended task back on its queue.

        Args:
            task_id: The task.
            states: The states it may be restarted from; none given: any.

        Returns:
            ``OK``, ``ALREADY`` (by a repeat of this call), ``EXISTS`` (waiting or running, left
            alone), ``WRONG_STATE`` (not among ``states``), ``MISSING`` or ``BAD_TYPE``.
        """
        names = self.keys.of(task_id)
        keys = [names.record(task_id), names.tasks, names.new_queue(), names.failed]
        args = [task_id, new_request_id(), self.keys.fleet_channel, *map(str, states)]
        return Code(self._run("restart", keys, args))

    def remove(self, task_id: str, force: bool = False, only_failed: bool = False) -> Code:
        """Forget a task and its record.

        Args:
            task_id: The task.
            force: Remove a running task too; its worker finds the lease lost and stops it.
            only_failed: Remove only a failure that is kept; others are ``WRONG_STATE``.

        Returns:
            ``OK``, ``ALREADY`` (it is gone, and an attempt of this call whose reply was lost may
            have done it), ``MISSING``, ``WRONG_STATE`` (running) or ``BAD_TYPE``.
        """
        names = self.keys.of(task_id)
        keys = [
            names.record(task_id),
            names.tasks,
            names.leases,
            names.failed,
            names.delayed,
            names.new_queue(),
            names.end_queue,
        ]
        args = [
            task_id,
            "1" if force else "",
            self.keys.task_prefix,
            "1" if only_failed else "",
        ]
        # Nothing is left by which the script could know its repeat; who counts the attempts can.
        counted = Counted(self._link)
        code = self.using(counted)._run("remove", keys, args)
        return Code.ALREADY if code == Code.MISSING and counted.attempts > 1 else Code(code)

    def publish(self, task_id: str, event: str, data: bytes = b"null") -> None:
        """Tell whoever watches the task; perhaps nobody does.

        Args:
            task_id: The task.
            event: Name of the event.
            data: Encoded already, in either format.
        """
        message = encode_event(event, data)
        keys = [self.keys.of(task_id).record(task_id)]
        self._run("publish", keys, [self.keys.events_channel(task_id), message])

    def write_fields(self, task_id: str, values: Mapping[str, str | bytes]) -> None:
        """Set fields of a record by hand; creates the record if there is none."""
        args: list[Argument] = [self.keys.of(task_id).record(task_id)]
        for name, value in values.items():
            args += (name, value)
        self._command("HSET", *args)


def _options(task: NewTask) -> list[Argument]:
    """Return how many options of a task differ from the default, and name and value of each."""
    options: list[Argument] = []
    if task.at:
        options += ("at", f"{task.at:.3f}")
    elif task.delay:
        options += ("delay", task.delay)
    if task.expires:
        options += ("expires", task.expires)
    if task.queue != DEFAULT_QUEUE:
        options += ("queue", task.queue)
    if not task.cleanup:
        options += ("cleanup", "false")
    if task.policy:
        options += ("policy", task.policy)
    if task.from_task:
        options += ("from_task", task.from_task)
    return [len(options) // 2, *options]
