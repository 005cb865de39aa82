"""Time limits that work under gevent; they replace pytest-timeout's two methods.

Its ``signal`` method raises inside the hub, which reports and forgets the error;
its ``thread`` method becomes a greenlet and ends the whole process. Here the limit
is thrown into the greenlet that runs the test, which then fails like any other
test. Should the hub itself be stuck, a native watchdog prints all stacks and ends
the process: the run fails instead of hanging.
"""

import faulthandler
import os
from typing import Any

import gevent
import pytest

#: Seconds a stuck hub gets beyond the limit.
HUB_GRACE = 30.0

_timers: dict[str, gevent.Timeout] = {}
_stderr = pytest.StashKey[int]()


class DeadlineExceeded(BaseException):
    """The test did not end in time. No ``except Exception`` under test may swallow it."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep the real stderr: while a test runs, pytest captures descriptor 2."""
    config.stash[_stderr] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the copy."""
    os.close(config.stash[_stderr])


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """Start the limit of one test."""
    limit = settings.timeout
    timer = gevent.Timeout(limit, DeadlineExceeded(f"{item.nodeid} took longer than {limit:g} s"))
    timer.start()
    _timers[item.nodeid] = timer
    descriptor = item.config.stash[_stderr]
    faulthandler.dump_traceback_later(limit + HUB_GRACE, exit=True, file=descriptor)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    """Lift the limit of one test."""
    timer = _timers.pop(item.nodeid, None)
    if timer is not None:
        timer.close()
        faulthandler.cancel_dump_traceback_later()
    return True
