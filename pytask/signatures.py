"""What a function takes: how a call becomes the data of a task, and data a call again.

Data are an object of arguments by name. Positional arguments are stored under their names too,
those of ``*args`` as an array. Where an argument is annotated with a type msgspec knows (dates,
UUIDs, enums, dataclasses, containers of them), it is checked and converted on both sides, so a
wrong one is refused where the task is started and, if it was written by hand, where it runs.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pytask.exceptions import ConfigurationError, UnfitTask
from pytask.serializers import JSON

_BYTES = (bytes, bytearray, memoryview)
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Signature:
    """The parameters of the function of a task.

    Args:
        function: The function.
        task: Name of the task, for errors.

    Raises:
        ConfigurationError: An annotation names something that does not exist.
    """

    def __init__(self, function: Callable[..., Any], task: str) -> None:
        self._task = task
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except Exception as error:
            raise ConfigurationError(
                f"task {task!r}: an annotation of {function.__qualname__} cannot be read: {error}"
            ) from None
        parameters = inspect.signature(function).parameters
        # Annotations are not kept: inspect would show them in errors about missing arguments.
        self._signature = inspect.Signature(
            [one.replace(annotation=inspect.Parameter.empty) for one in parameters.values()]
        )
        self._types = {name: hints[name] for name in parameters if _is_checkable(hints.get(name))}
        self._rest = next((n for n, p in parameters.items() if p.kind is p.VAR_POSITIONAL), None)
        self._named_rest = next((n for n, p in parameters.items() if p.kind is p.VAR_KEYWORD), None)

    def to_data(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], serializer: str = JSON
    ) -> dict[str, Any]:
        """Return the data of a call.

        Args:
            args: Arguments by position.
            kwargs: Arguments by name.
            serializer: How the data will be encoded; to JSON bytes go as base64.

        Raises:
            InvalidTask: The arguments do not fit the function.
        """
        try:
            given = dict(self._signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise UnfitTask(f"arguments of task {self._task!r}: {error}") from None
        more = given.pop(self._named_rest, {}) if self._named_rest else {}
        data = {name: self._checked(name, value, serializer) for name, value in given.items()}
        for name, value in more.items():
            data[name] = self._checked_as(self._named_rest, name, value, serializer)
        return data

    def to_call(self, data: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return positional and named arguments for data.

        Raises:
            UnfitTask: They do not fit the function.
        """
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        left = dict(data)
        skipped = False
        for name, parameter in self._signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            if name not in left:
                # What comes after an omitted argument can be passed by name only.
                skipped = skipped or parameter.kind in _BY_POSITION
                continue
            value = self._checked(name, left.pop(name))
            if parameter.kind is parameter.VAR_POSITIONAL:
                args += value
            elif parameter.kind in _BY_POSITION and not skipped:
                args.append(value)
            else:
                kwargs[name] = value
        for name, value in left.items():
            kwargs[name] = self._checked_as(self._named_rest, name, value)
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UnfitTask(f"data does not fit {self._task!r}: {error}") from None
        return tuple(args), kwargs

    def _checked(self, name: str, value: Any, serializer: str | None = None) -> Any:
        if name != self._rest:
            return self._checked_as(name, name, value, serializer)
        if not isinstance(value, list | tuple):
            raise UnfitTask(f"argument {name!r} of task {self._task!r}: an array is needed")
        return [
            self._checked_as(name, f"{name}[{at}]", one, serializer) for at, one in enumerate(value)
        ]

    def _checked_as(
        self, typed_as: str | None, name: str, value: Any, serializer: str | None = None
    ) -> Any:
        """Return a value as it is stored; without a serializer, as the function wants it."""
        kind = self._types.get(typed_as) if typed_as is not None else None
        if kind is None:
            return value
        try:
            # Bytes are no text, though they travel as such in JSON.
            plain = msgspec.to_builtins(value, builtin_types=_BYTES)
            converted = msgspec.convert(plain, kind)
        except (msgspec.ValidationError, TypeError) as error:
            raise UnfitTask(f"argument {name!r} of task {self._task!r}: {error}") from None
        if serializer is None:
            return converted
        return msgspec.to_builtins(value) if serializer == JSON else plain


def _is_checkable(hint: Any) -> bool:
    """Whether a value of this type can come from JSON, and be checked."""
    if hint is None or hint is Any:
        return False
    try:
        kind = msgspec.inspect.type_info(hint)
    except TypeError:
        return False
    return not _mentions_custom(kind)


def _mentions_custom(kind: Any) -> bool:
    if isinstance(kind, msgspec.inspect.CustomType):
        return True
    inner = (getattr(kind, name, None) for name in ("item_type", "key_type", "value_type"))
    several = (*getattr(kind, "types", ()), *getattr(kind, "item_types", ()), *inner)
    return any(_mentions_custom(one) for one in several if one is not None)
