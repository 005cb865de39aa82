"""Fixtures for pytest; active wherever pytask and pytest are installed.

It is imported whenever pytest starts, so it imports nothing but pytest until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytask.pytask import PyTask
    from pytask.testing import EmbeddedServer, FakeClock


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names another server."""
    parser.addini(
        "pytask_redis",
        "URL of the Redis server that tests use, a single one; local:// starts one for them.",
        default="local://",
    )


@pytest.fixture(scope="session")
def pytask_server(pytestconfig: pytest.Config) -> Iterator[EmbeddedServer]:
    """A server for the session, on ``local://`` unless the ini option ``pytask_redis`` says more.

    ``pytask_server.url`` is for other processes, ``pytask_server.client`` for a look at the keys.
    """
    from pytask.testing import EmbeddedServer

    with EmbeddedServer(str(pytestconfig.getini("pytask_redis"))) as server:
        yield server


@pytest.fixture
def pytask_isolate(pytask_server: EmbeddedServer) -> Iterator[Callable[..., PyTask]]:
    """Point the program's own app at keys of this test: ``pytask_isolate(app, concurrency=5)``.

    It is back where it was after the test.
    """
    from pytask.testing import isolated

    with ExitStack() as stack:

        def isolate(app: PyTask, **options: Any) -> PyTask:
            return stack.enter_context(isolated(app, pytask_server.address, **options))

        yield isolate


@pytest.fixture
def pytask_app(pytask_server: EmbeddedServer, pytask_isolate: Callable[..., PyTask]) -> PyTask:
    """A new app on keys of this test."""
    from pytask.pytask import PyTask

    return pytask_isolate(PyTask(pytask_server.address))


@pytest.fixture
def run_until_idle() -> Callable[..., None]:
    """Run a worker until nothing is left to do: ``run_until_idle(app)``."""
    from pytask.testing import run_until_idle

    return run_until_idle


@pytest.fixture
def fake_clock(pytask_server: EmbeddedServer) -> Iterator[FakeClock]:
    """A clock for delays, retries, expiry, schedules and retention: ``fake_clock.advance(60)``."""
    from pytask.testing import FakeClock

    with FakeClock(pytask_server.address) as clock:
        yield clock
