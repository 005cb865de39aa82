"""resume: hold a queue back no longer."""

import pytest

from pytask.events import Subscription
from pytask.states import Code
from tests.support.waiting import PATIENCE


def test_its_tasks_can_be_claimed_again_in_their_order(lab):
    ids = lab.ids(3)
    lab.enqueue(*ids, queue="mail")
    lab.store.pause("mail")
    assert lab.claim(queues=["mail"]).claimed == []

    assert lab.store.resume("mail") is Code.OK

    assert [run.task_id for run in lab.claim(queues=["mail"]).claimed] == ids
    assert lab.store.list_paused() == set()


def test_another_paused_queue_stays_paused(lab):
    lab.store.pause("mail")
    lab.store.pause("crm")
    lab.store.resume("mail")
    assert lab.store.list_paused() == {"crm"}


def test_a_queue_that_was_not_paused_stays_as_it_is(lab):
    assert lab.store.resume("mail") is Code.ALREADY
    assert lab.snapshot() == {}


def test_a_repeat_wakes_the_workers_once_more(lab, connector):
    lab.store.pause("mail")
    hearer = Subscription(connector.link(), channels=[lab.keys.wake_channel])
    assert hearer.wait_ready(PATIENCE)
    store, tap = lab.repeating()
    try:
        assert store.resume("mail") is Code.ALREADY
        assert tap.first == 1 or lab.keys.tagged
        heard = [hearer.get(PATIENCE).data for _ in range(2 * len(lab.store.partitions))]
    finally:
        hearer.close()
    assert sorted(heard) == sorted(2 * [b"%d" % number for number in lab.store.partitions])


@pytest.mark.topologies("valkey", "redis")
def test_a_foreign_key_stops_it(lab):
    lab.store.pause("mail")
    lab.check_wrong_types(lambda: lab.store.resume("mail"), {lab.names.paused: b"set"})
