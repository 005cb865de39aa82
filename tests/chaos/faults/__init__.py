"""The faults of a chaos run, by name."""

from __future__ import annotations

from . import data, limits, network, servers, topology, workers
from .base import Fault, Scene

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for module in (workers, limits, network, servers, topology, data)
    for fault in module.FAULTS
}

__all__ = ["FAULTS", "Fault", "Scene"]
