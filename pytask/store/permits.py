"""Permits: who may run under a limit, who holds a lock, and who waits.

A pool of permits lives in the partition of its name, which need not be that of the tasks that take
them. Each verb takes what concerns one partition, for any number of its pools.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pytask.records import to_text
from pytask.store.calls import MAX_BATCH, Argument, Calls, chunks

#: Seconds a waiting task has to fetch the permit it was handed; then it goes to the next one.
CALL_SECONDS = 5.0
#: Seconds after which those who wait are forgotten if nobody has entered. Each comes back by itself
#: before, when its time in the delayed set is over.
FORGET_WAITING = 900


class Permit(NamedTuple):
    """A permit somebody holds or asks for.

    Attributes:
        pool: Of which pool.
        token: Names the holder; another one for each run and each lock.
        owner: The task it is for, for people to see.
    """

    pool: str
    token: str
    owner: str


class PermitRequest(NamedTuple):
    """Asks for a permit of a pool that has ``limit`` of them."""

    permit: Permit
    limit: int


class WaitingTask(NamedTuple):
    """A task that is to be called when ``pool`` has fewer than ``limit`` holders."""

    pool: str
    task_id: str
    limit: int


class Grants(NamedTuple):
    """What came of requests.

    Attributes:
        answers: For each request its fence, greater than 0; or how many tasks wait, as a number
            below 1: it was refused.
        called: Tasks that have been handed a permit and are to be hastened.
    """

    answers: list[int]
    called: list[str]


class Released(NamedTuple):
    """What a release has set in motion.

    Attributes:
        waiting: How many tasks still wait, by pool.
        called: Tasks that have been handed a permit and are to be hastened.
    """

    waiting: dict[str, int]
    called: list[str]


class Permits(Calls):
    """Verbs of limits and locks."""

    def acquire_permits(
        self, partition: int, requests: Sequence[PermitRequest], seconds: float
    ) -> Grants:
        """Take permits, as far as there are any; what was granted before is extended.

        Args:
            partition: Where the pools live.
            requests: What is asked for, the first first.
            seconds: How long they are held unless they are renewed.
        """
        answers: list[int] = []
        called: list[str] = []
        names = self._partition(partition)
        for batch in chunks(requests, MAX_BATCH):
            pools = _numbered(request.permit.pool for request in batch)
            args: list[Argument] = [seconds, CALL_SECONDS]
            for (pool, token, owner), limit in batch:
                args += (pools[pool], token, owner, limit)
            keys = [names.fence, *self._pairs(partition, pools)]
            granted, ids = self._run("acquire_permits", keys, args)
            answers += granted
            called += [to_text(one) for one in ids]
        return Grants(answers, called)

    def renew_permits(
        self, partition: int, permits: Sequence[Permit], seconds: float
    ) -> list[Permit]:
        """Hold permits for longer.

        Args:
            partition: Where their pools live.
            permits: Which.
            seconds: How long from now.

        Returns:
            Those that are lost; they may have been granted to others since.
        """
        names = self._partition(partition)
        lost: list[Permit] = []
        for batch in chunks(permits, MAX_BATCH):
            pools = _numbered(permit.pool for permit in batch)
            args: list[Argument] = [seconds]
            for pool, token, owner in batch:
                args += (pools[pool], token, owner)
            reply = self._run("renew_permits", [names.permits(pool) for pool in pools], args)
            lost += [batch[number] for number in reply]
        return lost

    def release_permits(
        self,
        partition: int,
        permits: Sequence[Permit] = (),
        entering: Sequence[WaitingTask] = (),
        pools: Iterable[str] = (),
    ) -> Released:
        """Give permits back, note who waits, and hand what is free to those whose turn it is.

        Args:
            partition: Where the pools live.
            permits: What is given back; nothing happens to one that is not held any more.
            entering: Tasks that wait from now on; those that do already keep their place.
            pools: More pools to look at.
        """
        numbered = _numbered(
            [
                *(permit.pool for permit in permits),
                *(one.pool for one in entering),
                *pools,
            ]
        )
        args: list[Argument] = [CALL_SECONDS, FORGET_WAITING, len(permits)]
        for pool, token, owner in permits:
            args += (numbered[pool], token, owner)
        for pool, task_id, limit in entering:
            args += (numbered[pool], limit, task_id)
        waiting, called = self._run("release_permits", self._pairs(partition, numbered), args)
        return Released(
            dict(zip(numbered, waiting, strict=True)), [to_text(task_id) for task_id in called]
        )

    def _pairs(self, partition: int, pools: Iterable[str]) -> list[str]:
        names = self._partition(partition)
        return [key for pool in pools for key in (names.permits(pool), names.waiting(pool))]


def _numbered(pools: Iterable[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for pool in pools:
        numbers.setdefault(pool, len(numbers) + 1)
    return numbers
