"""schedule_tick: one occurrence of a schedule -> WAIT."""

import json
import time

import pytest

from pytask.exceptions import WrongKeyType
from pytask.store.timetable import occurrence_id

from .lab import tally


def know(lab, name, due):
    return lab.store.know_schedule(name, lambda instant: due)


def tick(lab, name, expected, following, started=None, store=None, **options):
    return (store or lab.store).tick_schedule(
        name,
        expected=expected,
        following=following,
        started=started,
        task="lab/task",
        data=b'{"n":1}',
        **options,
    )


@pytest.fixture
def past():
    """A due time a minute ago, in whole milliseconds."""
    return round(time.time() - 60, 3)


@pytest.fixture
def name(lab):
    """The name of a schedule that lives in the partition of the lab."""
    return lab.id()


def test_a_schedule_becomes_known_with_its_due_time(lab, name):
    answer = know(lab, name, 2e9)
    assert (answer.moved, answer.due) == (True, 2e9)
    assert abs(answer.now - time.time()) < 60
    assert lab.store.read_schedules() == {name: 2e9}
    assert lab.queue() == []


def test_a_schedule_that_is_known_keeps_its_due_time_unless_it_comes_sooner(lab, name):
    know(lab, name, 2e9)
    later = know(lab, name, 3e9)
    assert (later.moved, later.due) == (False, 2e9)
    sooner = know(lab, name, 1.9e9)
    assert (sooner.moved, sooner.due) == (True, 1.9e9)


def test_an_occurrence_starts_a_task_and_moves_the_schedule_on(lab, name, past):
    know(lab, name, past)
    answer = tick(lab, name, past, 2e9, started=past)
    assert (answer.moved, answer.due) == (True, 2e9)
    [task_id] = lab.queue()
    assert task_id.startswith(occurrence_id(name, past))
    record = lab.record(task_id)
    assert (record["task"], record["data"], record["state"]) == ("lab/task", '{"n":1}', "WAIT")
    assert record["schedule"] == name
    assert [run.task_id for run in lab.claim().claimed] == [task_id]


def test_queue_and_expiry_are_those_of_the_task(lab, name, past):
    know(lab, name, past)
    tick(lab, name, past, 2e9, started=past, queue="mail", expires=60.0)
    [task_id] = lab.queue("mail")
    record = lab.record(task_id)
    assert float(record["expires"]) - float(record["created"]) == pytest.approx(60, abs=0.01)
    assert record["queue"] == "mail"


def test_an_occurrence_that_is_left_out_starts_nothing(lab, name, past):
    know(lab, name, past)
    assert tick(lab, name, past, 2e9).moved
    assert lab.queue() == []
    assert lab.store.read_schedules() == {name: 2e9}


def test_nothing_starts_before_it_is_due(lab, name):
    know(lab, name, 2e9)
    before = lab.snapshot()
    answer = tick(lab, name, 2e9, 3e9, started=2e9)
    assert (answer.moved, answer.due) == (False, 2e9)
    assert lab.snapshot() == before


def test_whoever_comes_second_learns_the_new_due_time(lab, name, past):
    know(lab, name, past)
    tick(lab, name, past, 2e9, started=past)
    before = lab.snapshot()
    answer = tick(lab, name, past, 2e9, started=past)
    assert (answer.moved, answer.due) == (False, 2e9)
    assert lab.snapshot() == before


def test_a_due_time_that_was_dealt_with_does_not_start_the_next_one(lab, name, past):
    know(lab, name, past)
    tick(lab, name, past, past + 1, started=past)
    before = lab.snapshot()
    answer = tick(lab, name, past, 2e9, started=past + 1)
    assert (answer.moved, answer.due) == (False, pytest.approx(past + 1))
    assert lab.snapshot() == before


def test_of_many_who_come_at_once_one_starts_the_task(lab, name, past):
    know(lab, name, past)
    answers = lab.race([lambda: tick(lab, name, past, 2e9, started=past).moved] * 8)
    assert tally(answers) == {True: 1, False: 7}
    assert len(lab.queue()) == 1


def test_a_schedule_nobody_knows_any_more_starts_nothing(lab, name, past):
    answer = tick(lab, name, past, 2e9, started=past)
    assert (answer.moved, answer.due) == (False, None)
    assert lab.snapshot() == {}


def test_an_occurrence_that_was_started_before_the_schedule_was_lost_is_not_started_again(
    lab, name, past
):
    for _ in range(2):
        know(lab, name, past)
        tick(lab, name, past, 2e9, started=past)
        assert lab.store.forget_schedule(name)
    assert not lab.store.forget_schedule(name)
    assert len(lab.queue()) == 1


def test_a_due_time_that_is_no_number_is_replaced(lab, name):
    lab.call("HSET", lab.names.schedules, name, "soon")
    assert know(lab, name, 2e9).moved
    assert lab.store.read_schedules() == {name: 2e9}


def test_a_foreign_record_under_the_id_stays_as_it_is(lab, name, past):
    know(lab, name, past)
    tick(lab, name, past, 2e9, started=past)
    [task_id] = lab.queue()
    lab.store.forget_schedule(name)
    lab.call("DEL", lab.names.new_queue())
    lab.foreign(lab.names.record(task_id), b"string")
    know(lab, name, past)
    assert tick(lab, name, past, 2e9, started=past).moved
    assert lab.queue() == []


def test_foreign_values_under_our_keys_change_nothing(lab, name, past):
    know(lab, name, past)
    lab.foreign(lab.names.new_queue("mail"), b"string")
    before = lab.snapshot()
    with pytest.raises(WrongKeyType):
        tick(lab, name, past, 2e9, started=past, queue="mail")
    assert lab.snapshot() == before
    lab.call("DEL", lab.names.schedules)
    lab.foreign(lab.names.schedules, b"string")
    with pytest.raises(WrongKeyType):
        know(lab, name, 2e9)


def test_the_id_of_an_occurrence_tells_its_time():
    assert occurrence_id("a/b", 1795213025) == "a/b@2026-11-20T22:17:05Z"
    assert occurrence_id("a/b", 1795213025.25).endswith("05.250Z")


def test_the_task_it_starts_is_told_to_be_queued_once(lab, name, past, events_of):
    events = events_of()
    know(lab, name, past)
    store, _ = lab.repeating()
    tick(lab, name, past, 2e9, started=past, store=store)
    other = lab.waiting()
    found = [json.loads(events.get()) for _ in range(2)]
    [[started], [waits]] = [one["tasks"] for one in found]
    assert started.startswith(occurrence_id(name, past)) and waits == other
