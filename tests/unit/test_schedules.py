"""schedules: when a task is due, and what becomes of due times nobody was there for."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytask import ConfigurationError, Task
from pytask.schedules import MOST_MISSED, Cron, Every, Schedule, make_schedule, schedule_of_class

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC).timestamp()


def test_an_interval_counts_from_its_anchor() -> None:
    every = Every(60.0, anchor=NOW + 7)
    assert [every.next_after(NOW), every.next_after(NOW + 7)] == [NOW + 7, NOW + 67]
    assert every.next_after(NOW - 600) == NOW - 593


@given(
    seconds=st.floats(0.1, 1e6, allow_nan=False),
    anchor=st.floats(0, 2e9, allow_nan=False),
    instant=st.floats(1e9, 2e9, allow_nan=False),
)
def test_due_times_go_on_however_they_are_rounded_when_stored(
    seconds: float, anchor: float, instant: float
) -> None:
    every = Every(seconds, anchor)
    stored = [round(every.next_after(instant), 3)]
    for _ in range(5):
        stored.append(round(every.next_after(stored[-1]), 3))
    assert stored[0] > instant - 0.001
    for earlier, later in pairwise(stored):
        assert later - earlier == pytest.approx(seconds, abs=0.0021)


@pytest.mark.parametrize(
    ("expression", "zone", "start", "times"),
    [
        ("*/15 * * * *", "UTC", "2026-11-21T12:01", ["12:15", "12:30"]),
        ("0 9 * * mon", "UTC", "2026-11-21T12:00", ["2026-11-23T09:00", "2026-11-30T09:00"]),
        # Clocks go from 2:00 to 3:00: what was due in between is due then.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T03:00",
            ["2026-03-29T03:00", "2026-03-30T02:30"],
        ),
        # Clocks go from 3:00 to 2:00: once is enough.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T03:00",
            ["2026-10-25T02:30", "2026-10-26T02:30"],
        ),
    ],
)
def test_a_cron_expression_is_read_by_the_clock_of_its_time_zone(
    expression: str, zone: str, start: str, times: list[str]
) -> None:
    cron = Cron(expression, zone)
    instant = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone)).timestamp()
    for expected in times:
        instant = cron.next_after(instant)
        assert datetime.fromtimestamp(instant, ZoneInfo(zone)).isoformat().find(expected) >= 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "run_every.* is needed; given are none"),
        ({"run_every": 5, "cron": "* * * * *"}, "given are cron, run_every"),
        ({"run_every": 5, "timezone": "UTC"}, "given are run_every, timezone"),
        ({"run_every": 0}, r"at least 0\.1 s"),
        ({"run_every": float("inf")}, r"at least 0\.1 s"),
        ({"run_every": "1h"}, "seconds, or a timedelta"),
        ({"run_every": 5, "anchor": datetime(2026, 1, 1)}, "a datetime with a time zone"),
        ({"run_every": 5, "missed": "never"}, "missed='never': once, skip, all"),
        ({"cron": "61 * * * *"}, "cron='61"),
        ({"cron": "0 0 31 2 *"}, "cron='0 0 31 2"),
        ({"cron": "* * * * *", "timezone": "Mars/Base"}, "timezone='Mars/Base'"),
        ({"cron": 5}, "cron=5"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(options: Any, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"schedule 't': .*{complaint}"):
        make_schedule("t", **options)


def test_a_class_declares_its_schedule() -> None:
    class Report(Task):
        RUN_EVERY = timedelta(hours=1)
        ANCHOR = datetime(2026, 1, 1, 0, 15, tzinfo=UTC)
        MISSED = "skip"

        @staticmethod
        def is_due(due: datetime) -> bool:
            return due.hour != 3

    schedule = schedule_of_class(Report, "report")
    assert schedule is not None
    assert schedule.timing.next_after(NOW) == NOW + 900
    assert (schedule.name, schedule.missed) == ("report", "skip")
    assert schedule.is_due is not None and schedule.is_due(datetime(2026, 1, 1, 4, tzinfo=UTC))
    assert schedule_of_class(Task, "plain") is None


def split(missed: Any, due: float, now: float, every: float = 60.0) -> tuple[Any, float]:
    started, after = Schedule("s", "t", Every(every), {}, missed).split(NOW + due, NOW + now)
    return None if started is None else started - NOW, after - NOW


@pytest.mark.parametrize("missed", ["once", "skip", "all"])
def test_what_is_due_now_starts_now(missed: str) -> None:
    assert split(missed, 0, 0.5) == (0, 60)


@pytest.mark.parametrize(
    ("missed", "due", "now", "expected"),
    [
        ("once", 0, 50, (0, 60)),  # late, and nothing else was missed
        ("once", 0, 130, (120, 180)),  # one for three
        ("all", 0, 130, (0, 60)),  # then 60, then 120
        ("skip", 0, 50, (None, 60)),
        ("skip", 0, 130, (120, 180)),  # the last one is only ten seconds late
        ("skip", 0, 131, (None, 180)),
        ("once", -1e8, 1, (0, 60)),  # nobody was there for three years
        ("skip", -1e8, 50, (None, 60)),
    ],
)
def test_what_nobody_was_there_for_is_made_up_for_as_the_schedule_says(
    missed: str, due: float, now: float, expected: tuple[Any, float]
) -> None:
    due = due // 60 * 60
    assert split(missed, due, now) == expected


def test_of_very_many_the_oldest_are_left_out() -> None:
    started, due, number = [], -60.0 * (MOST_MISSED + 50), 0
    while due <= 0:
        one, due = split("all", due, 0)
        started += [one] if one is not None else []
        number += 1
    assert number > MOST_MISSED >= len(started) >= MOST_MISSED - 1
    assert started[-1] == 0
