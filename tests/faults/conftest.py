"""One test for each fault of the catalogue in docs/reliability/faults.md, with real processes."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.launch import (
    CLEANUP,
    FAST,
    MONITOR,
    STEADY,
    Launch,
    Recovery,
    helpers,
    launch,
)
from tests.support.waiting import PATIENCE, wait_until

__all__ = [
    "CLEANUP",
    "FAST",
    "MONITOR",
    "STEADY",
    "Launch",
    "Recovery",
    "helpers",
    "launch",
    "of_state",
    "record_of",
    "state_of",
]


@pytest.fixture(scope="session")
def program() -> str:
    """What ``launch`` starts unless told otherwise."""
    return str(Path(__file__).with_name("program.py"))


def record_of(helpers: Any, task_id: str) -> dict[str, str]:
    """Return the fields of a record; empty if there is none."""
    return dict(helpers.store.read_record(task_id))


def state_of(helpers: Any, task_id: str) -> str:
    """Return the state of a task."""
    return str(record_of(helpers, task_id).get("state"))


def of_state(helpers: Any, ids: list[str], state: str, timeout: float = PATIENCE) -> None:
    """Wait until all these tasks have a state."""

    def others() -> dict[str, str]:
        found = {one: state_of(helpers, one) for one in ids}
        return {one: other for one, other in found.items() if other != state}

    wait_until(lambda: not others(), timeout, lambda: f"{state}; but {others()}", interval=0.05)
