"""Draws a chaos run as SVG: throughput, recoveries and faults over time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT = 960, 60, 20
#: Top and height of the three bands.
THROUGHPUT, RECOVERY, FAULTS = (40, 170), (250, 120), (410, 96)
HEIGHT = 560
COLOURS = {
    "worker": "#d62728",
    "client": "#9467bd",
    "network": "#1f77b4",
    "server": "#ff7f0e",
    "topology": "#8c564b",
    "data": "#2ca02c",
}


class Chart:
    """Collects the elements; x is seconds since the first fault."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1.0, seconds)
        self.parts: list[str] = []

    def x(self, second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, second / self.seconds))

    def text(self, x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> None:
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
            f"{escape(words)}</text>"
        )

    def axis(self, top: float, height: float, most: float, unit: str) -> None:
        for share in (0.0, 0.5, 1.0):
            y = top + height * (1 - share)
            self.parts.append(
                f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
            )
            self.text(LEFT - 6, y + 4, f"{most * share:g}", "end", 11)
        self.text(LEFT, top - 8, unit)

    def line(
        self,
        values: Sequence[float],
        top: float,
        height: float,
        most: float,
        colour: str,
        width: float,
    ) -> None:
        points = " ".join(
            f"{self.x(second):.1f},{top + height * (1 - min(1.0, value / most)):.1f}"
            for second, value in enumerate(values)
        )
        self.parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        )

    def svg(self) -> str:
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'font-family="sans-serif">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
            f"{body}\n</svg>\n"
        )


def draw(title: str, timeline: dict[str, Any]) -> str:
    """Return the picture of one run.

    Args:
        title: What stands above it.
        timeline: As :func:`tests.chaos.checker.liveness.make_timeline` makes it.
    """
    seconds = max(len(timeline["finished"]), 1)
    chart = Chart(seconds)
    chart.text(LEFT, 16, title, size=14)
    top, height = THROUGHPUT
    most = _nice(max([*timeline["finished"], *timeline["enqueued"], 1]))
    chart.axis(top, height, most, "tasks per second: started by clients (grey), finished (blue)")
    chart.line(timeline["enqueued"], top, height, most, "#bbb", 1)
    chart.line(timeline["finished"], top, height, most, "#1f77b4", 1.4)
    _draw_recoveries(chart, timeline)
    _draw_faults(chart, timeline)
    for second in range(0, int(seconds) + 1, _step(seconds)):
        chart.text(chart.x(second), HEIGHT - 12, f"{second} s", "middle", 11)
    return chart.svg()


def _draw_recoveries(chart: Chart, timeline: dict[str, Any]) -> None:
    top, height = RECOVERY
    gaps = timeline["recoveries"]
    most = _nice(max([gap for _, gap in gaps], default=1.0))
    chart.axis(top, height, most, "seconds from the kill of a worker until its task ran again")
    for killed_at, gap in gaps:
        y = top + height * (1 - min(1.0, gap / most))
        chart.parts.append(
            f'<circle cx="{chart.x(killed_at):.1f}" cy="{y:.1f}" r="2" fill="#d62728" '
            'fill-opacity="0.5"/>'
        )


def _draw_faults(chart: Chart, timeline: dict[str, Any]) -> None:
    top, height = FAULTS
    chart.text(LEFT, top - 8, "faults")
    row = height / len(COLOURS)
    for number, (area, colour) in enumerate(COLOURS.items()):
        y = top + number * row
        chart.text(LEFT - 6, y + row - 4, area, "end", 11)
        for at, name, of, lasts in timeline["faults"]:
            if of == area:
                width = max(1.5, chart.x(at + lasts) - chart.x(at))
                chart.parts.append(
                    f'<rect x="{chart.x(at):.1f}" y="{y:.1f}" width="{width:.1f}" '
                    f'height="{row - 3:.1f}" fill="{colour}" fill-opacity="0.6">'
                    f"<title>{escape(name)}</title></rect>"
                )


def _nice(value: float) -> float:
    """Return the next number people like on an axis."""
    for base in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000):
        if value <= base:
            return base
    return value


def _step(seconds: float) -> int:
    return next((step for step in (5, 10, 20, 60, 120) if seconds / step <= 12), 300)
