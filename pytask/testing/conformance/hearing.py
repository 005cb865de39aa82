"""What whoever waits or listens relies on."""

from __future__ import annotations

import time

import pytest

from pytask.serializers import decode_value, encode_value
from pytask.states import State
from pytask.store import Store
from pytask.testing.conformance.site import PATIENCE, Site, Sited


class Hearing(Sited):
    """Events, requests, blocking waits."""

    def test_events_of_a_task_arrive_in_order_its_end_last(self, site: Site) -> None:
        task_id = site.waiting()
        feed = site.listen(site.store.keys.events_channel(task_id))
        (run,) = site.claim().claimed
        for number in range(50):
            site.store.publish(task_id, "counted", b"%d" % number)
        site.finish(run, output=b'{"big":12345678901234567890}')

        heard = [decode_value(site.hear(feed)) for _ in range(52)]
        assert heard[0] == {"event": "started", "data": {"attempt": 1}}
        assert [one["data"] for one in heard[1:51]] == list(range(50))
        assert heard[51] == {"event": "success", "data": {"big": 12345678901234567890}}

    def test_an_output_in_messagepack_is_announced_as_it_is(self, site: Site) -> None:
        task_id = site.waiting()
        feed = site.listen(site.store.keys.events_channel(task_id))
        (run,) = site.claim().claimed
        value = {"raw": bytes(range(256)), "none": []}
        site.finish(run, State.SUCCESS, encode_value(value, "msgpack"))
        assert decode_value(site.hear(feed))["event"] == "started"
        assert decode_value(site.hear(feed)) == {"event": "success", "data": value}

    def test_a_future_hears_the_end_of_a_task_that_is_cleaned_up_at_once(self, site: Site) -> None:
        future = site.helpers.future(site.id())
        future.watch()
        site.enqueue(future.id)
        (run,) = site.claim().claimed
        site.finish(run, output=b'"done"')
        site.store.remove(run.task_id)
        assert (future.wait(PATIENCE), future.result()) == ("SUCCESS", "done")

    def test_requests_for_all_tasks_are_heard_through_one_pattern(self, site: Site) -> None:
        run = site.running()
        feed = site.listen(patterns=[site.store.keys.control_pattern])
        site.store.stop(run.task_id)
        message = feed.get(PATIENCE)
        assert message is not None
        keys = site.store.keys
        assert (keys.task_of_control_channel(message.channel), message.data) == (
            run.task_id,
            b"stop",
        )

    def test_a_subscription_stays_while_nothing_is_said(self, site: Site) -> None:
        feed = site.listen("quiet", ping_interval=0.2)
        until = time.monotonic() + 0.9
        while time.monotonic() < until:
            assert feed.get(0.2) is None
        assert (feed.ready, feed.generation) == (True, 1)

    def test_a_wait_ends_as_soon_as_a_task_is_started(self, site: Site) -> None:
        task_id = site.id()
        waiting = 60.0
        began = time.monotonic()

        def wait(store: Store) -> bool:
            return store.wait_for_task(site.partition, "default", "w", waiting)

        def start(store: Store) -> bool:
            time.sleep(0.2)
            site.enqueue(task_id)
            return True

        assert site.beside(wait, start) == [True, True]
        assert time.monotonic() - began < waiting
        assert [run.task_id for run in site.claim().claimed] == [task_id]

    def test_a_claim_that_travels_with_a_wait_gets_what_arrives(self, site: Site) -> None:
        task_id = site.id()
        waiting = 60.0
        began = time.monotonic()

        def wait(store: Store) -> list[str]:
            return [run.task_id for run in site.wait_and_claim(waiting, "1", store=store).claimed]

        def start(store: Store) -> list[str]:
            time.sleep(0.2)
            site.enqueue(task_id)
            return [task_id]

        assert site.beside(wait, start) == [[task_id]] * 2
        assert time.monotonic() - began < waiting
        assert site.state(task_id) == "RUNNING"

    def test_what_travelled_with_a_wait_can_be_asked_for_and_takes_nothing_late(
        self, site: Site
    ) -> None:
        site.waiting()
        (first,) = site.wait_and_claim(1.0, "2").claimed
        site.waiting()
        assert site.repeat_claim("2").claimed == site.repeat_claim("2", 0).claimed == [first]
        assert site.repeat_claim("1").claimed == []
        assert len(site.repeat_claim("3").claimed) == 1

    def test_a_wait_for_nothing_ends_when_its_time_is_over(self, site: Site) -> None:
        began = time.monotonic()
        assert site.store.wait_for_task(site.partition, "default", "w", 0.3) is False
        assert time.monotonic() - began > 0.2

    def test_a_wait_does_not_keep_other_calls_waiting(self, site: Site) -> None:
        """Both use one link; the wait would last longer than the test may."""
        done = []

        def wait(store: Store) -> None:
            site.store.wait_for_task(site.partition, "default", "w", 10 * PATIENCE)

        def work(store: Store) -> None:
            time.sleep(0.2)
            done.append(site.store.count())
            site.enqueue(site.id())

        site.beside(wait, work)
        assert len(done) == 1

    @pytest.mark.parametrize("worker", ["w", "another"])
    def test_a_wait_for_what_has_ended_ends_as_well(self, site: Site, worker: str) -> None:
        task_id = site.ended()
        assert site.store.wait_for_ended(site.partition, worker, 1.0)
        (ended,) = site.store.take_ended(site.partition, worker)
        assert ended.task_id == task_id
