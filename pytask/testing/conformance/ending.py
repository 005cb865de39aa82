"""What Cleanup, Monitor and people rely on: ends, retries, schedules, the registry."""

from __future__ import annotations

import pytest

from pytask.records import Ended
from pytask.states import Code, State
from pytask.store import Store
from pytask.testing.conformance.site import Site, Sited


class Ending(Sited):
    """What becomes of tasks that have ended, and of workers."""

    def take(self, site: Site, worker: str = "w") -> list[Ended]:
        """Take what has ended, as a Cleanup does."""
        return site.store.take_ended(site.partition, worker)

    def acknowledge(self, site: Site, ended: list[Ended]) -> list[Code]:
        """Say that it was dealt with, as a Cleanup does that keeps failures."""
        return site.store.acknowledge_ended(site.partition, "w", ended, keep_failed=True)

    def test_a_success_that_was_dealt_with_is_forgotten(self, site: Site) -> None:
        task_id = site.ended()
        (ended,) = self.take(site)
        assert (ended.task_id, ended.record["state"]) == (task_id, "SUCCESS")
        assert self.acknowledge(site, [ended]) == [Code.OK]
        assert site.record(task_id) == {}
        assert set(site.store.count().values()) == {0}

    def test_a_failure_is_kept_until_its_time_is_over(self, site: Site) -> None:
        task_id = site.ended(State.ERROR)
        assert self.acknowledge(site, self.take(site)) == [Code.OK]
        assert [one for one, _ in site.store.iterate_failed()] == [task_id]
        site.store.forget_failed(site.partition, 3600.0)
        assert site.state(task_id) == "ERROR"
        site.sees(lambda: site.store.forget_failed(site.partition, 0.001))
        assert (site.record(task_id), list(site.store.iterate_failed())) == ({}, [])

    def test_a_task_restarted_meanwhile_is_not_forgotten(self, site: Site) -> None:
        task_id = site.ended()
        taken = self.take(site)
        assert site.store.restart(task_id) is Code.OK
        assert self.acknowledge(site, taken) == [Code.NOT_OWNER]
        assert site.state(task_id) == "WAIT"

    def test_what_was_taken_and_not_acknowledged_is_taken_again(self, site: Site) -> None:
        task_id = site.ended()
        assert [one.task_id for one in self.take(site)] == [task_id]
        assert [one.task_id for one in self.take(site)] == [task_id]
        assert self.take(site, "another") == []
        assert site.store.return_ended(site.partition, "w", [task_id]) == 1
        assert [one.task_id for one in self.take(site, "another")] == [task_id]

    def test_a_task_that_keeps_its_record_awaits_no_cleanup(self, site: Site) -> None:
        task_id = site.ended(cleanup=False)
        assert self.take(site) == []
        assert (site.state(task_id), list(site.store.iterate_active())) == ("SUCCESS", [task_id])

    def test_a_retry_waits_for_its_time(self, site: Site) -> None:
        run = site.running()
        assert site.finish(run, State.RETRY, b'"why"', delay=0.3) is Code.OK
        assert (site.state(run.task_id), site.claim().claimed) == ("RETRY", [])
        site.sees(lambda: site.store.promote(site.partition).moved)
        (again,) = site.claim().claimed
        assert (again.attempts, again.policy.split()[0]) == (2, b"1")

    def test_an_ended_task_is_restarted_on_request(self, site: Site) -> None:
        task_id = site.ended(State.ERROR)
        assert site.store.restart(task_id, [State.SUCCESS]) is Code.WRONG_STATE
        assert site.store.restart(task_id, [State.ERROR]) is Code.OK
        assert site.store.restart(task_id) is Code.EXISTS
        assert site.queue() == [task_id]
        assert site.store.restart("nobody") is Code.MISSING

    def test_a_running_task_is_removed_only_by_force(self, site: Site) -> None:
        run = site.running()
        assert site.store.remove(run.task_id) is Code.WRONG_STATE
        assert site.store.remove(run.task_id, force=True) is Code.OK
        assert site.finish(run) is Code.MISSING
        assert (site.record(run.task_id), list(site.store.iterate_active())) == ({}, [])

    def test_tasks_are_counted_and_listed_where_they_are(self, site: Site) -> None:
        running = site.running()
        waiting = site.waiting()
        delayed = site.waiting(delay=60)
        mail = site.waiting(queue="mail")
        counts = site.store.count(["default", "mail"])
        assert counts == {
            "waiting": 2,
            "delayed": 1,
            "running": 1,
            "active": 1,
            "ended": 0,
            "failed": 0,
        }
        assert site.queue() == [waiting] and site.queue("mail") == [mail]
        assert [one for one, _ in site.store.iterate_delayed()] == [delayed]
        found = set(site.store.scan_records())
        assert found == {running.task_id, waiting, delayed, mail}

    def test_a_sweep_mends_a_run_without_a_lease(self, site: Site) -> None:
        if site.has_own_store:
            pytest.skip("nobody takes keys away here")
        run = site.running()
        leases = site.store.keys.of(run.task_id).leases
        site.helpers.link.execute("ZREM", leases, run.task_id)
        mended = site.store.sweep(site.partition).mended
        assert [one for _, one in mended] == [run.task_id]
        site.sees(lambda: site.reap(0.01).get(run.task_id) is Code.OK)

    def test_each_due_time_starts_one_task_whoever_comes_first(self, site: Site) -> None:
        tick = site.store.know_schedule("daily", lambda instant: instant - 1.0)
        assert tick.due is not None

        def come(store: Store) -> bool:
            return store.tick_schedule(
                "daily",
                expected=float(tick.due or 0),
                following=tick.now + 3600.0,
                started=tick.due,
                task="task",
                data=b'{"n":1}',
            ).moved

        assert sorted(site.beside(*[come] * 4)) == [False, False, False, True]
        (task_id,) = site.helpers.get_new_task_ids()
        assert task_id.startswith("daily@")
        assert site.record(task_id)["schedule"] == "daily"
        assert site.store.read_schedules()["daily"] == pytest.approx(tick.now + 3600.0, abs=0.01)

    def test_a_schedule_does_not_start_before_its_time(self, site: Site) -> None:
        tick = site.store.know_schedule("later", lambda instant: instant + 3600.0)
        early = site.store.tick_schedule(
            "later",
            expected=float(tick.due or 0),
            following=tick.now + 7200.0,
            started=tick.due,
            task="task",
            data=b"{}",
        )
        assert (early.moved, site.helpers.get_new_task_ids()) == (False, [])
        assert site.store.forget_schedule("later")
        assert site.store.read_schedules() == {}

    def test_a_worker_that_beats_is_alive_and_one_that_left_is_dropped(self, site: Site) -> None:
        site.store.beat_worker("w", {"host": "here", "queues": "default"})
        (worker,) = site.store.list_workers()
        assert (worker.worker, worker.alive, worker.details["host"]) == ("w", True, "here")
        assert site.store.forget_worker("w") is Code.FRESH
        site.store.leave_fleet("w")
        assert [one.alive for one in site.store.list_workers()] == [False]
        assert site.store.forget_worker("w") is Code.OK
        assert site.store.list_workers() == []
