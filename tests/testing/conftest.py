"""The fixtures of the plug-in, on one server for all tests here."""

from collections.abc import Iterator

import pytest

from pytask.testing import EmbeddedServer
from pytask.testing.plugin import (
    fake_clock,
    pytask_app,
    pytask_isolate,
    run_until_idle,
)

__all__ = ["fake_clock", "pytask_app", "pytask_isolate", "run_until_idle"]


@pytest.fixture(scope="package")
def pytask_server() -> Iterator[EmbeddedServer]:
    """As the plug-in has it, without its ini option: the plug-in need not be installed here.

    It ends before other tests count on being the first to start one in this process.
    """
    with EmbeddedServer() as server:
        yield server
