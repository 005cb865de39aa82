"""The bundled tasks. They use the public API only; anybody could have written them."""

from .cleanup import Cleanup
from .monitor import Monitor

__all__ = ["Cleanup", "Monitor"]
