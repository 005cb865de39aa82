"""Writes what chaos runs, mutants and measurements came to: ``python -m tests.chaos.report``.

It reads the summaries that ``--keep`` left in a directory and writes a page with tables, and a
picture for each run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .plot import draw

ROOT = Path(__file__).parents[2]
_HEAD = """\
# What the chaos runs came to

Real processes, real servers, and faults all the time; the checker reads the complete history
afterwards. Made by

```console
$ make chaos MINUTES=10
$ make chaos-mutants
$ make chaos-numbers
$ make chaos-report
```

Every run prints its seed, and `python -m tests.chaos --seed N` replays its faults.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def describe_runs(runs: list[dict[str, Any]]) -> str:
    """Return the section on chaos runs."""
    rows = [
        ("**verdict**", _verdict),
        ("length of the faults, s", lambda run: f"{run['options']['seconds']:g}"),
        (
            "faults injected (kinds)",
            lambda run: f"{sum(run['faults'].values()):,} ({len(run['faults'])})",
        ),
        ("tasks acknowledged", lambda run: f"{run['numbers']['acknowledged']:,}"),
        ("**lost**", lambda run: f"**{run['numbers'].get('lost', 0)}**"),
        ("**promises broken**", lambda run: f"**{len(run['violations'])}**"),
        ("acknowledged, then lost by Redis itself: tasks, ends and stops", _rolled_back),
        ("transitions checked", lambda run: f"{run['numbers']['transitions']:,}"),
        (
            "tasks that ended in child processes; results kept for a while",
            lambda run: " / ".join(
                f"{run['numbers'].get(n, 0):,}" for n in ("in_children", "kept")
            ),
        ),
        (
            "enqueues the client was told nothing of (and that happened)",
            lambda run: f"{run['numbers']['unknown']:,} ({run['numbers']['recovered']:,})",
        ),
        (
            "calls repeated after a lost answer and recognised",
            lambda run: f"{run['numbers']['repeats']:,}",
        ),
        (
            "writes of runs that had lost their task, refused",
            lambda run: f"{run['numbers']['fenced']:,}",
        ),
        ("tasks taken back from lost workers", lambda run: f"{run['numbers']['reaps']:,}"),
        (
            "attempts that asked for another one",
            lambda run: f"{run['numbers'].get('retries', 0):,}",
        ),
        ("tasks started more than once", lambda run: f"{run['numbers']['run_again']:,}"),
        ("back after kill -9 of the worker: median, 99 %, longest, s", _recovery),
        (
            "the same without the time in which no worker was able to act",
            lambda run: _recovery(run, "_able"),
        ),
        (
            "all work done after the last fault, s",
            lambda run: f"{run['measures'].get('drain', 0):.1f}",
        ),
    ]
    head = ["", *(f"{run['options']['topology']}, seed {run['options']['seed']}" for run in runs)]
    text = "\n## Runs\n\n" + table(head, [[name, *map(cell, runs)] for name, cell in rows])
    for run in runs:
        text += f"\n![{_name(run)}]({_name(run)}.svg)\n"
    return text


def _verdict(run: dict[str, Any]) -> str:
    """Say whether it passed, and if not why: a run that proves too little has failed, too."""
    wrong = [f"{len(run['violations'])} promises broken"] if run["violations"] else []
    wrong += run["problems"]
    return "failed: " + "; ".join(wrong) if wrong else "passed"


def _rolled_back(run: dict[str, Any]) -> str:
    kinds = ("enqueue", "finish", "stop")
    counts = Counter[str]()
    for name, count in run["numbers"].items():
        if name.startswith("rolled_back ("):
            counts[name.removeprefix("rolled_back (").split(",")[0]] += count
    return " / ".join(str(counts[kind]) for kind in kinds)


def _recovery(run: dict[str, Any], kind: str = "") -> str:
    measures = run["measures"]
    if f"recovery{kind}_count" not in measures:
        return "-"
    values = [measures[f"recovery{kind}_{part}"] for part in ("p50", "p99", "max")]
    return " / ".join(f"{value:.1f}" for value in values)


def describe_faults(runs: list[dict[str, Any]]) -> str:
    """Return the table of faults."""
    names = sorted({name for run in runs for name in run["faults"]})
    head = ["fault", *(_name(run) for run in runs)]
    rows = [[name, *(run["faults"].get(name, "-") for run in runs)] for name in names]
    text = "\n## Faults\n\n" + table(head, rows)
    absent = {reason for run in runs for reason in run.get("absent", {}).items()}
    for needs, reason in sorted(absent):
        text += f"\nWithout the faults that need a {needs}: {reason}.\n"
    return text


def describe_mutants(rows: list[list[str]]) -> str:
    """Return the table of mutants."""
    by = Counter(row[1] or "nobody" for row in rows)
    said = ", ".join(f"{count} by {name}" for name, count in by.most_common())
    text = f"\n## Mutants of the scripts\n\n{len(rows)} guards taken away, noticed {said}.\n\n"
    cells = ([f"`{row[0]}`", row[1] or "**nobody**", f"`{row[2]}`"] for row in rows)
    return text + table(["guard taken away", "noticed by", "as"], cells)


def describe_numbers(rows: list[dict[str, str]]) -> str:
    """Return the table of measurements."""
    text = "\n## Numbers\n\n"
    keys = ("what", "measured", "aim", "elsewhere")
    return text + table(
        ["", "measured here", "aim", "best published elsewhere"],
        [[row[key] for key in keys] for row in rows],
    )


def _name(run: dict[str, Any]) -> str:
    return f"chaos-{run['options']['topology']}-{run['options']['seed']}"


def main(words: list[str]) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.report", description=__doc__)
    parser.add_argument("--from", dest="source", default="chaos-results")
    parser.add_argument("--to", default=str(ROOT / "docs" / "reliability"))
    choices = parser.parse_args(words)
    source, to = Path(choices.source), Path(choices.to)
    runs = {}
    for path in sorted(source.glob("*-*.json"), key=lambda path: path.stat().st_mtime):
        run = json.loads(path.read_text())
        runs[_name(run)] = run  # every one that was kept, passed or not
    to.mkdir(parents=True, exist_ok=True)
    page = _HEAD
    if runs:
        page += describe_runs(list(runs.values()))
    for name, describe in (("numbers", describe_numbers), ("mutants", describe_mutants)):
        path = source / f"{name}.json"
        if path.exists():
            page += describe(json.loads(path.read_text()))
    if runs:
        page += describe_faults(list(runs.values()))
    (to / "chaos.md").write_text(page)
    for run in runs.values():
        title = (
            f"{run['options']['topology']}, seed {run['options']['seed']}: "
            f"{sum(run['faults'].values())} faults, {run['numbers']['acknowledged']} tasks, "
            f"{run['numbers'].get('lost', 0)} lost, {len(run['violations'])} promises broken"
        )
        (to / f"{_name(run)}.svg").write_text(draw(title, run["timeline"]))
    sys.stdout.write(f"wrote {to / 'chaos.md'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
