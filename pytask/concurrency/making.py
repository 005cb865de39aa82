"""Makes the instance of a task class that one run executes."""

from __future__ import annotations

from typing import Any

from pytask.exceptions import UnfitTask
from pytask.task import current
from pytask.worker.outcomes import did_not_fit


def make_instance(
    task_class: Any, binding: Any, name: str, data: dict[str, Any], keep: Any = None
) -> Any:
    """Return a new instance, which is the current task of this context from now on.

    Args:
        task_class: The class.
        binding: The run, as far as the instance may know it.
        name: What the task is called, for errors.
        data: The arguments of its ``__init__``.
        keep: Where it is entered as ``instance`` before ``__init__``.

    Raises:
        UnfitTask: The data do not fit ``__init__``.
    """
    instance = task_class.__new__(task_class)
    if keep is not None:
        keep.instance = instance
    instance._binding = binding
    current.set(instance)
    try:
        instance.__init__(**data)
    except TypeError as error:
        if did_not_fit(error):
            raise UnfitTask(f"data does not fit {name!r}: {error}") from None
        raise
    return instance
