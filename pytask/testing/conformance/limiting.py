"""What limits and locks rely on: permits, who waits for them, and calls from the delayed set."""

from __future__ import annotations

from pytask.states import Code
from pytask.store.permits import Permit, PermitRequest, WaitingTask
from pytask.testing.conformance.site import Site, Sited

_POOL = "lock:conformance"


class Limiting(Sited):
    """Who may run under a limit, and who is next."""

    def acquire(self, site: Site, *owners: str, limit: int = 1, seconds: float = 60.0) -> list[int]:
        """Ask for a permit for each owner; a fence, or less than 1 if it is refused."""
        requests = [PermitRequest(Permit(_POOL, f"of-{one}", one), limit) for one in owners]
        place = site.store.partition_of(_POOL)
        return site.store.acquire_permits(place, requests, seconds).answers

    def test_no_more_permits_are_held_than_the_limit_allows(self, site: Site) -> None:
        first, second, third = self.acquire(site, "a", "b", "c", limit=2)
        assert 0 < first < second
        assert third < 1
        (again,) = self.acquire(site, "a", limit=2)
        assert again > second

    def test_a_permit_that_is_not_renewed_runs_out(self, site: Site) -> None:
        place, permit = site.store.partition_of(_POOL), Permit(_POOL, "of-a", "a")
        self.acquire(site, "a", seconds=0.2)
        assert site.store.renew_permits(place, [permit], 0.3) == []
        site.sees(lambda: self.acquire(site, "b")[0] > 0)
        assert site.store.renew_permits(place, [permit], 60.0) == [permit]

    def test_a_permit_that_is_given_back_goes_to_who_waits_longest(self, site: Site) -> None:
        place, permit = site.store.partition_of(_POOL), Permit(_POOL, "of-a", "a")
        self.acquire(site, "a")
        waiting = [WaitingTask(_POOL, one, 1) for one in ("second", "first")]
        assert site.store.release_permits(place, (), waiting[1:]).called == []
        assert site.store.release_permits(place, (), waiting[:1]).waiting == {_POOL: 2}
        assert site.store.release_permits(place, [permit]).called == ["first"]
        assert self.acquire(site, "newcomer", "first")[0] < 1

    def test_what_a_limit_holds_back_counts_no_attempt_and_can_be_called(self, site: Site) -> None:
        run = site.running()
        pairs = [(run.task_id, run.token)]
        assert site.store.requeue(site.partition, pairs, [60.0]) == [Code.OK]
        assert (site.state(run.task_id), site.claim().claimed) == ("WAIT", [])
        assert site.store.hasten([run.task_id]) == 1
        (again,) = site.claim().claimed
        assert (again.task_id, again.attempts) == (run.task_id, 1)
