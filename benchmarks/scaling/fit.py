"""Which curve the points lie on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """A fitted curve ``a + b * g(n)``.

    Attributes:
        kind: ``constant``, ``logarithmic`` or ``linear``.
        a: What is there at the start.
        b: What growth adds: for each factor of ten, or for each million.
        error: Root of the mean squared relative deviation of the points.
    """

    kind: str
    a: float
    b: float
    error: float

    def at(self, size: float) -> float:
        """Return its value for so many tasks."""
        return self.a + self.b * SHAPES[self.kind](size)

    def __str__(self) -> str:
        match self.kind:
            case "constant":
                text = f"{self.a:.3g}"
            case "logarithmic":
                text = f"{self.a:.3g} {self.b:+.3g} · log10(n)"
            case _:
                text = f"{self.a:.3g} {self.b:+.3g} · n / 1,000,000"
        return f"{text} (off by {100 * self.error:.0f} %)"


SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 0.0,
    "logarithmic": lambda size: math.log10(size),
    "linear": lambda size: size / 1e6,
}
#: A curve with more to say has to halve what the simpler one leaves over.
_WORTH = 0.5


def fit(sizes: Sequence[float], values: Sequence[float]) -> Curve:
    """Return the simplest curve that describes the points, by least squares."""
    best = _fit(sizes, values, "constant")
    candidates = [_fit(sizes, values, kind) for kind in ("logarithmic", "linear")]
    closest = min(candidates, key=lambda curve: curve.error)
    # Within a few per cent there is nothing to explain.
    return closest if best.error > 0.05 and closest.error < _WORTH * best.error else best


def _fit(sizes: Sequence[float], values: Sequence[float], kind: str) -> Curve:
    xs = [SHAPES[kind](size) for size in sizes]
    # Relative deviations count: a small value must fit as well as a large one.
    weights = [1.0 / max(abs(value), 1e-12) ** 2 for value in values]
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    mean_y = sum(w * y for w, y in zip(weights, values, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, xs, strict=True))
    both = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in zip(weights, xs, values, strict=True))
    b = both / spread if spread > 1e-18 else 0.0
    a = mean_y - b * mean_x
    squares = [((a + b * x - y) / max(abs(y), 1e-12)) ** 2 for x, y in zip(xs, values, strict=True)]
    return Curve(kind, a, b, math.sqrt(sum(squares) / len(squares)))
