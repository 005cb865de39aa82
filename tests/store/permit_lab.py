"""What the tests of the three scripts of permits share."""

import time
from typing import Any

from pytask.store.permits import Permit, PermitRequest, WaitingTask

from .lab import Lab

#: A pool, before it is given a name that lives in the partition of the lab.
POOL = "limit:pool"


class PermitLab:
    """A pool in the partition of a lab.

    Attributes:
        pool: Its name.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.pool = lab.id(POOL)
        self.names = lab.names

    def permit(self, owner: str, token: str = "", pool: str = "") -> Permit:
        return Permit(pool or self.pool, token or f"token-{owner}", owner)

    def acquire(self, *owners: str, limit: int = 1, seconds: float = 5.0, store: Any = None) -> Any:
        requests = [PermitRequest(self.permit(owner), limit) for owner in owners]
        return (store or self.lab.store).acquire_permits(self.lab.partition, requests, seconds)

    def granted(self, *owners: str, limit: int = 1) -> list[bool]:
        return [answer > 0 for answer in self.acquire(*owners, limit=limit).answers]

    def renew(self, *owners: str, seconds: float = 5.0, store: Any = None) -> list[str]:
        permits = [self.permit(owner) for owner in owners]
        lost = (store or self.lab.store).renew_permits(self.lab.partition, permits, seconds)
        return [permit.owner for permit in lost]

    def release(self, *owners: str, entering: Any = (), store: Any = None, limit: int = 1) -> Any:
        permits = [self.permit(owner) for owner in owners]
        waiting = [WaitingTask(self.pool, one, limit) for one in entering]
        return (store or self.lab.store).release_permits(
            self.lab.partition, permits, waiting, [self.pool]
        )

    @property
    def holders(self) -> dict[str, float]:
        """Who holds a permit, and for how many seconds more."""
        scores = self.lab.scores(self.names.permits(self.pool))
        return {str(holder): float(until) - time.time() for holder, until in scores.items()}

    @property
    def waiting(self) -> list[str]:
        found = self.lab.call("ZRANGE", self.names.waiting(self.pool), 0, -1)
        return [one.decode() for one in found]

    def expire(self, owner: str) -> None:
        """Let the time of a holder be over."""
        holder = f"token-{owner} {owner}" if owner[:1] != " " else owner
        self.lab.call("ZADD", self.names.permits(self.pool), 1_000, holder)
