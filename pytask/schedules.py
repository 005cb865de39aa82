"""When a task starts by itself: at an interval, or at the times of a cron expression.

Due times follow from the definition alone, not from when anything last ran, so that every worker
computes the same ones and none of them has to be the one that keeps the clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol, get_args
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from pytask.exceptions import ConfigurationError

#: What becomes of due times nobody was there for: one task for all, none, or one for each.
Missed = Literal["once", "skip", "all"]
#: Most tasks that "all" starts for the past; the oldest ones are left out.
MOST_MISSED = 1_000
#: Seconds after which a due time counts as missed.
LATE = 10.0
#: Shortest interval, in seconds.
SHORTEST = 0.1


#: What says when a function starts by itself, among the arguments of its decorator.
SCHEDULE_OPTIONS = ("run_every", "anchor", "cron", "timezone", "missed", "is_due")


class Timing(Protocol):
    """Knows the due times of a schedule."""

    def next_after(self, instant: float) -> float:
        """Return the first due time later than an instant, both in Unix seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """At an interval.

    Attributes:
        seconds: Between two due times.
        anchor: A due time, in the past or not, in Unix seconds.
    """

    seconds: float
    anchor: float = 0.0

    def next_after(self, instant: float) -> float:
        """Return the first due time later than an instant."""
        # Due times are stored in milliseconds: one that was rounded down is that one all the same.
        number = math.floor((instant + 0.001 - self.anchor) / self.seconds) + 1
        return self.anchor + number * self.seconds


@dataclass(frozen=True, slots=True)
class Cron:
    """At the times of a cron expression; where clocks are changed, as Debian's cron does.

    Attributes:
        expression: Five fields, or six with seconds before them.
        timezone: Whose clock it is read by.
    """

    expression: str
    timezone: str = "UTC"

    def next_after(self, instant: float) -> float:
        """Return the first due time later than an instant."""
        start = datetime.fromtimestamp(instant, ZoneInfo(self.timezone))
        return float(next(CronSim(self.expression, start)).timestamp())


@dataclass(frozen=True)
class Schedule:
    """A task that starts by itself.

    Attributes:
        name: Names the schedule; one task may have several.
        task: What is started.
        timing: When.
        data: What it is given.
        missed: What becomes of due times nobody was there for.
        is_due: Asked before each start; false leaves it out.
    """

    name: str
    task: str
    timing: Timing
    data: Mapping[str, Any] = field(default_factory=dict)
    missed: Missed = "once"
    is_due: Callable[[datetime], bool] | None = None

    def split(self, due: float, now: float) -> tuple[float | None, float]:
        """Decide what a due time in the past leads to.

        Args:
            due: The due time, in Unix seconds.
            now: The time.

        Returns:
            The due time to start a task for, or None, and the due time that comes after it.
        """
        after = self.timing.next_after(due)
        if self.missed == "all":
            if after <= now and self._count(after, now) >= MOST_MISSED:
                return None, after
            return due, after
        if after > now:
            return (None if self.missed == "skip" and now - due > LATE else due), after
        latest = max(self._between(due, now), default=due)
        started = None if self.missed == "skip" and now - latest > LATE else latest
        return started, self.timing.next_after(now)

    def _between(self, due: float, now: float) -> Iterator[float]:
        # From near the end: of a schedule that stood still for a year only the last time counts.
        if isinstance(self.timing, Every):
            due = max(due, now - 2 * self.timing.seconds)
        while (due := self.timing.next_after(due)) <= now:
            yield due

    def _count(self, due: float, now: float) -> int:
        number = 1
        while number < MOST_MISSED and (due := self.timing.next_after(due)) <= now:
            number += 1
        return number


def make_schedule(task: str, **options: Any) -> Schedule:
    """Make a schedule of options somebody gave.

    Args:
        task: Name of the task.
        **options: ``name``, ``run_every`` (seconds or timedelta) with ``anchor`` (datetime), or
            ``cron`` with ``timezone``; ``data``, ``missed``, ``is_due``.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    given = {name: value for name, value in options.items() if value is not None}
    name = given.pop("name", task)
    missed = given.pop("missed", "once")
    data, is_due = given.pop("data", {}), given.pop("is_due", None)
    whose = f"schedule {name!r}"
    if missed not in get_args(Missed):
        raise ConfigurationError(f"{whose}: missed={missed!r}: {', '.join(get_args(Missed))}")
    return Schedule(name, task, _make_timing(whose, given), data, missed, is_due)


def _make_timing(whose: str, given: dict[str, Any]) -> Timing:
    if "run_every" in given and not set(given) - {"run_every", "anchor"}:
        every, anchor = given["run_every"], given.get("anchor")
        seconds = every.total_seconds() if isinstance(every, timedelta) else every
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ConfigurationError(f"{whose}: run_every={every!r}: seconds, or a timedelta")
        if not SHORTEST <= seconds < math.inf:
            raise ConfigurationError(f"{whose}: run_every={every!r}: at least {SHORTEST} s")
        if anchor is None:
            return Every(float(seconds))
        if not isinstance(anchor, datetime) or anchor.tzinfo is None:
            raise ConfigurationError(f"{whose}: anchor={anchor!r}: a datetime with a time zone")
        return Every(float(seconds), anchor.timestamp())
    if "cron" in given and not set(given) - {"cron", "timezone"}:
        cron = Cron(given["cron"], given.get("timezone", "UTC"))
        try:
            cron.next_after(datetime.now(UTC).timestamp())
        except CronSimError as error:
            raise ConfigurationError(f"{whose}: cron={cron.expression!r}: {error}") from None
        except StopIteration:
            raise ConfigurationError(f"{whose}: cron={cron.expression!r} is never due") from None
        except AttributeError:
            raise ConfigurationError(f"{whose}: cron={cron.expression!r}: a text") from None
        except (LookupError, ValueError, TypeError, OSError):
            raise ConfigurationError(
                f"{whose}: timezone={cron.timezone!r}: no such time zone, for example Europe/Berlin"
            ) from None
        return cron
    raise ConfigurationError(
        f"{whose}: run_every, with or without anchor, or cron, with or without timezone, is "
        f"needed; given are {', '.join(sorted(given)) or 'none'}"
    )


def schedule_of_class(task_class: type[Any], name: str) -> Schedule | None:
    """Return the schedule a task class declares by ``RUN_EVERY`` or ``CRON``, if it does.

    Raises:
        ConfigurationError: An attribute cannot be used.
    """
    attributes = ("run_every", "anchor", "cron", "timezone", "missed")
    options = {one: getattr(task_class, one.upper(), None) for one in attributes}
    if options["run_every"] is None and options["cron"] is None:
        return None
    return make_schedule(name, is_due=getattr(task_class, "is_due", None), **options)
