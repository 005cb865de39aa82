"""Rules: limits and locks, beside a small model of two pools of permits."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from pytask.store import Store
from pytask.store.permits import Permit, PermitRequest, WaitingTask

from .base import Base, fates
from .faults import Fate

#: Permits of each pool.
SIZE = 2
#: Longer than any history.
HOLD = 1_000.0

numbers = st.integers(0, 5)
several = st.lists(numbers, min_size=1, max_size=3, unique=True)
places = st.integers(0, 1)


@dataclass
class Pool:
    """Who holds a permit: a number, or its negative less one if it was handed over only."""

    name: str
    holders: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)

    def call(self) -> list[str]:
        called = []
        while self.waiting and len(self.holders) < SIZE:
            number = self.waiting.pop(0)
            self.holders.add(-1 - number)
            called.append(f"p{number}")
        return called

    def acquire(self, wanted: list[int]) -> tuple[list[bool], list[str]]:
        called = self.call()
        granted = []
        for number in wanted:
            if number not in self.holders:
                self.holders.discard(-1 - number)
            granted.append(number in self.holders or len(self.holders) < SIZE)
            if granted[-1]:
                self.holders.add(number)
        return granted, called

    def release(self, given: list[int]) -> list[str]:
        self.holders.difference_update(given)
        return self.call()

    def enter(self, number: int) -> list[str]:
        if number not in self.waiting:
            self.waiting.append(number)
        return self.call()


class Permits(Base):
    """I17: no pool has more holders than permits, and nobody who waits is overtaken."""

    @property
    def pools(self) -> list[Pool]:
        found: list[Pool] | None = self.__dict__.get("_pools")
        if found is None:
            found = self.__dict__["_pools"] = [Pool(name) for name in self.site.pools]
            self._fence = 0
        return found

    def _permit(self, pool: Pool, number: int) -> Permit:
        return Permit(pool.name, f"t{number}", f"p{number}")

    @rule(at=places, wanted=several, fate=fates)
    def acquire_permits(self, at: int, wanted: list[int], fate: Fate) -> None:
        self.begin("acquire_permits")
        pool, partition = self.pools[at], self.site.partitions[0]
        requests = [PermitRequest(self._permit(pool, one), SIZE) for one in wanted]
        fences: list[int] = []

        def in_redis(store: Store) -> tuple[list[bool], list[str]]:
            grants = store.acquire_permits(partition, requests, HOLD)
            fences[:] = [one for one in grants.answers if one > 0]
            return [one > 0 for one in grants.answers], grants.called

        self.repeatedly(fate, in_redis, lambda: pool.acquire(wanted))
        assert fences == sorted(set(fences)), "a fence was given twice"
        assert not fences or fences[0] > self._fence, "a fence did not grow"
        self._fence = max([self._fence, *fences])
        self._compare()

    @rule(at=places, kept=several, fate=fates)
    def renew_permits(self, at: int, kept: list[int], fate: Fate) -> None:
        self.begin("renew_permits")
        pool, partition = self.pools[at], self.site.partitions[0]
        permits = [self._permit(pool, one) for one in kept]
        self.repeatedly(
            fate,
            lambda store: [one.owner for one in store.renew_permits(partition, permits, HOLD)],
            lambda: [f"p{one}" for one in kept if one not in pool.holders],
        )
        self._compare()

    @rule(at=places, given=several, fate=fates)
    def release_permits(self, at: int, given: list[int], fate: Fate) -> None:
        self.begin("release_permits")
        pool, partition = self.pools[at], self.site.partitions[0]
        permits = [self._permit(pool, one) for one in given]
        self.repeatedly(
            fate,
            lambda store: store.release_permits(partition, permits).called,
            lambda: pool.release(given),
        )
        self._compare()

    @rule(at=places, number=numbers, fate=fates)
    def wait_for_a_permit(self, at: int, number: int, fate: Fate) -> None:
        self.begin("release_permits")
        pool, partition = self.pools[at], self.site.partitions[0]
        entering = [WaitingTask(pool.name, f"p{number}", SIZE)]
        self.repeatedly(
            fate,
            lambda store: store.release_permits(partition, entering=entering).called,
            lambda: pool.enter(number),
        )
        self._compare()

    @precondition(lambda self: any(pool.holders for pool in self.pools))
    @rule(at=places, number=numbers)
    def a_holder_dies(self, at: int, number: int) -> None:
        """Let the time of a holder be over; the next one to look finds its permit free."""
        pool = self.pools[at]
        if not pool.holders:
            return
        self.begin("expiry")
        holder = sorted(pool.holders)[number % len(pool.holders)]
        names = self.site.names(self.site.partitions[0])
        self.site.call("ZADD", names.permits(pool.name), 1, _written(holder))
        store, partition = self.site.calm, self.site.partitions[0]
        pool.holders.discard(holder)
        assert store.release_permits(partition, pools=[pool.name]).called == pool.call()
        self._compare()

    def _compare(self) -> None:
        names = self.site.names(self.site.partitions[0])
        for pool in self.pools:
            held = self.site.call("ZRANGE", names.permits(pool.name), 0, -1)
            assert {one.decode() for one in held} == {_written(one) for one in pool.holders}
            assert len(held) <= SIZE, f"{len(held)} hold {SIZE} permits (I17)"
            waiting = self.site.call("ZRANGE", names.waiting(pool.name), 0, -1)
            assert [one.decode() for one in waiting] == [f"{SIZE} p{one}" for one in pool.waiting]


def _written(holder: int) -> str:
    return f"t{holder} p{holder}" if holder >= 0 else f" p{-1 - holder}"
