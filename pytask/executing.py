"""Running a task here and now: as a worker would, without a queue and without a record."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from pytask.concurrency.making import make_instance
from pytask.concurrency.other_modes import OtherModes
from pytask.concurrency.workplaces import HubPlace
from pytask.exceptions import task_failed
from pytask.records import Claimed, new_task_id
from pytask.serializers import decode_value, encode_data
from pytask.worker.outcomes import ChildError, decode_data, encode_result
from pytask.worker.runs import DONE, Run

if TYPE_CHECKING:
    from pytask.helpers import PyTaskHelpers
    from pytask.settings import Settings
    from pytask.worker.registry import TaskType


class _Silent:
    """Stands for the store of a task that is in no store: nobody can follow it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def publish(self, task_id: str, event: str, data: bytes = b"null") -> None:
        """Drop an event."""


class _Here:
    """The environment of a task that is executed here."""

    def __init__(self, helpers: PyTaskHelpers, settings: Settings) -> None:
        self.store: Any = _Silent(settings)
        self.helpers = helpers

    @property
    def redis(self) -> Any:
        return self.helpers.redis


def execute(
    kind: TaskType,
    name: str,
    data: Mapping[str, Any],
    settings: Settings,
    helpers: PyTaskHelpers,
) -> Any:
    """Run a task here; see :meth:`pytask.PyTask.execute`."""
    encoded = encode_data(name, data, settings)
    modes = OtherModes(settings, HubPlace(_Here(helpers, settings)))
    run = Run(Claimed(new_task_id(), "1-here", name, encoded, 1), 0, 0.0, modes.place)
    try:
        # What the task sets in its context, itself among it, ends with it.
        value = copy_context().run(_live, kind, run, modes)
    except ChildError as error:
        # The exception itself has stayed in the child process.
        output, about = decode_value(error.output), decode_value(error.about)
        raise task_failed(run.task_id, error.state, output, about) from None
    finally:
        run.phase = DONE
        modes.close()
    return decode_value(encode_result(name, value, settings))


def _live(kind: TaskType, run: Run, modes: OtherModes) -> Any:
    data = decode_data(run.task, run.data)
    with kind.provide_context() if kind.provide_context is not None else nullcontext():
        if kind.mode:
            return modes.get(kind.mode).carry_out(run, kind.task_class, data)
        task = make_instance(kind.task_class, run, run.task, data, run)
        run.enter()
        return task.start()
