"""Bundled tasks, bound to helpers as a worker would bind them, and called step by step."""

from types import SimpleNamespace
from typing import Any

import pytest

from pytask import PyTaskHelpers


@pytest.fixture
def helpers(address: Any, namespace: Any) -> Any:
    """A client whose rules run fast: silence of a second is death."""
    fast = {
        "beat_interval": 0.05,
        "worker_timeout": 1.0,
        "redis_grace": 0.5,
        "update_task_interval": 0.1,
    }
    with PyTaskHelpers(address, **{**namespace.options, **fast}) as made:
        yield made


@pytest.fixture
def bind(helpers: Any) -> Any:
    """Give a task what a worker gives it."""

    def bound(task: Any, task_id: str = "bundled") -> Any:
        environment = SimpleNamespace(helpers=helpers, store=helpers.store, redis=helpers.redis)
        task._binding = SimpleNamespace(
            task_id=task_id, token="1-x", attempt=1, is_over=False, environment=environment
        )
        return task

    return bound
