"""wait_and_claim: a claim that travels with a blocking pop, and may be late or lost with it."""

import gevent
import pytest

from pytask.records import ascending_request_ids
from tests.support.waiting import PATIENCE, wait_until


@pytest.fixture
def requests():
    return ascending_request_ids()


def ids_of(reply):
    return [run.task_id for run in reply.claimed]


def test_requests_ascend(requests):
    names = [next(requests) for _ in range(1_000)]
    assert names == sorted(set(names))


def test_what_arrives_is_claimed_in_the_same_round_trip(lab, requests):
    waiting = gevent.spawn(lab.wait_and_claim, 60, next(requests))
    wait_until(lambda: b"cmd=blmove" in lab.call("CLIENT", "LIST"))
    task_id = lab.waiting()
    assert ids_of(waiting.get(timeout=PATIENCE)) == [task_id]
    assert lab.state(task_id) == "RUNNING"
    assert lab.entries(lab.names.new_claim("default", "w")) == []


def test_when_the_time_is_up_the_other_queues_are_looked_at(lab, requests):
    task_id = lab.waiting(queue="mail")
    reply = lab.store.wait_and_claim(
        lab.partition,
        "default",
        worker="w",
        queues=["mail", "default"],
        limit=10,
        request=next(requests),
        seconds=0.05,
    )
    assert ids_of(reply) == [task_id]
    assert lab.wait_and_claim(0.05, next(requests)).claimed == []


def test_a_lost_reply_is_given_again_although_the_claimer_has_claimed_since(lab, requests):
    request = next(requests)
    mine = lab.waiting()
    assert ids_of(lab.wait_and_claim(60, request)) == [mine]
    other = lab.waiting()
    assert ids_of(lab.claim()) == [other]
    assert ids_of(lab.repeat_claim(request)) == [mine]
    assert ids_of(lab.repeat_claim(request, 0)) == [mine]


def test_a_repeat_for_no_task_takes_nothing_nor_does_what_it_repeats_if_it_is_late(lab, requests):
    request, task_id = next(requests), lab.waiting()
    before = lab.snapshot()
    assert lab.repeat_claim(request, 0).claimed == []
    assert lab.changes(before) == ["new-task:claims"]
    assert lab.wait_and_claim(60, request).claimed == []
    assert lab.claim().claimed[0].task_id == task_id


def test_what_is_late_takes_nothing_although_its_repeat_found_nothing(lab, requests):
    request = next(requests)
    assert lab.repeat_claim(request).claimed == []
    task_id = lab.waiting()
    assert lab.wait_and_claim(60, request).claimed == []
    assert ids_of(lab.claim()) == [task_id]


def test_a_claim_that_comes_after_its_successor_takes_nothing(lab, requests):
    late, request = next(requests), next(requests)
    first = lab.waiting()
    assert ids_of(lab.wait_and_claim(60, request)) == [first]
    second = lab.waiting()
    assert lab.repeat_claim(late).claimed == []
    assert lab.queue() == [second]
    assert ids_of(lab.repeat_claim(next(requests))) == [second]


def test_a_server_that_has_forgotten_the_script_is_told_again(lab, requests):
    task_id = lab.waiting()
    lab.call("SCRIPT", "FLUSH")
    assert ids_of(lab.wait_and_claim(60, next(requests))) == [task_id]
