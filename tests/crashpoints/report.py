"""The outcome as a table in Markdown."""

from __future__ import annotations

from .driver import Result
from .hooks import AFTER, BEFORE


def table(result: Result) -> str:
    """Return totals, the table of all points, and what went wrong."""
    fewest = min(result.kills[point, side] for point in result.points for side in (BEFORE, AFTER))
    lines = [
        f"{len(result.points)} points, {result.kills.total()} processes killed (at least {fewest} "
        f"on each side of each point), {result.confirmed} confirmed tasks, {result.reaps} taken "
        f"back from the dead, {len(result.problems)} problems, {result.seconds:.0f} s.",
        "",
        "| call | who is killed | before | after |",
        "|---|---|---:|---:|",
    ]
    for point, role in sorted(result.points.items()):
        before, after = (result.kills[point, side] for side in (BEFORE, AFTER))
        lines.append(f"| `{point}` | {role} | {before} | {after} |")
    lines += [f"\nnot met again: {target}" for target in result.missed]
    lines += [f"\nproblem: {problem}" for problem in result.problems]
    return "\n".join(lines)
