"""What the owner of runs does: claim them, keep their leases, end them or give them back.

Every verb here but the claim itself presents the run token. When the token is not the current one
the script writes nothing and says so; the caller drops the run and does not try again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytask.connection.errors import ScriptMissing
from pytask.exceptions import LeaseLost
from pytask.records import Beat, Claimed, ClaimReply, Outcome, Rejected, to_text
from pytask.scripts import load
from pytask.states import Code, State
from pytask.store.calls import MAX_BATCH, Argument, Calls, chunks, codes


class Ownership(Calls):
    """Verbs of a worker."""

    def claim(
        self,
        partition: int,
        *,
        worker: str,
        queues: Sequence[str],
        limit: int,
        request: str,
        waits_at: str = "",
    ) -> ClaimReply:
        """Take waiting tasks and become their owner.

        Eligible are tasks that wait, are due for another attempt or carry no state, and that have
        not expired. The queues are served in the order given; of a paused one nothing is taken.

        Args:
            partition: Where to look.
            worker: Who asks. One claim may be under way per worker, partition and ``waits_at``.
            queues: Names of queues.
            limit: Most tasks to take, up to 1,000.
            request: A new one for each logical claim; a repeat with the same one gets the same
                answer.
            waits_at: Repeats the claim of a :meth:`wait_and_claim` at this queue; with a limit of 0
                only what that may have got already is returned.
        """
        keys, args = self._claim_call(partition, worker, queues, limit, request, waits_at)
        return self._claim(keys, args)

    def wait_and_claim(
        self,
        partition: int,
        queue: str,
        *,
        worker: str,
        queues: Sequence[str],
        limit: int,
        request: str,
        seconds: float,
    ) -> ClaimReply:
        """Block until a task waits in a queue, or the time is up, and claim at once.

        The claim travels with the wait, so that its reply comes when the task does, a round trip
        earlier than if one followed the other. Not repeated: when it raises, :meth:`claim` with the
        same request and ``waits_at`` tells what became of it.

        Args:
            partition: Where.
            queue: Which queue to wait at.
            worker: Who asks.
            queues: Queues to claim from.
            limit: Most tasks to take.
            request: Greater, as a text, than any this worker has made at this queue.
            seconds: The longest wait.

        Raises:
            RedisUnavailable: The wait was cut short; something may have been claimed.
        """
        names = self._partition(partition)
        keys, args = self._claim_call(partition, worker, queues, limit, request, queue, waits=True)
        source, target = names.new_queue(queue), names.new_claim(queue, worker)
        script = load("claim")
        try:
            reply = self._link.blocking(
                seconds,
                *("BLMOVE", source, target, "RIGHT", "LEFT", seconds),
                then=("EVALSHA", script.sha, len(keys), *keys, *args),
            )
        except ScriptMissing:
            return self._claim(keys, args)
        return _claim_reply(reply)

    def _claim(self, keys: Sequence[str], args: Sequence[Argument]) -> ClaimReply:
        return _claim_reply(self._run("claim", keys, args))

    def _claim_call(
        self,
        partition: int,
        worker: str,
        queues: Sequence[str],
        limit: int,
        request: str,
        waits_at: str,
        *,
        waits: bool = False,
    ) -> tuple[list[str], list[Argument]]:
        names = self._partition(partition)
        keys = [names.claims, names.tasks, names.leases, names.end_queue, names.paused]
        for queue in queues:
            keys += (
                names.new_queue(queue),
                names.new_claim(queue, worker),
                names.missing(queue),
            )
        args: list[Argument] = [
            worker,
            request,
            names.record_prefix,
            self.keys.task_prefix,
            min(limit, MAX_BATCH),
            self.settings.missing_grace,
            waits_at,
            "1" if waits_at and not waits else "",
            *queues,
        ]
        return keys, args

    def may_claim(self, partition: int, *, worker: str, queues: Sequence[str]) -> bool:
        """Return whether a claim could find anything; also true while any queue is paused."""
        names = self._partition(partition)
        keys = [names.paused]
        for queue in queues:
            keys += (names.new_queue(queue), names.new_claim(queue, worker), names.missing(queue))
        return int(self._command("EXISTS", *keys)) > 0

    def wait_for_task(self, partition: int, queue: str, worker: str, seconds: float) -> bool:
        """Block until a task waits in a queue; its ID is moved to the worker's claim list.

        Not repeated: when it raises, an ID may have been moved all the same, and the caller's next
        claim finds it.

        Returns:
            Whether something was moved.

        Raises:
            RedisUnavailable: The wait was cut short.
        """
        names = self._partition(partition)
        moved = self._link.blocking(
            seconds,
            "BLMOVE",
            names.new_queue(queue),
            names.new_claim(queue, worker),
            "RIGHT",
            "LEFT",
            seconds,
        )
        return moved is not None

    def give_back(
        self,
        partition: int,
        *,
        worker: str,
        queues: Sequence[str],
        forget: bool = False,
        keep_ended: bool = False,
    ) -> int:
        """Return popped but unclaimed IDs to the front of their queues, and those of a Cleanup.

        Args:
            partition: Where.
            worker: Whose claim lists.
            queues: The queues it takes from.
            forget: It will not come back: drop the memory of its last claim too.
            keep_ended: Leave alone what a Cleanup of this worker is dealing with.

        Returns:
            How many IDs were returned.
        """
        names = self._partition(partition)
        keys = [names.claims, names.end_claim(worker), names.end_queue]
        for queue in queues:
            keys += (names.new_claim(queue, worker), names.new_queue(queue))
        args: list[Argument] = [
            worker,
            "1" if forget else "",
            names.record_prefix,
            "1" if keep_ended else "",
        ]
        returned: int = self._run("give_back", keys, args)
        return returned

    def start_local(self, task_id: str, task: str, data: bytes, worker: str, token: str) -> Claimed:
        """Create a task that is bound to this worker and owned by it at once.

        Raises:
            LeaseLost: A task of that ID exists.
        """
        names = self.keys.of(task_id)
        keys = [names.record(task_id), names.tasks, names.leases]
        if self._run("start_local", keys, [task_id, token, task, data, worker]) < 0:
            raise LeaseLost(f"local task {task_id} was not started: a task of that ID exists")
        return Claimed(task_id, token, task, data, 1, b"", True)

    def heartbeat(self, partition: int, runs: Sequence[tuple[str, str]]) -> list[Beat]:
        """Refresh the leases of runs.

        Args:
            partition: Where they live.
            runs: ID and token of each.

        Returns:
            Only the runs that need attention, the lost ones and those with a pending control.
        """
        names = self._partition(partition)
        beats: list[Beat] = []
        for batch in chunks(runs, self.settings.heartbeat_batch):
            keys = [names.leases, *(names.record_prefix + task_id for task_id, _ in batch)]
            reply = self._run("heartbeat", keys, [part for run in batch for part in run])
            for at in range(0, len(reply), 3):
                task_id, token = batch[reply[at]]
                beats.append(Beat(task_id, token, Code(reply[at + 1]), to_text(reply[at + 2])))
        return beats

    def read_run(self, claimed: Claimed) -> Claimed:
        """Return the run with the task and data its record has now, for a reload.

        Raises:
            LeaseLost: The run is no longer ours.
        """
        key = self.keys.of(claimed.task_id).record(claimed.task_id)
        run, state, task, data, overrides, retries = self._command(
            "HMGET", key, "run", "state", "task", "data", "policy", "retries"
        )
        if run != claimed.token.encode() or state != State.RUNNING.value.encode():
            raise LeaseLost(f"task {claimed.task_id} is owned by another run now")
        policy = (
            b"" if overrides is retries is None else b"%s %s" % (retries or b"0", overrides or b"")
        )
        return claimed._replace(task=to_text(task or b""), data=data or b"", policy=policy)

    def finish(self, partition: int, outcomes: Sequence[Outcome]) -> list[Code]:
        """Store how runs ended, move them where they belong and publish their end events.

        Returns:
            For each its code, ``OK``, ``ALREADY``, or why nothing was written.
        """
        names = self._partition(partition)
        fixed = [names.tasks, names.leases, names.end_queue, names.delayed]
        prefix = names.record_prefix
        result: list[Code] = []
        for batch in chunks(outcomes, self.settings.finish_batch):
            args: list[Argument] = [self.keys.task_prefix]
            for outcome in batch:
                args += (
                    outcome.task_id,
                    outcome.token,
                    outcome.state.value,
                    outcome.output,
                    outcome.error or outcome.delay,
                )
            keys = fixed + [prefix + outcome.task_id for outcome in batch]
            result += codes(self._run("finish", keys, args))
        return result

    def requeue(
        self,
        partition: int,
        runs: Sequence[tuple[str, str]],
        held_back: Sequence[float | None] = (),
    ) -> list[Code]:
        """Give runs back so that any worker takes them next; local ones are removed.

        Args:
            partition: Where they live.
            runs: ID and token of each.
            held_back: For each run that has not begun, because a limit holds its task back, the
                seconds it is to wait in the delayed set; None for the others. None given: none.

        Returns:
            For each its code, ``OK``, ``REMOVED``, ``ALREADY``, or why nothing was written.
        """
        names = self._partition(partition)
        fixed = [names.tasks, names.leases, names.new_queue(), names.delayed]
        entries = list(zip(runs, held_back or [None] * len(runs), strict=True))
        result: list[Code] = []
        for batch in chunks(entries, self.settings.finish_batch):
            args: list[Argument] = [self.keys.task_prefix]
            for (task_id, token), seconds in batch:
                args += (task_id, token, "" if seconds is None else seconds)
            keys = fixed + [names.record_prefix + task_id for (task_id, _), _ in batch]
            result += codes(self._run("requeue", keys, args))
        return result


def _claim_reply(reply: Sequence[Any]) -> ClaimReply:
    more, set_aside, claimed, rejected, paused = reply
    held_back = [to_text(queue) for queue in paused]
    return ClaimReply(_claimed(claimed), _rejected(rejected), bool(more), set_aside, held_back)


def _claimed(reply: Sequence[Any]) -> list[Claimed]:
    claimed = []
    # Runs share the text of their name, which each keeps for as long as it lasts.
    names: dict[bytes, str] = {}
    for at in range(0, len(reply), 6):
        task_id, token, task, data, attempts, policy = reply[at : at + 6]
        name = names.get(task)
        if name is None:
            name = names[task] = to_text(task)
        claimed.append(Claimed(to_text(task_id), token.decode(), name, data, int(attempts), policy))
    return claimed


def _rejected(reply: Sequence[bytes]) -> list[Rejected]:
    texts = [to_text(value) for value in reply]
    return [Rejected(texts[at], texts[at + 1]) for at in range(0, len(texts), 2)]
