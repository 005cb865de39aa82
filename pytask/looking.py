"""The half of the helpers that decides nothing: what can be seen of tasks, and written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, overload

from pytask.exceptions import InvalidTask, WrongKeyType
from pytask.keys import DEFAULT_QUEUE, Keys
from pytask.records import check_task_id
from pytask.serializers import FORMATS, JSON, encode_value
from pytask.settings import Settings
from pytask.store import Store


class Looking:
    """Reads records and lists."""

    keys: Keys
    settings: Settings

    @property
    def store(self) -> Store:
        """The store behind these helpers."""
        raise NotImplementedError

    def get_active_task_ids(self) -> list[str]:
        """Return the IDs in the task set: running, stopped, and ended with ``cleanup=False``."""
        return list(dict.fromkeys(self.store.iterate_active()))

    def get_new_task_ids(self, queue: str = DEFAULT_QUEUE) -> list[str]:
        """Return the IDs that wait in a new queue, the next to be taken last."""
        return list(self.store.iterate_waiting(queue))

    def get_end_task_ids(self) -> list[str]:
        """Return the IDs that ended and await Cleanup, the next to be taken last."""
        return list(self.store.iterate_ended())

    def next_scheduled(self) -> dict[str, datetime]:
        """Return when each schedule is due next, as far as workers have made it known."""
        found = self.store.read_schedules()
        return {name: datetime.fromtimestamp(due, UTC) for name, due in sorted(found.items())}

    @overload
    def get_task(self, task_id: str, keys: None = None) -> dict[str, str]: ...

    @overload
    def get_task(self, task_id: str, keys: str) -> str | None: ...

    @overload
    def get_task(self, task_id: str, keys: list[str] | tuple[str, ...]) -> list[str | None]: ...

    def get_task(
        self, task_id: str, keys: str | list[str] | tuple[str, ...] | None = None
    ) -> dict[str, str] | str | list[str | None] | None:
        """Return the record of a task, one field of it, or several.

        Args:
            task_id: The task.
            keys: None for all fields, the name of one, or a list of names.

        Returns:
            A dict of all fields (empty if there is no record), the value of the one field or None,
            or the values in the order of the names. :func:`pytask.decode_value` decodes ``data``
            and ``output``.
        """
        if keys is None:
            return self.store.read_record(task_id)
        if isinstance(keys, str):
            return self.store.read_fields(task_id, [keys])[0]
        return self.store.read_fields(task_id, keys)

    def set_task(
        self, task_id: str, data: str | Mapping[str, Any], value: Any | None = None
    ) -> None:
        """Write fields of a record; text stays as it is, anything else is encoded.

        ``data`` and ``output`` are encoded as the serializer of the app says, other fields as JSON.
        For what a task reads at its next start or reload, typically ``data``. The fields by which
        workers agree (``state``, ``run``, …) are better left to the other methods.

        Args:
            task_id: The task.
            data: A mapping of fields, or the name of one.
            value: The value of the one field.

        Raises:
            InvalidTask: There is no form for a value, or a field was named without a value.
        """
        check_task_id(task_id)
        if isinstance(data, str):
            if value is None:
                raise InvalidTask(f"field {data!r} of task {task_id}: no value was given")
            data = {data: value}
        fields = {
            name: item if isinstance(item, str) else self._encode(task_id, name, item)
            for name, item in data.items()
        }
        if fields:
            self.store.write_fields(task_id, fields)

    def _encode(self, task_id: str, field: str, value: Any) -> bytes:
        # Scripts read the other fields, which are text and JSON whatever an app writes.
        serializer = self.settings.serializer if field in ("data", "output") else JSON
        whose = f"{field} of task {task_id}"
        try:
            encoded = encode_value(value, serializer)
        except (TypeError, ValueError) as error:
            raise InvalidTask(f"{whose} is not {FORMATS[serializer]}: {error}") from None
        most = self.settings.max_data_bytes
        if field == "data" and len(encoded) > most:
            raise InvalidTask(
                f"{whose} is {len(encoded):,} bytes, more than max_data_bytes={most:,}"
            )
        return encoded


def wrong_type(keys: Keys, task_id: str) -> WrongKeyType:
    """Return the error for a record's key that holds another type."""
    return WrongKeyType(
        f"key {keys.of(task_id).record(task_id)} of task {task_id} holds another type than a hash; "
        "rename or delete it, or use another task ID"
    )
