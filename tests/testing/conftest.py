"""The fixtures of the plug-in, on one server for the session."""

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


@pytest.fixture(scope="session")
def pytask_server() -> Iterator[EmbeddedServer]:
    """As the plug-in has it, without its ini option: the plug-in need not be installed here."""
    with EmbeddedServer() as server:
        yield server
