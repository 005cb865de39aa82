"""Pictures of results, as SVG: bars for comparisons, lines for growth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

OURS, OTHERS = "#d62728", "#9bb4cc"
LINES = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")


class Picture:
    """Collects the elements of a picture.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._parts: list[str] = []

    def text(self, x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> None:
        """Write something."""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
            f"{escape(words)}</text>"
        )

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Draw a filled rectangle."""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(1.0, width):.1f}" height="{height:.1f}" '
            f'fill="{colour}"/>'
        )

    def line(
        self, points: Sequence[tuple[float, float]], colour: str, dashed: bool = False
    ) -> None:
        """Connect points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>'
        )

    def dot(self, x: float, y: float, colour: str) -> None:
        """Draw a point."""
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')

    def svg(self) -> str:
        """Return the picture."""
        body = "\n".join(self._parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {self._height}" '
            f'font-family="sans-serif">\n<rect width="{self._width}" height="{self._height}" '
            f'fill="#fff"/>\n{body}\n</svg>\n'
        )


@dataclass(frozen=True)
class Bars:
    """A panel of bars.

    Attributes:
        title: What is measured, and which way is better.
        values: Median, smallest and largest, by name, in the order to show them.
        label: Turns a number into text.
    """

    title: str
    values: Mapping[str, tuple[float, float, float]]
    label: Callable[[float], str]


def draw_bars(panels: Sequence[Bars], ours: str) -> str:
    """Return panels of bars, two in a row; the line on a bar goes from smallest to largest."""
    row, left, width, gap = 17, 74, 470, 34
    height_of = [gap + row * len(panel.values) for panel in panels]
    rows = [max(height_of[at : at + 2]) for at in range(0, len(panels), 2)]
    picture = Picture(2 * width, sum(rows) + 16)
    for number, panel in enumerate(panels):
        x, y = number % 2 * width, sum(rows[: number // 2]) + 20.0
        picture.text(x + 10, y, panel.title, size=13)
        most = max((high for _, _, high in panel.values.values()), default=1.0) or 1.0
        scale = (width - left - 90) / most
        for name, (median, low, high) in panel.values.items():
            y += row
            picture.text(x + left - 6, y + 4, name, "end", 11)
            colour = OURS if name == ours else OTHERS
            picture.bar(x + left, y - 6, median * scale, row - 5, colour)
            picture.line([(x + left + low * scale, y), (x + left + high * scale, y)], "#333")
            picture.text(x + left + high * scale + 6, y + 4, panel.label(median), size=11)
    return picture.svg()


@dataclass(frozen=True)
class Lines:
    """A panel of curves over the logarithm of a size.

    Attributes:
        title: What is measured.
        points: By name, pairs of size and value.
        curves: Functions fitted to them, drawn dashed.
    """

    title: str
    points: Mapping[str, Sequence[tuple[float, float]]]
    curves: Mapping[str, Callable[[float], float]] = field(default_factory=dict)


def draw_lines(panels: Sequence[Lines]) -> str:
    """Return panels of curves, two in a row."""
    width, height = 470, 270
    picture = Picture(2 * width, height * ((len(panels) + 1) // 2))
    for number, panel in enumerate(panels):
        _draw_panel(picture, panel, number % 2 * width, number // 2 * height, width, height)
    return picture.svg()


def _draw_panel(
    picture: Picture, panel: Lines, left: float, top: float, width: int, height: int
) -> None:
    every = [point for points in panel.points.values() for point in points]
    first, last = (math.log10(pick(x for x, _ in every)) for pick in (min, max))
    most = 1.15 * max(y for _, y in every) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        along = (math.log10(x) - first) / max(1e-9, last - first)
        return left + 60 + along * (width - 90), top + height - 40 - y / most * (height - 90)

    picture.text(left + 10, top + 18, panel.title, size=13)
    for share in (0.0, 0.5, 1.0):
        x, y = place(10**first, most * share)
        picture.line([(x, y), (left + width - 30, y)], "#ddd")
        picture.text(x - 6, y + 4, f"{most * share:.3g}", "end", 11)
    for x in sorted({x for x, _ in every}):
        picture.text(place(x, 0)[0], top + height - 24, _short(x), "middle", 11)
    for number, (name, points) in enumerate(panel.points.items()):
        colour = LINES[number % len(LINES)]
        for point in points:
            picture.dot(*place(*point), colour)
        curve = panel.curves.get(name)
        if curve is None:
            picture.line([place(*point) for point in points], colour)
        else:
            xs = [10 ** (first + (last - first) * step / 40) for step in range(41)]
            picture.line([place(x, max(0.0, curve(x))) for x in xs], colour, dashed=True)
        picture.bar(left + 62 + 105 * number, top + 28, 10, 10, colour)
        picture.text(left + 76 + 105 * number, top + 37, name, size=11)


def _short(size: float) -> str:
    if size >= 1e6:
        return f"{size / 1e6:g} M"
    return f"{size / 1e3:g} k" if size >= 1e3 else f"{size:g}"
