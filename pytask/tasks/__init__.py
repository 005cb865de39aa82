"""The bundled tasks. They use the public API only; anybody could have written them."""

from pytask.tasks.cleanup import Cleanup
from pytask.tasks.execute import ExecutePython, ExecutePythonScript
from pytask.tasks.monitor import Monitor

__all__ = ["Cleanup", "ExecutePython", "ExecutePythonScript", "Monitor"]
