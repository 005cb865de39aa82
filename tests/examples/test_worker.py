"""The smallest worker, driven the way its reader would."""

from typing import Any

import pytest

from pytask import PyTaskHelpers, TaskFailed


@pytest.fixture
def helpers(disposable_server: Any, worker_process: Any) -> Any:
    """The means to start tasks, and a worker for them; its key names are the default ones."""
    server = disposable_server("valkey")
    worker_process("-m examples.worker", PYTASK_REDIS=server.url)
    helpers = PyTaskHelpers(server.url)
    yield helpers
    helpers.connector.close()


def test_the_example_worker_runs_tasks_and_stops_a_service(helpers: Any) -> None:
    greeting = helpers.submit("examples/greet", {"name": "you"}, watch=True)
    assert greeting.result(timeout=45) == "hello you"

    nobody = helpers.submit("examples/greet", {"name": ""}, watch=True)
    with pytest.raises(TaskFailed, match="nobody to greet"):
        nobody.result(timeout=45)

    clock = helpers.submit("examples/clock", {"interval": 0.05}, watch=True)
    events = clock.events(timeout=45)
    assert next(event.data for event in events if event.name == "tick").count(":") == 2
    assert clock.stop()
    assert clock.wait(timeout=45) == "STOPPED"
