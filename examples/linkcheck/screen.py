"""The live display: how far the crawl is, and what the service said."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from . import crawl


class Screen:
    """What happens to the service, line by line, and below it a progress bar and the last pulse.

    Without a terminal only the lines.

    Args:
        console: Where to.

    Attributes:
        history: Every event of the service and everything done to it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_at = time.monotonic()
        self._bar = Progress(
            TextColumn("[bold]tasks"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn()
        )
        self._task = self._bar.add_task("", total=None)
        self._pulse = Text()
        self._live = Live(console=console, auto_refresh=False)
        self.history: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, progress: crawl.Progress) -> None:
        """Draw anew."""
        self._bar.update(self._task, total=progress.planned, completed=progress.done)
        if self._console.is_terminal:
            self._live.update(Group(self._bar, self._pulse), refresh=True)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def tell(self, event: str, data: Any) -> None:
        """Add an event of the service, or something done to it."""
        self.history.append({"event": event, "data": data})
        seconds = time.monotonic() - self._began_at
        if isinstance(data, dict):
            data = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in data.items())
        colour = "yellow" if event.startswith(">") else "cyan"
        text = escape(data or "")
        line = f"{seconds:6.2f}  service  [{colour}]{event:10}[/] [dim]{text}[/]"
        if event == "pulse":
            self._pulse = Text.from_markup(line)
        else:
            self.say(line)
