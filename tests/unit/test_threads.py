"""Threads of the library."""

import gevent
import pytest

from pytask.threads import start_thread
from tests.support.waiting import PATIENCE


def test_an_interrupt_that_arrives_in_a_thread_reaches_the_main_one() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_thread(interrupted, "interrupted")
        gevent.sleep(PATIENCE)
