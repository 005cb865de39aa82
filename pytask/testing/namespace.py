"""Key names of one test, so that tests share a server and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytask.pytask import PyTask

#: Keys deleted by one command.
_BATCH = 500

#: A worker of a test is one process, and ends when the test says so.
_ALONE = {"processes": 1, "max_tasks": 0}


def fresh_names() -> dict[str, str]:
    """Return key names nobody else uses, as options of :class:`pytask.PyTask`."""
    prefix = f"test-{secrets.token_hex(6)}"
    return {
        "task_set": f"{prefix}:tasks",
        "task_prefix": f"{prefix}:task-",
        "new_queue": f"{prefix}:new-task",
        "end_queue": f"{prefix}:end-task",
    }


@contextmanager
def isolated(app: PyTask, address: Any = "local://", **options: Any) -> Iterator[PyTask]:
    """Point an app at another Redis and at keys of its own; at the end undo it, and delete those.

    Whoever holds the app's helpers or functions goes with it, so a program's own app can be tested
    as it is.

    Args:
        app: The app; it does not run.
        address: The Redis, a single server.
        **options: More options the app has meanwhile.

    Raises:
        ConfigurationError: The app runs, or the address or an option cannot be used.
    """
    names = fresh_names()
    connector, settings = app.helpers.connector, app.settings
    alone = {name: value for name, value in _ALONE.items() if hasattr(settings, name)}
    changed = {**alone, **names, **options}
    app.configure(address, **changed)
    try:
        try:
            yield app
        finally:
            _delete_keys(app, names)
    finally:
        app.helpers.close()
        app.configure(**{name: getattr(settings, name) for name in changed})
        app.helpers.rebind(connector, app.settings)


def _delete_keys(app: PyTask, names: dict[str, str]) -> None:
    link = app.helpers.link
    found = list(link.scan_iter(names["task_set"].removesuffix("tasks") + "*"))
    for start in range(0, len(found), _BATCH):
        link.execute("UNLINK", *found[start : start + _BATCH])
