"""Finds the task classes of modules named in a configuration."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from pytask.exceptions import ConfigurationError
from pytask.functions import FunctionTask
from pytask.task import Task
from pytask.worker.registry import is_abstract


def find_modules(names: Iterable[str]) -> Iterator[ModuleType]:
    """Import modules by their names.

    Args:
        names: Dotted names; one that ends in ``.*`` means the package and all that is below it.

    Raises:
        ConfigurationError: There is no such module. What a module raises while it is imported is
            not caught.
    """
    for name in names:
        package = name.removesuffix(".*")
        module = _import(package)
        yield module
        if name.endswith(".*"):
            yield from _below(module)


def task_classes_of(module: ModuleType) -> Iterator[type[Any]]:
    """Yield the task classes a module defines itself, without abstract ones."""
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, Task)
            and value.__module__ == module.__name__
            and not issubclass(value, FunctionTask)
            and not is_abstract(value)
        ):
            yield value


def _below(module: ModuleType) -> Iterator[ModuleType]:
    path = getattr(module, "__path__", None)
    if path is None:
        raise ConfigurationError(f"{module.__name__} is no package: leave out the '.*'")
    for found in pkgutil.iter_modules(path, f"{module.__name__}."):
        below = _import(found.name)
        yield below
        if found.ispkg:
            yield from _below(below)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # One that the module itself imports and that is missing is another matter.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(f"there is no module {error.name!r} (of {name!r})") from None
        raise
