"""Which methods there are: those of tasks, and what plug-ins of the app add."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pytask.exceptions import ConfigurationError
from pytask.plugins import Plugin
from pytask.rpc.protocol import RpcRequest
from pytask.rpc.tasks import TaskMethods

logger = logging.getLogger(__name__)


class MethodTable:
    """All methods a client can call. Nothing else can be reached by name.

    Args:
        tasks: The methods of tasks.

    Raises:
        ConfigurationError: A plug-in has a method of a name that is taken.
    """

    def __init__(self, tasks: TaskMethods) -> None:
        self.tasks = tasks
        self._added: dict[str, Callable[..., Any]] = {}
        taken = set(tasks.bound_to(RpcRequest({}, 0.0)))
        for plugin in tasks.app.plugins:
            for name, function in _methods_of(plugin).items():
                if name in taken or name.startswith("rpc."):
                    raise ConfigurationError(
                        f"plug-in {plugin!r}: the name of its method {name!r} is taken"
                    )
                taken.add(name)
                self._added[name] = function

    def bound_to(self, request: RpcRequest) -> dict[str, Callable[..., Any]]:
        """Return the methods by name, for one request."""
        return {**self._added, **self.tasks.bound_to(request)}


def _methods_of(plugin: Plugin) -> dict[str, Callable[..., Any]]:
    try:
        return dict(plugin.rpc_methods())
    except (Exception, SystemExit):
        logger.exception("plug-in %r: rpc_methods() failed; its methods are not offered", plugin)
        return {}
