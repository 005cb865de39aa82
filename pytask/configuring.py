"""The part of the app that changes its address and options before it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytask.configuration import (
    COMMAND_KEYS,
    Layer,
    Sourced,
    blame,
    choose_file,
    read_environment,
    read_file,
)
from pytask.connection import connect
from pytask.exceptions import ConfigurationError
from pytask.settings import Settings

if TYPE_CHECKING:
    from pytask.backends import Backend
    from pytask.helpers import PyTaskHelpers
    from pytask.store import Store
    from pytask.worker.supervisor import Supervisor

#: The source of what a program says in Python.
CODE = "code"


class Configuring:
    """Knows the options of an app as they were given, and who gave them."""

    settings: Settings
    helpers: PyTaskHelpers
    _supervisor: Supervisor | None
    _store: Store | None
    #: As given: what is computed from them depends on all of them.
    _options: dict[str, Any]
    _sources: dict[str, str]

    def _set_options(self, options: Mapping[str, Any], unless_default: str) -> None:
        """Take the options of the constructor; one of them has a default in its signature."""
        self.settings = Settings.of(options)
        self._options = dict(options)
        defaults = {field.name: field.default for field in fields(Settings)}
        self._sources = {"redis": CODE} | {
            name: CODE
            for name, value in options.items()
            if name != unless_default or value != defaults[name]
        }

    @property
    def sources(self) -> dict[str, str]:
        """Where each setting that is not at its default came from, ``redis`` among them."""
        return dict(self._sources)

    def configure(self, redis_instance: Any = None, **options: Any) -> None:
        """Change the address or options of an app that does not run yet.

        Args:
            redis_instance: Another Redis; None keeps the one there is.
            **options: New values for fields of :class:`pytask.settings.Settings`.

        Raises:
            ConfigurationError: The app runs, or a value cannot be used.
        """
        layer = {name: Sourced(value, CODE) for name, value in options.items()}
        if redis_instance is not None:
            layer["redis"] = Sourced(redis_instance, CODE)
        self.apply(layer)

    def configure_from(
        self, file: str | Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Let a configuration file and the environment override what the code says.

        The command ``pytask`` does so by itself. A script that calls :meth:`run`, or a service that
        only uses ``app.helpers``, does so by this call, or not at all. A variable wins over the
        file. Keys that are meant for the command line are left out.

        Args:
            file: A TOML file, or a Python file, which is executed; None: the one that
                ``PYTASK_CONFIG`` names, or ``pytask.toml`` or the table ``[tool.pytask-gevent]`` of
                ``pyproject.toml`` in the working directory, if there is one.
            environment: Where the variables are; None: in ``os.environ``.

        Raises:
            ConfigurationError: The app runs, or something in there cannot be used.
        """
        variables = os.environ if environment is None else environment
        path, _ = choose_file(file, variables)
        found = read_file(path) if path is not None else {}
        of_app = {
            name: value
            for name, value in found.items()
            if name == "redis" or name not in COMMAND_KEYS
        }
        self.apply({**of_app, **read_environment(variables)})

    def apply(self, layer: Layer) -> None:
        """Override options, and remember where they came from; see :meth:`configure`."""
        if self._supervisor is not None:
            raise ConfigurationError("this app runs already; configure it before run()")
        values = {name: one.value for name, one in layer.items() if name != "redis"}
        connector = self.helpers.connector
        try:
            settings = Settings.of({**self._options, **values})
        except ConfigurationError as error:
            raise blame(error, layer) from None
        if "redis" in layer:
            connector = self._connect(layer["redis"])
            self.helpers.close()
        self.settings = settings
        self._options.update(values)
        self._sources.update({name: one.source for name, one in layer.items()})
        self.helpers.rebind(connector, settings)
        self._store = None

    def _connect(self, redis: Sourced) -> Backend:
        try:
            return connect(redis.value)
        except ConfigurationError as error:
            if redis.source == CODE:
                raise
            raise ConfigurationError(f"{redis.source}: {error}") from None
