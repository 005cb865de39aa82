"""Every call to Redis of worker, client, Monitor and Cleanup, each died at on both sides."""

import os
from pathlib import Path

import pytest

import pytask
from tests.crashpoints.driver import find_points, kill_at_all
from tests.crashpoints.hooks import AFTER, BEFORE
from tests.crashpoints.report import table

#: So many processes die on each side of each point.
KILLS = int(os.environ.get("PYTASK_KILLS", 10 if os.environ.get("CI") else 1))


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * KILLS)
def test_a_process_that_dies_at_any_call_to_redis_loses_nothing_and_leaves_nothing_behind() -> None:
    found = find_points()
    scripts = {path.stem for path in (Path(pytask.__file__).parent / "lua").glob("*.lua")}
    assert not scripts - {point.partition(": ")[2] for point in found}, "not exercised"
    result = kill_at_all(found, KILLS)
    print(table(result))  # noqa: T201
    assert result.problems == []
    assert result.missed == []
    sides = [(point, side) for point in found for side in (BEFORE, AFTER)]
    assert {side: result.kills[side] for side in sides} == dict.fromkeys(sides, KILLS)
    assert result.reaps, "nobody died while he ran a task"
