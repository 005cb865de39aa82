"""Time limits that work under gevent; they replace pytest-timeout's two methods.

Its ``signal`` method raises inside the hub, which reports and forgets the error;
its ``thread`` method becomes a greenlet and ends the whole process. Here the limit
is thrown into the greenlet that runs the test, which then fails like any other
test. Should the hub itself be stuck, a native watchdog prints all stacks and ends
the process: the run fails instead of hanging.
"""

import faulthandler
import sys
from typing import Any

import gevent
import pytest

#: Seconds a stuck hub gets beyond the limit.
HUB_GRACE = 30.0

_timers: dict[str, gevent.Timeout] = {}


class TestTookTooLong(Exception):
    """The test did not end within its ``timeout``."""


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """Start the limit of one test."""
    limit = settings.timeout
    timer = gevent.Timeout(limit, TestTookTooLong(f"{item.nodeid} took longer than {limit:g} s"))
    _timers[item.nodeid] = timer.start() or timer
    # The real stderr: pytest has replaced sys.stderr, and closes it.
    faulthandler.dump_traceback_later(limit + HUB_GRACE, exit=True, file=sys.__stderr__)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    """Lift the limit of one test."""
    timer = _timers.pop(item.nodeid, None)
    if timer is not None:
        timer.close()
        faulthandler.cancel_dump_traceback_later()
    return True
