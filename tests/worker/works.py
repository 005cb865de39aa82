"""What happened to the runs of a test, what lets them end, and a task that tells and waits."""

from collections.abc import Iterator

import pytest
from gevent.event import Event

from pytask import Task

#: What started and ended, in that order; of tasks of this module their IDs.
started: list[str] = []
ended: list[str] = []
#: Lets all of them return.
release = Event()


@pytest.fixture(autouse=True)
def nothing_happened() -> Iterator[None]:
    """Forget what happened in the test before; a module that imports this needs no more."""
    started.clear()
    ended.clear()
    release.clear()
    yield
    release.set()


class Works(Task):
    """Works until it is released."""

    NAME = "works"

    def start(self) -> str:
        started.append(self.id)
        try:
            release.wait()
            return "done"
        finally:
            ended.append(self.id)
