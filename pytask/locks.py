"""Locks of the whole fleet: one holder at a time, wherever it runs.

Identity: each acquisition has a token of its own. Authority: Redis decides, on its clock, until
when the lock is held; the local clock only makes the holder stop believing in it earlier. Failure:
a holder that dies loses the lock ``timeout`` seconds after its last renewal, and so does one that
is cut off from Redis, or whose process stands still. It learns that by ``lost`` or ``check()``, but
nobody can learn it in the very instant. What must not be written twice is therefore written with
``fence``, a number that grows with each acquisition, to something that refuses a smaller one.

One thread for each :class:`Locking` renews all its locks, in batches; it is a greenlet where gevent
has patched the standard library, and it ends when nothing is held.

Who waits asks again after a short random pause. A message on release would need a connection for
each process that waits, would be lost with it, and then need the asking all the same.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from types import TracebackType
from typing import Self

from pytask.exceptions import InvalidTask, LockLost, RedisError, TaskStateError, WaitTimeout
from pytask.limits import pool_of_lock
from pytask.policy import FAR
from pytask.records import check_task_id, new_request_id
from pytask.store import Store
from pytask.store.permits import Permit, PermitRequest

logger = logging.getLogger(__name__)

#: Seconds between two attempts of one that waits: from the first number, growing to the second.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
#: Part of its time-out after which a lock that was not renewed is given up for lost.
TRUSTED = 0.8
#: How often a lock is renewed within its time-out.
RENEWALS = 4
#: Seconds a release is repeated while Redis is away; then the lock runs out by itself.
LAST_PATIENCE = 1.0


class Lock:
    """A lock, used by ``with``; :meth:`pytask.PyTaskHelpers.lock` makes one.

    It may be acquired and released many times, one after the other, but not by two at a time.

    Attributes:
        name: What is locked.
        timeout: Seconds after which it is free when its holder has died.
    """

    def __init__(
        self, locks: Locking, name: str, timeout: float, wait: float | None, owner: str
    ) -> None:
        self.name = name
        self.timeout = timeout
        self._locks = locks
        self._wait = wait
        self._owner = owner
        self._partition = 0
        self._permit: Permit | None = None
        self._fence: int | None = None
        self._acked_at = 0.0
        self._is_lost = False
        self._pid = 0

    def __repr__(self) -> str:
        return f"<Lock {self.name!r} fence={self._fence}>"

    @property
    def fence(self) -> int:
        """The number of this acquisition: greater than that of any before, under this name.

        Raises:
            TaskStateError: The lock has not been acquired.
        """
        if self._fence is None:
            raise TaskStateError(f"lock {self.name!r} has not been acquired: it has no fence")
        return self._fence

    @property
    def held(self) -> bool:
        """Whether it is held, as far as this process can know."""
        return self._permit is not None and not self.lost

    @property
    def lost(self) -> bool:
        """Whether it could not be renewed in time, so that somebody else may hold it."""
        if self._permit is not None and not self._is_lost:
            self._is_lost = time.monotonic() - self._acked_at > TRUSTED * self.timeout
        return self._is_lost

    def check(self) -> None:
        """Make sure that it is held still.

        Raises:
            LockLost: It is not.
        """
        if self._permit is None or self.lost:
            raise LockLost(
                f"lock {self.name!r} is lost: it was not renewed within its timeout of "
                f"{self.timeout:g} s, and somebody else may hold it; fence {self._fence}"
                if self._permit is not None
                else f"lock {self.name!r} is not held"
            )

    def acquire(self) -> Self:
        """Wait for the lock and take it.

        Raises:
            WaitTimeout: Somebody else held it for all of ``wait`` seconds.
            TaskStateError: It is held by this very object.
            RedisUnavailable: Redis did not answer within ``redis_patience`` seconds.
            RedisRefused: Redis is full.
        """
        if self._permit is not None:
            raise TaskStateError(f"lock {self.name!r} is held by this object already")
        store = self._locks.store
        pool = pool_of_lock(self.name)
        self._partition = store.partition_of(pool)
        permit = Permit(pool, new_request_id(), self._owner)
        deadline = None if self._wait is None else time.monotonic() + self._wait
        pause = FIRST_PAUSE
        try:
            while not self._take(store, permit):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeout(
                        f"lock {self.name!r} was held by somebody else for {self._wait:g} s"
                    )
                seconds = random.uniform(0.5, 1.0) * pause
                time.sleep(seconds if left is None else min(seconds, left))
                pause = min(LONGEST_PAUSE, 1.5 * pause)
            self._locks._renewer.add(self)
        except WaitTimeout:
            raise
        except BaseException:
            # Interrupted, or without an answer: it may have been granted all the same.
            self._permit = None
            self._give_back(store, permit)
            raise
        return self

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held.

        Raises:
            LockLost: It was lost before.
        """
        permit, lost = self._permit, self.lost
        if permit is None:
            return
        self._locks._renewer.remove(self)
        self._permit = None
        if self._pid == os.getpid():  # a forked child must not release what its parent holds
            self._give_back(self._locks.store, permit)
        if lost:
            raise LockLost(
                f"lock {self.name!r} (fence {self._fence}) was lost before it was released: what "
                "was done meanwhile may have been done beside somebody else"
            )

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.release()
        except LockLost:
            if error is None:
                raise
            logger.warning("lock %r was lost before its block failed", self.name)

    def _take(self, store: Store, permit: Permit) -> bool:
        sent_at = time.monotonic()
        requests = [PermitRequest(permit, 1)]
        (answer,) = store.acquire_permits(self._partition, requests, self.timeout).answers
        if answer <= 0 or time.monotonic() - sent_at > TRUSTED * self.timeout:
            return False  # refused; or granted so late that it may have run out: ask once more
        self._permit, self._fence, self._acked_at = permit, answer, sent_at
        self._is_lost = False
        self._pid = os.getpid()
        return True

    def _give_back(self, store: Store, permit: Permit) -> None:
        try:
            store.patient(LAST_PATIENCE).release_permits(self._partition, [permit])
        except RedisError as error:
            logger.warning(
                "lock %r could not be released (%s); it is free in %.1f s",
                self.name,
                error,
                self.timeout,
            )

    # For the renewer.

    @property
    def renewal(self) -> tuple[int, Permit] | None:
        """What is to be renewed, with its partition; None if there is nothing."""
        return None if self._permit is None or self._is_lost else (self._partition, self._permit)

    def renewed(self, permit: Permit, sent_at: float, is_lost: bool) -> None:
        """Note the answer to a renewal."""
        if self._permit is permit:
            self._is_lost = self._is_lost or is_lost
            self._acked_at = sent_at


class Renewer:
    """Renews the locks of one process; a thread that lives as long as some are held.

    Args:
        locks: Whose store to use.
    """

    def __init__(self, locks: Locking) -> None:
        self._locks = locks
        self._changed = threading.Condition()
        self._held: dict[Lock, float] = {}
        self._thread: threading.Thread | None = None
        self._pid = 0

    def add(self, lock: Lock) -> None:
        """Renew a lock from now on."""
        with self._changed:
            if self._pid != os.getpid():
                # The thread of the parent is not in the child, nor are its locks the child's.
                self._thread, self._held, self._pid = None, {}, os.getpid()
            self._held[lock] = time.monotonic() + lock.timeout / RENEWALS
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pytask-locks", daemon=True)
                self._thread.start()
            else:
                self._changed.notify()

    def remove(self, lock: Lock) -> None:
        """Renew it no longer."""
        with self._changed:
            self._held.pop(lock, None)
            if not self._held:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._held:
                    self._thread = None
                    return
                wait = min(self._held.values()) - time.monotonic()
                if wait > 0:
                    self._changed.wait(wait)
                    continue
                now = time.monotonic()
                due = [lock for lock, at in self._held.items() if at - now < lock.timeout / 8]
                for lock in due:
                    self._held[lock] = now + lock.timeout / RENEWALS
            try:
                self._renew(due)
            except Exception:
                logger.exception("locks were not renewed; it is tried again")

    def _renew(self, due: list[Lock]) -> None:
        groups: dict[tuple[int, float], list[tuple[Lock, Permit]]] = {}
        for lock in due:
            renewal = lock.renewal
            if renewal is not None:
                partition, permit = renewal
                groups.setdefault((partition, lock.timeout), []).append((lock, permit))
        store = self._locks.store.patient(0)
        for (partition, timeout), entries in groups.items():
            sent_at = time.monotonic()
            try:
                lost = store.renew_permits(partition, [permit for _, permit in entries], timeout)
            except RedisError as error:
                logger.debug("locks not renewed: %s; they are tried again", error)
                continue
            for lock, permit in entries:
                lock.renewed(permit, sent_at, permit in lost)


class Locking:
    """Locks, as part of the helpers."""

    @property
    def store(self) -> Store:
        """Where the locks are."""
        raise NotImplementedError

    @property
    def _renewer(self) -> Renewer:
        # setdefault: two threads that come at once must not get two of them.
        renewer: Renewer = self.__dict__.setdefault("_made_renewer", Renewer(self))
        return renewer

    def lock(
        self, name: str, timeout: float = 10.0, wait: float | None = None, *, owner: str = ""
    ) -> Lock:
        """Return a lock that one holder at a time has, in the whole fleet.

        Example::

            with helpers.lock("invoices/2026", wait=5) as lock:
                write(fence=lock.fence)

        While it is held it is renewed by itself, for as long as it takes.

        Args:
            name: What is locked; any text up to 512 bytes.
            timeout: Seconds after which it is free when its holder has died.
            wait: Longest time to wait for it, in seconds; 0: one attempt; None: for ever.
            owner: Shown in Redis beside the holder; a task puts its ID there.

        Raises:
            InvalidTask: The name or a time cannot be used.
        """
        try:
            check_task_id(name)
        except InvalidTask as error:
            raise InvalidTask(f"name of a lock: {error}") from None
        for option, seconds in (("timeout", timeout), ("wait", wait)):
            if seconds is None and option == "wait":
                continue
            if (
                isinstance(seconds, bool)
                or not isinstance(seconds, int | float)
                or not 0 <= seconds < FAR
                or (option == "timeout" and seconds < 0.1)
            ):
                least = "0.1" if option == "timeout" else "0"
                raise InvalidTask(f"{option}={seconds!r} of lock {name!r}: seconds from {least}")
        return Lock(self, name, float(timeout), wait, owner)
