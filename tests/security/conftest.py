"""A live worker for hostile input."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.worker.conftest import app, serve  # noqa: F401  # fixtures

from .live import Echo, People, Rest


@pytest.fixture
def worker(serve: Any) -> Any:  # noqa: F811
    """A worker that is up."""
    return serve(Echo, Rest, keep_failed=0.0, missing_grace=0.2)


@pytest.fixture
def people(worker: Any, connector: Any) -> Iterator[People]:
    """Someone with redis-cli."""
    people = People(worker, connector.link())
    yield people
    worker.close()
    people.clean_up()
