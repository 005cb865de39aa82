"""How often a worker reports itself, at rest and at work."""

import pytest

from pytask.settings import Settings
from pytask.worker.pace import Pace
from pytask.worker.runs import RunTable, Slots


def test_a_worker_at_rest_beats_and_refreshes_more_seldom() -> None:
    settings, table = Settings(), RunTable(Slots(1))
    pace = Pace(settings, table)
    assert settings.beat_interval + pace.beat_waits() == pytest.approx(2.5)
    rest = pace.refresh_interval + pace.refresh_waits()
    assert pace.refresh_interval < rest < settings.update_task_interval
    table.occupied = 1
    assert (pace.beat_waits(), pace.refresh_waits()) == (0.0, 0.0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"worker_timeout": 2.0, "redis_grace": 1.5, "beat_interval": 0.5},
        {"worker_timeout": 1.0, "redis_grace": 0.1, "beat_interval": 0.1},
        {"worker_timeout": 3.0, "redis_grace": 0.0, "beat_interval": 1.5},
        {"worker_timeout": 2000.0, "redis_grace": 4.0, "beat_interval": 600.0},
    ],
)
def test_there_is_room_for_a_beat_that_fails(options: dict[str, float]) -> None:
    settings = Settings(**options)  # type: ignore[arg-type]
    pace = Pace(settings, RunTable(Slots(1)))
    longest = settings.beat_interval + pace.beat_waits()
    assert longest <= settings.worker_timeout / 2
    assert not pace.beat_waits() or longest + pace.time_out <= settings.redis_grace
