"""Writes docs/scaling from what a run left: ``python -m benchmarks.scaling.page FILE``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.markdown import number, table
from benchmarks.plot import Lines, draw_lines
from benchmarks.results import page_command

from .growth import Point
from .model import (
    LOADS,
    MASTER_BYTES,
    REFRESH,
    SHARE,
    WORKER_BYTES,
    Costs,
    checks_of,
    costs_of,
    curves_of,
    need,
)

_HEAD = """\
# Scaling

What one task costs while more and more others are there, what more processes and partitions bring,
and from that how many masters and workers a load needs. Costs of the server are its own CPU time
for one task, as the kernel counts it.
"""

_GROWTH = {
    "waiting": (
        "Waiting tasks",
        "All in one queue of one server. Claimed and finished are batches of 200.",
        [
            ("bytes", "bytes each"),
            ("enqueue.us", "enqueue, µs"),
            ("claim.us", "claim, µs"),
            ("finish.us", "finish, µs"),
        ],
    ),
    "active": (
        "Running tasks",
        "Leases as workers leave them; all of them are refreshed in batches of 500. A look is "
        "what the Monitor does "
        "when nothing is stale; then it takes 1,000 stale ones back.",
        [
            ("bytes", "bytes each"),
            ("heartbeat.us", "refresh, µs"),
            ("heartbeat.seconds", "all refreshed in, s"),
            ("look.us", "one look, µs"),
            ("look.commands", "commands of a look"),
            ("reap.us", "reap, µs"),
        ],
    ),
    "delayed": (
        "Delayed tasks",
        "A look finds nothing due; then some are delayed for a moment and promoted.",
        [
            ("bytes", "bytes each"),
            ("look.us", "one look, µs"),
            ("delay.us", "delay, µs"),
            ("promote.us", "promote, µs"),
        ],
    ),
    "sleepers": (
        "Sleeping tasks in one worker process",
        "A real worker with its heartbeats, watched for 15 seconds.",
        [
            ("kilobytes", "KB each"),
            ("worker.cpu", "worker, % of a core"),
            ("server.cpu", "server, % of a core"),
        ],
    ),
}
_FLEET = {
    "processes": (
        "Worker processes",
        "One queue on one server; the server and the workers share the cores of this machine.",
        [
            ("rate", "tasks/s"),
            ("worker.us", "worker CPU, µs/task"),
            ("server.us", "server CPU, µs/task"),
        ],
    ),
    "partitions": (
        "Partitions on a cluster of three masters",
        "One worker process. Server CPU is that of all masters. A worker without work has a "
        "blocking pop and a few "
        "timers for each partition.",
        [
            ("rate", "tasks/s"),
            ("worker.us", "worker CPU, µs/task"),
            ("server.us", "server CPU, µs/task"),
            ("idle.commands", "idle: commands/s"),
            ("idle.cpu", "idle: % of a core"),
        ],
    ),
}


def page(result: dict[str, Any]) -> str:
    """Return the page."""
    parts = [_HEAD]
    if result["quick"]:
        parts.append("**Tiny sizes: these numbers mean nothing.**\n")
    parts += [_about(result), "\n![Growth](growth.svg)\n", *_growth(result["parts"])]
    parts += _fleet(result["parts"])
    if all(name in result["parts"] for name in (*_GROWTH, "processes")):
        parts += [_capacity(costs_of(result["parts"])), _checks(result)]
    parts.append(
        "## Repeat it\n\n```console\n$ make bench-scaling\n```\n\nThe numbers are in "
        "[results.json](results.json).\n"
    )
    return "\n".join(parts)


def picture(parts: dict[str, list[Point]]) -> str:
    """Return the plot."""
    panels = []
    for part, columns in (
        ("waiting", ("enqueue.us", "claim.us", "finish.us")),
        ("active", ("heartbeat.us", "reap.us")),
        ("delayed", ("delay.us", "promote.us")),
        ("active", ("look.us",)),
    ):
        points = parts.get(part)
        if points:
            fitted = curves_of(points)
            panels.append(
                Lines(
                    f"{part}: µs of the server, by the number of tasks",
                    {
                        one.removesuffix(".us"): [(p["tasks"], p[one]) for p in points]
                        for one in columns
                    },
                    {one.removesuffix(".us"): fitted[one].at for one in columns},
                )
            )
    for part in ("processes", "partitions"):
        if part in parts:
            rates = [(point[part], point["rate"]) for point in parts[part]]
            panels.append(Lines(f"tasks/s, by {part}", {"tasks/s": rates}))
    return draw_lines(panels)


def _about(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, Python {result['python']}, "
        f"{result['server']} on "
        f"loopback; load {machine['load']:.1f} before and {machine['load_after']:.1f} after."
    )


def _growth(parts: dict[str, list[Point]]) -> Iterator[str]:
    for name, (title, text, columns) in _GROWTH.items():
        if name not in parts:
            continue
        rows = [
            [f"{point['tasks']:,.0f}", *(number(point[one]) for one, _ in columns)]
            for point in parts[name]
        ]
        fitted = curves_of(parts[name])
        curves = "".join(
            f"- {label}: {fitted[one].kind}, {fitted[one]}\n"
            for one, label in columns
            if one in fitted
        )
        head = ["tasks", *(label for _, label in columns)]
        fits = f"Fitted, n being the number of tasks:\n\n{curves}"
        yield f"## {title}\n\n{text}\n\n{table(head, rows)}\n{fits}"


def _fleet(parts: dict[str, list[Point]]) -> Iterator[str]:
    for name, (title, text, columns) in _FLEET.items():
        if name in parts:
            rows = [
                [f"{point[name]:g}", *(number(point[one]) for one, _ in columns)]
                for point in parts[name]
            ]
            head = [name, *(label for _, label in columns)]
            yield f"## {title}\n\n{text}\n\n{table(head, rows)}"


def _capacity(costs: Costs) -> str:
    given = [
        ["enqueue, on a master", f"{costs.enqueue:.1f} µs"],
        ["claim and finish, on a master", f"{costs.run:.1f} µs"],
        ["one refresh of a lease, on a master", f"{costs.heartbeat:.1f} µs"],
        ["a waiting task, on a master", f"{costs.waiting:,.0f} bytes"],
        ["a running task, on a master", f"{costs.active:,.0f} bytes"],
        ["a short task, in a worker", f"{costs.worker:.1f} µs"],
        ["a sleeping task, in a worker", f"{costs.asleep:,.0f} bytes"],
        ["its lease, in a worker", f"{1e6 * costs.keeping:.2f} µs/s"],
    ]
    rows = []
    for name, load in LOADS:
        found = need(costs, **load)
        rows.append(
            [
                name,
                f"{found.masters} ({found.masters_because})",
                f"{found.workers} ({found.workers_because})",
            ]
        )
    return (
        "## How many masters and workers\n\nOn paper, from the costs above with a million tasks "
        "on each master:\n\n"
        f"{table(['', 'cost'], given)}\n"
        f"A lease is refreshed every {REFRESH:g} s. A core is used to {SHARE:.0%}, so that there "
        f"is room for peaks and "
        f"fail-overs. A master has {MASTER_BYTES / 1e9:g} GB for data, a worker process "
        f"{WORKER_BYTES / 1e9:g} GB for "
        "tasks; what your tasks hold themselves, their data and their outputs come on top. In "
        "parentheses, what "
        f"decides.\n\n{table(['load', 'masters', 'worker processes'], rows)}\n"
        "```\n"
        "masters = max( short/s * (enqueue + run) / 0.6 s  +  active * refresh / (3.75 s * 0.6),\n"
        "               (active * bytes + waiting * bytes) / 16 GB )\n"
        "workers = max( short/s * worker / 0.6 s  +  active * lease / 0.6,\n"
        "               active * bytes / 4 GB )\n"
        "```\n"
    )


def _checks(result: dict[str, Any]) -> str:
    rows = [
        [
            check.what,
            f"{number(check.predicted)} {check.unit}",
            f"{number(check.measured)} {check.unit}",
            f"{check.deviation:+.0f} %",
        ]
        for check in checks_of(result["parts"], result["machine"]["cores"])
    ]
    return (
        "## Does the model hold?\n\nThe largest size predicted from the smaller ones, and "
        "several processes from one:\n\n" + table(["", "predicted", "measured", "off by"], rows)
    )


main = page_command("scaling", page, {"growth.svg": lambda result: picture(result["parts"])})


if __name__ == "__main__":
    sys.exit(main())
