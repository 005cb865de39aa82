"""How a script is called: encoded, on the right link, repeated while Redis is away."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pytask.backends import Link
from pytask.connection.retry import Patience, retrying
from pytask.keys import Keys, PartitionKeys
from pytask.records import to_text
from pytask.scripts import load
from pytask.settings import Settings
from pytask.states import Code

T = TypeVar("T")
Argument = str | bytes | int | float

#: Most tasks one script call handles, whatever the settings say: Lua's ``unpack`` fails at 8,000
#: values, and by then half of the work would have been written.
MAX_BATCH = 1_000

_CODES = {code.value: code for code in Code}


class Counted:
    """A link that counts how often a script was sent.

    Attributes:
        attempts: How often.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self.attempts = 0

    def evalsha(self, *args: Any) -> Any:
        """Pass it on."""
        self.attempts += 1
        return self._link.evalsha(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class Calls:
    """The part of the store that its verbs are built on.

    Args:
        link: Where Redis is.
        keys: How the keys are named.
        settings: Batch sizes and time-outs.
        patience: How long a call is repeated while Redis cannot answer; None: as
            ``settings.redis_patience`` says.
    """

    def __init__(
        self, link: Link, keys: Keys, settings: Settings, patience: Patience | None = None
    ) -> None:
        self.keys = keys
        self.settings = settings
        self._link = link
        self._patience = patience or Patience(settings.redis_patience)
        self._give_up: Callable[[], bool] | None = None

    @property
    def partitions(self) -> range:
        return range(len(self.keys.partitions))

    def partition_of(self, task_id: str) -> int:
        return self.keys.partition_of(task_id)

    def patient(self: T, seconds: float | None, give_up: Callable[[], bool] | None = None) -> T:
        """Return a view of this store that repeats calls for so long; None: for ever.

        Args:
            seconds: The budget of each call.
            give_up: Asked between attempts; when it says true the last error is raised.
        """
        view = copy.copy(self)
        view._patience = Patience(seconds)  # type: ignore[attr-defined]
        view._give_up = give_up  # type: ignore[attr-defined]
        return view

    def using(self: T, link: Link) -> T:
        """Return a view of this store on another link, for example that of another thread."""
        view = copy.copy(self)
        view._link = link  # type: ignore[attr-defined]
        return view

    def _run(
        self,
        name: str,
        keys: Sequence[str | bytes],
        args: Sequence[Argument],
        replicas: int = 0,
    ) -> Any:
        script = load(name)
        try:
            return retrying(
                lambda: self._link.evalsha(script.sha, script.source, keys, args, replicas),
                self._patience,
                self._give_up,
            )
        except UnicodeEncodeError:
            # An ID that is no UTF-8, found before anything was sent. Encoding every argument here
            # for the sake of these would cost more than all else on the way to the socket.
            return self._run(name, _encoded(keys), _encoded(args), replicas)

    def _command(self, *args: Argument) -> Any:
        raw = _encoded(args)
        return retrying(lambda: self._link.execute(*raw), self._patience, self._give_up)

    def _partition(self, partition: int) -> PartitionKeys:
        return self.keys.partitions[partition]


def _encoded(values: Iterable[Argument]) -> list[Any]:
    return [
        value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        for value in values
    ]


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    size = min(size, MAX_BATCH)
    for start in range(0, len(items), size):
        yield items[start : start + size]


def codes(reply: Iterable[int]) -> list[Code]:
    # A quarter of the time that calling Code takes.
    return [_CODES[code] for code in reply]


def fields(reply: Sequence[bytes]) -> dict[str, str]:
    """Turn a flat reply of fields and values into a dict."""
    texts = [to_text(value) for value in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))
