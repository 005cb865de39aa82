"""Writes docs/performance from what a run left: ``python -m benchmarks.peers.page FILE``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

from benchmarks.markdown import number, table
from benchmarks.plot import Bars, draw_bars
from benchmarks.results import page_command

from .systems import BARE, OURS
from .workloads import METRICS, Metric

_HEAD = """\
# Performance

pytask beside the queues one would pick instead: the same work, the same machine, one server, in one
run in which the systems take turns. Each has its own virtual environment with its newest release,
hiredis where it supports it, and keeps its results in Redis.
"""

#: Sections of the page: title, metrics, which one orders the rows, what is to be known.
_SECTIONS = (
    (
        "Starting tasks",
        ["enqueue.rate", "bulk.rate", "enqueue.commands", "enqueue.bytes"],
        "One client, one call after the other, while no worker runs; then the bulk interface, "
        "where there is one, "
        "5,000 tasks a call. Commands count those inside of scripts.",
    ),
    (
        "Draining a queue",
        ["drain.rate", "drain.worker_cpu", "drain.server_cpu", "drain.commands"],
        "No-op tasks wait; one worker process starts. The clock runs from the first twentieth of "
        "them to the last "
        "result in Redis. CPU is that of all threads and processes, from the kernel.",
    ),
    (
        "Many tasks that wait",
        ["sleep.seconds"],
        "From the start of the first to the last result in Redis.",
    ),
    (
        "From enqueue to start",
        ["latency.p50", "latency.p99", "latency.p99.9"],
        "One task at a time on an idle worker, from before the call that starts it to its first "
        "line.",
    ),
    (
        "From enqueue to start, under load",
        ["load.p50", "load.p99", "load.rate", "equal.p50", "equal.p99"],
        "The same while a second client starts no-op tasks: at half of what this system drains, "
        "which is a different "
        "rate for each, and at 300 tasks/s for all.",
    ),
    (
        "Memory",
        [
            "memory.coroutine",
            "memory.greenlet",
            "memory.coroutines",
            "memory.greenlets",
            "memory.worker",
        ],
        "Of the worker, shared pages counted once: with the tasks asleep, less that of a worker "
        "without. A greenlet holds a stack, a coroutine its frames, so each is compared with its "
        "like. A task of pytask is the one or the other, as its class says.",
    ),
    (
        "Start of a worker, and one with nothing to do",
        ["startup.seconds", "idle.round_trips", "idle.commands", "idle.cpu", "idle.server_cpu"],
        "A task waits when the process is started. The idle worker is watched for ten seconds; "
        "that of pytask with its "
        "Monitor and Cleanup. Commands count those inside of scripts, round-trips do not.",
    ),
)
_PICTURED = (
    "drain.rate",
    "bulk.rate",
    "enqueue.rate",
    "sleep.seconds",
    "latency.p50",
    "latency.p99",
    "memory.coroutine",
    "memory.greenlet",
    "drain.worker_cpu",
)


class Standing(NamedTuple):
    """How we stand in one metric: our median, the best peer, and by which factor we are better."""

    ours: float
    peer: str
    best: float
    ratio: float


def standing(
    values: dict[str, list[float]], metric: Metric, extra: dict[str, list[float]]
) -> Standing | None:
    """Hold ours against the best peer.

    Args:
        values: Numbers of each round, by system.
        metric: What they are.
        extra: What peers reach in another way.
    """
    peers = {name: median(all_) for name, all_ in values.items() if name not in (OURS, BARE)}
    for name, all_ in extra.items():
        if name not in (OURS, BARE, *peers):
            peers[f"{name}, one by one"] = median(all_)
    if OURS not in values or not peers or metric.lower is None:
        return None
    peer = (min if metric.lower else max)(peers, key=lambda name: peers[name])
    ours, best = median(values[OURS]), peers[peer]
    over, under = (best, ours) if metric.lower else (ours, best)
    return Standing(ours, peer, best, over / under if under else float("inf"))


def page(result: dict[str, Any]) -> str:
    """Return the page."""
    parts = [_HEAD]
    if result["quick"]:
        parts.append("**Tiny sizes: these numbers mean nothing.**\n")
    parts += [_about(result), "\n![The comparison](comparison.svg)\n", _summary(result)]
    parts += list(_sections(result))
    parts += [_systems(result), _repeat(result)]
    return "\n".join(parts)


def picture(result: dict[str, Any]) -> str:
    """Return the plot."""
    panels = []
    for name in _PICTURED:
        metric, values = METRICS[name], result["values"].get(name, {})
        if not values:
            continue
        shown = {one: all_ for one, all_ in values.items() if one != BARE}
        order = sorted(shown, key=lambda one: median(shown[one]), reverse=not metric.lower)
        better = "less is better" if metric.lower else "more is better"
        panels.append(
            Bars(
                f"{metric.title}, {metric.unit} ({better})",
                {one: (median(shown[one]), min(shown[one]), max(shown[one])) for one in order},
                number,
            )
        )
    return draw_bars(panels, OURS)


def _about(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, "
        f"{result['server']} on loopback. {result['rounds']} rounds in "
        f"{result['seconds'] / 60:.0f} minutes; load "
        f"{machine['load_before']:.1f} before and {machine['load_after']:.1f} after. Numbers are "
        f"medians, with "
        "the smallest and the largest of the rounds in parentheses."
    )


def _summary(result: dict[str, Any]) -> str:
    rows, lost, missed = [], [], []
    for metric, found in _standings(result):
        aim = f"{metric.target:g} times" if metric.target else ""
        reached = metric.target is None or found.ratio >= metric.target
        if metric.limit is not None:
            aim, reached = f"< {metric.limit:g}", found.ours < metric.limit
        verdict = ("reached" if reached else "**missed**") if aim else ""
        rows.append(
            [
                f"{metric.title}, {metric.unit}",
                number(found.ours),
                f"{number(found.best)} ({found.peer})",
                f"{found.ratio:.2g} times" if found.ratio < 100 else "> 100 times",
                aim,
                verdict,
            ]
        )
        if not reached:
            missed.append(metric.title)
        if found.ratio < 1:
            # Behind one that has no interest in the matter is behind all the same.
            lost.append(
                f"- {metric.title}: {number(found.ours)} {metric.unit}, and {found.peer} "
                f"{number(found.best)}."
            )
    text = "\n## In short\n\n" + table(["", "pytask", "best peer", "better by", "aim", ""], rows)
    text += _against_bare_loop(result)
    text += "\n### Where pytask loses\n\n" + ("\n".join(lost) or "Nowhere in this table.") + "\n"
    if missed:
        text += f"\nAims missed: {', '.join(missed)}.\n"
    return text


def _standings(result: dict[str, Any]) -> Iterator[tuple[Metric, Standing]]:
    values = result["values"]
    for name, metric in METRICS.items():
        # Who has no bulk interface starts many tasks one by one.
        singles = values.get("enqueue.rate", {}) if name == "bulk.rate" else {}
        found = standing(values.get(name, {}), metric, singles)
        if found is not None:
            yield metric, found


def _against_bare_loop(result: dict[str, Any]) -> str:
    drained = result["values"].get("drain.rate", {})
    if BARE not in drained or OURS not in drained:
        return ""
    share = 100 * median(drained[OURS]) / median(drained[BARE])
    return (
        f"\nA bare loop over the same scripts, claim and finish with no tasks in between, drains "
        f"{number(median(drained[BARE]))} tasks/s; the worker reaches {share:.0f} % of that "
        f"(aim: 70 %, {'reached' if share >= 70 else '**missed**'}).\n"
    )


def _sections(result: dict[str, Any]) -> Iterator[str]:
    for title, names, text in _SECTIONS:
        shown = [name for name in names if result["values"].get(name)]
        if not shown:
            continue
        lead = METRICS[shown[0]]
        values = result["values"][shown[0]]
        order = sorted(
            result["systems"],
            key=lambda one: (
                one not in values,
                median(values.get(one, [0])) * (1 if lead.lower else -1),
            ),
        )
        notes: dict[str, str] = {}
        rows = [
            [f"**{one}**" if one == OURS else one]
            + [_cell(result, name, one, notes) for name in shown]
            for one in order
            if one != BARE or BARE in values
        ]
        head = ["", *(f"{METRICS[name].title}, {METRICS[name].unit}" for name in shown)]
        reasons = "".join(f"\n{one}: {reason}." for one, reason in notes.items())
        yield f"## {title}\n\n{text}\n\n{table(head, rows)}{reasons}\n"


def _cell(result: dict[str, Any], name: str, system: str, notes: dict[str, str]) -> str:
    values = result["values"][name].get(system)
    if not values:
        workload = "load" if name.startswith("equal") else name.split(".")[0]
        reason = result["absent"].get(workload, {}).get(system)
        if reason and system != BARE:
            notes[system] = reason
        return "—"
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))} to {number(max(values))})"


def _systems(result: dict[str, Any]) -> str:
    text = "## Versions and settings\n"
    for name, found in result["systems"].items():
        versions = ", ".join(f"{one} {version}" for one, version in found["versions"].items())
        text += f"\n**{name}**{': ' if versions else ''}{versions}. `{found['command']}`"
        text += f", {found['concurrency']} tasks at a time unless the work asks for more"
        text += f"; drained {found['drain']:,} tasks.\n"
        text += "".join(f"\n- {setting}" for setting in found["settings"]) + "\n"
    return text


def _repeat(result: dict[str, Any]) -> str:
    return (
        "## Repeat it\n\n```console\n$ make bench\n```\n\nIt makes the environments under "
        "`.venv-bench` with the "
        "newest releases, measures for about "
        f"{max(1, round(result['seconds'] / 60))} minutes and writes this page. "
        "`python -m benchmarks.peers --help` lists how to measure less. The numbers are in "
        "[results.json](results.json).\n"
    )


main = page_command("performance", page, {"comparison.svg": picture})


if __name__ == "__main__":
    sys.exit(main())
