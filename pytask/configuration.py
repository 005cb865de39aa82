"""Settings from outside the program: a file, and the environment.

One order holds everywhere, the first that says something wins:

1. the command line,
2. the environment, ``PYTASK_CONCURRENCY`` for ``concurrency``,
3. the configuration file,
4. what the code of the app says,
5. the default.

What is nearer to the one who starts the process wins over what is nearer to the one who wrote it:
the code is the same on every machine, a file belongs to one of them, a variable to one service,
and the command line to this very start.

This module reads; who applies it is :meth:`pytask.PyTask.configure_from` and the command line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from inspect import isclass, ismodule, isroutine
from pathlib import Path
from typing import Any, NamedTuple

from pytask.exceptions import ConfigurationError
from pytask.settings import Settings

#: Read from the working directory when no file is named.
FILE = "pytask.toml"
PROJECT = "pyproject.toml"
#: Its table there. The tool called just "pytask" is another project's.
TABLE = "pytask-gevent"
#: Names the file to read.
VARIABLE = "PYTASK_CONFIG"

#: What a file may say besides settings, for the command line. Only ``redis`` is of use elsewhere.
COMMAND_KEYS: dict[str, str] = {
    "app": "str",
    "redis": "str",
    "no_monitor": "bool",
    "no_cleanup": "bool",
    "monitor_interval": "float",
    "task_handler": "str",
    "log_level": "str",
}

_KINDS: dict[str, str] = {field.name: str(field.type) for field in fields(Settings)} | COMMAND_KEYS
_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
}
# The words click takes for a flag.
_YES = frozenset({"1", "true", "t", "yes", "y", "on"})
_NO = frozenset({"0", "false", "f", "no", "n", "off"})


class Sourced(NamedTuple):
    """A value, and where it came from as people are told it."""

    value: Any
    source: str


#: Values by name of the setting.
Layer = Mapping[str, Sourced]


def find_file(directory: str | Path = ".") -> Path | None:
    """Return the configuration file of a directory, if it has one.

    That is ``pytask.toml``, or ``pyproject.toml`` if it has a table ``[tool.pytask-gevent]``. Never
    a Python file: nothing is executed because it lies somewhere.
    """
    own, project = Path(directory, FILE), Path(directory, PROJECT)
    if own.is_file():
        return own
    if project.is_file() and f"tool.{TABLE}" in project.read_text("utf-8", "replace"):
        return project
    return None


def choose_file(
    named: str | Path | None, environment: Mapping[str, str]
) -> tuple[Path | None, bool]:
    """Return the file to read and whether somebody named it.

    Args:
        named: By the caller; None: ``PYTASK_CONFIG`` does, or it is looked for.
        environment: The environment.
    """
    named = named or environment.get(VARIABLE)
    return (Path(named), True) if named else (find_file(), False)


def read_file(path: Path) -> dict[str, Sourced]:
    """Read a configuration file.

    Args:
        path: A TOML file; ``pyproject.toml``, of which one table is read; or a Python file, which
            is executed.

    Raises:
        ConfigurationError: It cannot be read, has an unknown key, or a value of a wrong type.
    """
    if path.suffix == ".py":
        values = _execute(path)
    elif path.suffix == ".toml":
        values = _parse(path)
    else:
        raise ConfigurationError(f"{path}: the name of a configuration file ends in .toml or .py")
    return {
        key: Sourced(_typed(path, key, value), f"{path}: {key}") for key, value in values.items()
    }


def read_environment(environment: Mapping[str, str]) -> dict[str, Sourced]:
    """Read what the environment says of Redis and the settings; other variables are left alone.

    Raises:
        ConfigurationError: A value is of a wrong type.
    """
    found: dict[str, Sourced] = {}
    for name in ("redis", *(field.name for field in fields(Settings))):
        variable = variable_of(name)
        text = environment.get(variable)
        if text:
            found[name] = Sourced(parse_text(name, text, variable), variable)
    return found


def variable_of(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"PYTASK_{name.upper()}"


def parse_text(name: str, text: str, where: str) -> Any:
    """Return the value of a setting that was written as text.

    Args:
        name: The setting.
        text: What was written.
        where: For the message.

    Raises:
        ConfigurationError: It is of a wrong type.
    """
    kind = _KINDS[name]
    read: Callable[[str], Any] | None = {"int": int, "float": float}.get(kind)
    if name == "concurrency" and not text.strip().lstrip("-").isdigit():
        return text.strip()  # settings know what it may be
    if kind == "bool":
        if text.strip().lower() in _YES | _NO:
            return text.strip().lower() in _YES
    elif kind == "str":
        return text
    elif read is None:
        return tuple(one.strip() for one in text.split(",") if one.strip())
    else:
        try:
            return read(text)
        except ValueError:
            pass
    raise ConfigurationError(f"{where}={text!r}: {_WANTED[kind]} is needed")


def blame(error: ConfigurationError, layer: Layer) -> ConfigurationError:
    """Return an error that also says where the settings it names came from."""
    named = dict.fromkeys(re.findall(r"\b([a-z_]+)=", str(error)))
    sources = [
        f"{name} comes from {layer[name].source}"
        for name in named
        if name in layer and layer[name].source not in str(error)
    ]
    return ConfigurationError(f"{error} ({', '.join(sources)})") if sources else error


def _parse(path: Path) -> dict[str, Any]:
    import tomllib  # costs every start of a program otherwise

    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error
    if path.name != PROJECT:
        return content
    table = content.get("tool", {}).get(TABLE, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: tool.{TABLE} is not a table")
    return table


def _execute(path: Path) -> dict[str, Any]:
    import runpy

    try:
        names = runpy.run_path(os.fspath(path))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:
        raise ConfigurationError(
            f"{path}, a configuration file in Python, failed with {type(error).__name__}: {error}"
        ) from error
    return {
        name: value
        for name, value in names.items()
        if name in _KINDS or not (name.startswith("_") or _is_tool(value))
    }


def _is_tool(value: object) -> bool:
    """Whether a value in a Python file is what it computes with, not what it says."""
    return ismodule(value) or isroutine(value) or isclass(value)


def _typed(path: Path, key: str, value: Any) -> Any:
    kind = _KINDS.get(key)
    if kind is None:
        hint = "; a name that is no setting begins with _" if path.suffix == ".py" else ""
        raise ConfigurationError(
            f"{path}: unknown key {key!r}{_suggestion(key)}{hint}; `pytask config` lists all"
        )
    if key == "concurrency" and (isinstance(value, str) or callable(value)):
        return value
    wrong = (
        (kind == "bool" and not isinstance(value, bool))
        or (kind == "str" and not isinstance(value, str))
        or (kind == "int" and type(value) is not int)
        or (kind == "float" and type(value) not in (int, float))
    )
    if wrong:
        # Not the value: it may be a password that was put in the wrong place.
        raise ConfigurationError(
            f"{path}: {key} is of type {type(value).__name__}: {_WANTED[kind]} is needed"
        )
    return value


def _suggestion(key: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(key.replace("-", "_"), _KINDS, 1)
    return f", did you mean {near[0]!r}?" if near else ""
