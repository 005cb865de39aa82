"""Finds the app that ``-A module:app`` names."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from pytask.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pytask.pytask import PyTask

#: What ``-A module`` without a name means.
DEFAULT_NAME = "app"


def load_app(path: str) -> PyTask:
    """Import a module and return the app in it.

    Args:
        path: ``module:name``; the name may be dotted, and is ``app`` when it is left out.

    Raises:
        ConfigurationError: The module cannot be imported, has no such name, or what it names is
            no :class:`pytask.PyTask`.
    """
    module_name, _, name = path.partition(":")
    if not module_name:
        raise ConfigurationError(f"-A {path}: MODULE:APP is needed, for example -A myproject:app")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    module = _import(module_name, path)
    found = _resolve(module, name or DEFAULT_NAME, path)
    from pytask.pytask import PyTask

    if not isinstance(found, PyTask):
        raise ConfigurationError(
            f"-A {path}: {module_name}:{name or DEFAULT_NAME} is a {type(found).__name__}, not a "
            f"PyTask object{_suggestion(module, PyTask)}"
        )
    return found


def _import(module_name: str, path: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise ConfigurationError(
                f"-A {path}: there is no module {missing!r} in {os.getcwd()} or on PYTHONPATH; run "
                "pytask where the module is"
            ) from error
        raise ConfigurationError(
            f"-A {path}: {module_name} imports {missing!r}, which is not installed"
        ) from error
    except Exception as error:
        raise ConfigurationError(
            f"-A {path}: importing {module_name} failed with {type(error).__name__}: {error}; "
            "--debug shows where"
        ) from error


def _resolve(module: Any, name: str, path: str) -> Any:
    found = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            from pytask.pytask import PyTask

            raise ConfigurationError(
                f"-A {path}: module {module.__name__} has no {name!r}{_suggestion(module, PyTask)}"
            ) from None
    return found


def _suggestion(module: Any, kind: type) -> str:
    """Name the apps there are in a module."""
    names = [name for name, value in vars(module).items() if isinstance(value, kind)]
    if not names:
        return "; make one there with app = PyTask(…)"
    return f"; it has {', '.join(f'-A {module.__name__}:{name}' for name in names)}"
