"""Queues by name: which ones a worker takes tasks from, in which order, and the one of its node."""

from __future__ import annotations

import platform
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from zlib import crc32

from pytask.exceptions import ConfigurationError
from pytask.keys import LONGEST_QUEUE, NODE_PREFIX, check_queue_name

#: Stands for the queue of the node that starts the task; no queue can be named so.
LOCAL: Final = "@local"

_UNUSABLE = re.compile(r"[^A-Za-z0-9_.\-]+")


class Queues(tuple[str, ...]):
    """The names of queues in their order, the most urgent first, or with weights.

    Attributes:
        weights: What share of the claims begins with each queue; None: the order is strict.
    """

    weights: tuple[float, ...] | None

    def __new__(cls, names: Iterable[str] = (), weights: Iterable[float] | None = None) -> Queues:
        made = super().__new__(cls, names)
        made.weights = None if weights is None else tuple(weights)
        return made

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.weights == getattr(other, "weights", None)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return super().__hash__()

    def __str__(self) -> str:
        """Return the text :meth:`read` understands: ``mail,default`` or ``mail=3,default=1``."""
        if self.weights is None:
            return ",".join(self)
        return ",".join(f"{name}={weight:g}" for name, weight in self.with_weights())

    def with_weights(self) -> Iterator[tuple[str, float]]:
        """Yield each name with its weight."""
        return zip(self, self.weights or (1.0,) * len(self), strict=True)

    def plus(self, queue: str) -> Queues:
        """Return these and one more behind them; among weights its weight is 1.

        Raises:
            ConfigurationError: The name cannot be one of a queue.
        """
        check_queue_name(queue)
        return Queues((*self, queue), None if self.weights is None else (*self.weights, 1.0))

    def as_json(self) -> list[str] | dict[str, float]:
        """Return a list of the names, or an object of the weights."""
        return list(self) if self.weights is None else dict(self.with_weights())

    def draw(self) -> tuple[str, ...]:
        """Return an order for one claim: always the same, or one drawn by the weights.

        A queue of weight 3 comes before one of weight 1 in three draws of four, whichever others
        there are; each comes first now and then, so none starves.
        """
        if self.weights is None:
            return self
        # Efraimidis and Spirakis: sampling without replacement, with one random number for each.
        keyed = [(random.random() ** (1.0 / weight), name) for name, weight in self.with_weights()]
        return tuple(name for _, name in sorted(keyed, reverse=True))

    @classmethod
    def read(cls, given: Any) -> Queues:
        """Read what somebody gave: names, names with weights, or either as text.

        Args:
            given: A sequence of names, a mapping from name to weight, or text as from ``str()``.

        Raises:
            ConfigurationError: There is none, one is named twice or cannot be used, or only some
                have a weight.
        """
        if isinstance(given, Queues):
            return given
        if isinstance(given, Mapping):
            pairs = list(given.items())
        else:
            parts = given.split(",") if isinstance(given, str) else list(given)
            pairs = [_split(part) for part in parts]
        names = [check_queue_name(name) for name, _ in pairs]
        weights = [weight for _, weight in pairs if weight is not None]
        if not names:
            raise ConfigurationError("queues=(): a worker needs at least one queue")
        if len(set(names)) < len(names):
            raise ConfigurationError(f"queues={tuple(names)}: a queue is named twice")
        if weights and len(weights) < len(names):
            raise ConfigurationError(
                f"queues={given!r}: give each queue a weight, or none of them: without weights "
                "the order is strict"
            )
        return cls(names, [_check_weight(*pair) for pair in pairs] if weights else None)


def _split(part: Any) -> tuple[Any, Any]:
    if not isinstance(part, str):
        return part, None
    name, equals, weight = part.strip().partition("=")
    return name.strip(), weight.strip() if equals else None


def _check_weight(name: str, given: Any) -> float:
    try:
        weight = float(given)
    except (TypeError, ValueError):
        weight = 0.0
    if isinstance(given, bool) or not 0.001 <= weight <= 1e6:
        raise ConfigurationError(
            f"queue {name}: weight {given!r} is not usable, a number from 0.001 to 1,000,000 is"
        )
    return weight


class QueueInfo(NamedTuple):
    """What is to be told about one queue."""

    name: str
    #: Tasks that wait in it; delayed ones are in no queue yet.
    waiting: int
    #: Whether its tasks are held back.
    paused: bool
    #: Living workers that take tasks from it.
    consumers: list[str]


def node_queue(node: str = "") -> str:
    """Return the name of the queue of a node.

    Args:
        node: The name of the node; empty: the name of this host, with what a queue name cannot
            have replaced.

    Raises:
        ConfigurationError: The name cannot be used.
    """
    if node:
        return check_queue_name(f"{NODE_PREFIX}{node}")
    host = platform.node() or "unnamed"
    fit = _UNUSABLE.sub("-", host)
    most = LONGEST_QUEUE - len(NODE_PREFIX)
    if fit != host or len(fit) > most:
        # Two hosts whose names differ must not share a queue because they had to be made fit.
        fit = f"{fit[: most - 9]}-{crc32(host.encode()):08x}"
    return NODE_PREFIX + fit
