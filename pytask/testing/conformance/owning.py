"""What a worker relies on while it owns runs."""

from __future__ import annotations

import pytest

from pytask.exceptions import LeaseLost
from pytask.records import Claimed, new_request_id
from pytask.states import Code, State
from pytask.store import Store
from pytask.testing.conformance.site import Site, Sited


def lost_to(site: Site, run: Claimed) -> Claimed:
    """Let a run be reaped, and its task be claimed by another worker."""
    site.sees(lambda: site.reap(0.01).get(run.task_id) is Code.OK)
    (successor,) = site.claim(worker="other").claimed
    assert successor.task_id == run.task_id
    return successor


class Owning(Sited):
    """Claim, heartbeat, token, finish, requeue, control, reap."""

    def test_a_claim_takes_a_batch_and_not_more_than_asked(self, site: Site) -> None:
        ids = site.ids(10)
        site.enqueue(*ids)
        first, second = site.claim(limit=7), site.claim(limit=7)
        assert [run.task_id for run in first.claimed + second.claimed] == ids
        assert len(first.claimed) == 7
        assert set(site.store.iterate_active()) == set(ids)
        assert {site.state(one) for one in ids} == {"RUNNING"}

    def test_a_claim_that_is_repeated_gets_the_same_answer(self, site: Site) -> None:
        site.enqueue(*site.ids(5))
        request = new_request_id()
        first = site.claim(limit=3, request=request)
        again = site.claim(limit=3, request=request)
        assert [run.token for run in again.claimed] == [run.token for run in first.claimed]
        assert again.claimed == first.claimed
        assert len(site.queue()) == 2

    def test_each_task_is_claimed_once_by_however_many_claim(self, site: Site) -> None:
        ids = site.ids(300)
        site.enqueue(*ids)

        def take(worker: str, store: Store) -> list[str]:
            taken: list[str] = []
            while reply := site.claim(limit=10, worker=worker, store=store).claimed:
                taken += [run.task_id for run in reply]
            return taken

        workers = [lambda store, name=f"w{n}": take(name, store) for n in range(5)]
        taken = [task_id for one in site.beside(*workers) for task_id in one]
        assert sorted(taken) == sorted(ids)

    def test_a_token_counts_the_attempts_and_is_new_each_time(self, site: Site) -> None:
        run = site.running()
        assert site.store.requeue(site.partition, [(run.task_id, run.token)]) == [Code.OK]
        (again,) = site.claim().claimed
        assert (run.token.partition("-")[0], again.token.partition("-")[0]) == ("1", "2")
        assert run.token != again.token

    def test_who_lost_a_run_writes_nothing(self, site: Site) -> None:
        run = site.running()
        successor = lost_to(site, run)
        before = site.record(run.task_id)

        assert site.finish(run, State.SUCCESS, b'"late"') is Code.NOT_OWNER
        assert site.store.requeue(site.partition, [(run.task_id, run.token)]) == [Code.NOT_OWNER]
        (beat,) = site.store.heartbeat(site.partition, [(run.task_id, run.token)])
        assert beat.code is Code.NOT_OWNER
        with pytest.raises(LeaseLost):
            site.store.read_run(run)
        assert site.record(run.task_id) == before
        assert site.finish(successor) is Code.OK

    def test_a_run_ends_once(self, site: Site) -> None:
        run = site.running()
        assert site.finish(run, State.SUCCESS, b"1") is Code.OK
        before = site.record(run.task_id)
        assert site.finish(run, State.ERROR, b"2") is Code.ALREADY
        assert site.record(run.task_id) == before
        assert (before["state"], before["output"]) == ("SUCCESS", "1")
        assert list(site.store.iterate_ended()) == [run.task_id]

    def test_an_end_that_is_repeated_is_one_end(self, site: Site, repeating: Store) -> None:
        run = site.running()
        assert site.finish(run, store=repeating) is Code.ALREADY
        assert list(site.store.iterate_ended()) == [run.task_id]

    def test_a_heartbeat_tells_only_what_needs_attention(self, site: Site) -> None:
        runs = [site.running() for _ in range(3)]
        site.finish(runs[0])
        site.store.remove(runs[1].task_id, force=True)
        beats = site.store.heartbeat(site.partition, [(run.task_id, run.token) for run in runs])
        told = {beat.task_id: beat.code for beat in beats}
        assert told == {runs[0].task_id: Code.ALREADY, runs[1].task_id: Code.MISSING}

    def test_a_requeued_task_is_the_next_one(self, site: Site) -> None:
        run = site.running()
        other = site.waiting()
        site.store.requeue(site.partition, [(run.task_id, run.token)])
        assert site.queue() == [run.task_id, other]
        assert site.state(run.task_id) == "WAIT"

    def test_a_waiting_task_is_stopped_at_once(self, site: Site) -> None:
        task_id = site.waiting()
        assert site.store.stop(task_id) is Code.OK
        assert (site.state(task_id), site.claim().claimed) == ("STOPPED", [])

    def test_a_stop_reaches_the_owner_with_its_next_heartbeat(self, site: Site) -> None:
        run = site.running()
        assert site.store.stop(run.task_id) is Code.SENT
        (beat,) = site.store.heartbeat(site.partition, [(run.task_id, run.token)])
        assert (beat.code, beat.control) == (Code.OK, "stop")
        assert site.finish(run, State.STOPPED) is Code.OK
        assert site.state(run.task_id) == "STOPPED"

    def test_a_reload_reaches_the_owner_with_fresh_data(self, site: Site) -> None:
        run = site.running()
        site.store.write_fields(run.task_id, {"data": '{"n":2}'})
        assert site.store.reload(run.task_id) is Code.SENT
        (beat,) = site.store.heartbeat(site.partition, [(run.task_id, run.token)])
        assert beat.control.startswith("reload:")
        assert site.store.read_run(run).data == b'{"n":2}'

    def test_a_fresh_lease_is_left_alone(self, site: Site) -> None:
        run = site.running()
        assert site.reap(3600.0, dead=["w"]) == {}
        assert site.state(run.task_id) == "RUNNING"

    def test_a_silent_run_is_given_to_somebody_else(self, site: Site) -> None:
        run = site.running()
        site.sees(lambda: site.reap(0.01).get(run.task_id) is Code.OK)
        assert site.state(run.task_id) == "WAIT"
        (again,) = site.claim().claimed
        assert (again.task_id, again.attempts) == (run.task_id, 2)

    def test_a_dead_workers_runs_move_before_those_of_the_living(self, site: Site) -> None:
        lost, kept = site.running("dead"), site.running("alive")
        site.sees(lambda: site.reap(3600.0, ["dead"], worker_timeout=0.01).get(lost.task_id))
        assert (site.state(lost.task_id), site.state(kept.task_id)) == ("WAIT", "RUNNING")

    def test_a_heartbeat_keeps_a_lease_fresh(self, site: Site) -> None:
        run = site.running()
        before = site.record(run.task_id)["last_update"]
        site.sees(lambda: site.store.server_time() > float(before) + 0.05)
        assert site.store.heartbeat(site.partition, [(run.task_id, run.token)]) == []
        assert float(site.record(run.task_id)["last_update"]) > float(before)

    def test_a_task_that_loses_worker_after_worker_becomes_a_dead_letter(self, site: Site) -> None:
        task_id = site.running().task_id
        for _ in range(site.settings.max_reaps - 1):
            site.sees(lambda: site.reap(0.001).get(task_id) is Code.OK)
            site.sees(lambda: site.store.promote(site.partition).moved or site.queue())
            assert [run.task_id for run in site.claim().claimed] == [task_id]
        site.sees(lambda: site.reap(0.001).get(task_id) is Code.DEAD)
        assert site.state(task_id) == "EXCEPTION"
        assert "workers were lost" in site.record(task_id)["output"]

    def test_a_local_task_goes_with_its_worker(self, site: Site) -> None:
        task_id = site.id()
        run = site.store.start_local(task_id, "task", b"{}", "w", "1-abc")
        assert site.state(run.task_id) == "RUNNING"
        with pytest.raises(LeaseLost):
            site.store.start_local(task_id, "task", b"{}", "w", "1-def")
        site.sees(lambda: site.reap(0.01).get(task_id) is Code.REMOVED)
        assert site.record(task_id) == {}

    def test_what_a_wait_popped_and_nobody_claimed_goes_back(self, site: Site) -> None:
        task_id = site.waiting()
        assert site.store.wait_for_task(site.partition, "default", "gone", 1.0)
        assert site.claim(worker="other").claimed == []
        given = site.store.give_back(site.partition, worker="gone", queues=["default"])
        assert (given, site.queue()) == (1, [task_id])
