"""Hears what is asked of running tasks, and that there is work, at the instant it is said.

The channel is a hint that can be lost; the request also stands in the record and comes with the
next heartbeat. A reload carries an ID, so that it is carried out once although it arrives twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from pytask.events import Message, Subscription
from pytask.keys import Keys
from pytask.worker.guard import Pulse
from pytask.worker.runner import Runner
from pytask.worker.runs import STOP, RunTable
from pytask.worker.service import Service

logger = logging.getLogger(__name__)

#: Seconds between two pings of the subscription, while tasks run that may be told to stop;
PING_INTERVAL = 1.0
#: and while none does, but local ones: what is said then can wait for the next look or heartbeat.
REST_PING_INTERVAL = 5.0


class Control(Service):
    """Listens on the control channels of all tasks, with one pattern.

    Args:
        link: Where to subscribe.
        keys: The names of the channels.
        table: The runs; requests for tasks that run elsewhere are ignored.
        runner: Carries them out.
        pulse: Asked to look into the records after a gap.
        wake_channels: Where it is said that there is something to claim.
        on_wake: Told in which partition.
        on_delayed: Told in which partition a delayed task is due sooner than those known.
    """

    name = "control"

    def __init__(
        self,
        *,
        link: Any,
        keys: Keys,
        table: RunTable,
        runner: Runner,
        pulse: Pulse,
        wake_channels: Sequence[str] = (),
        on_wake: Callable[[int], None] = lambda partition: None,
        on_delayed: Callable[[int], None] = lambda partition: None,
    ) -> None:
        super().__init__()
        self._keys = keys
        self._table = table
        self._runner = runner
        self._pulse = pulse
        self._link = link
        self._wake_channels = wake_channels
        self._wakers = {b"": on_wake, b"delayed": on_delayed}
        self._subscription = self._subscribe()
        self._generation = 0

    @property
    def ready(self) -> bool:
        """Whether requests arrive at once."""
        return self._subscription.ready

    def start(self) -> None:
        """Begin to listen."""
        if not self.is_running:
            self._subscription = self._subscribe()
            self._generation = 0
        super().start()

    def run_once(self) -> None:
        """Wait for a message and carry it out."""
        is_at_rest = self.ready and not self._table.occupied
        self._subscription.ping_interval = REST_PING_INTERVAL if is_at_rest else PING_INTERVAL
        with self.resting():
            # No longer: what the worker is given meanwhile asks for more pings.
            message = self._subscription.get(PING_INTERVAL)
        if self._subscription.generation != self._generation:
            if self._generation:
                # What was published meanwhile is lost, but written down.
                self._pulse.hurry()
                for partition in range(len(self._keys.partitions)):
                    for waker in self._wakers.values():
                        waker(partition)
            self._generation = self._subscription.generation
        if message is not None:
            self._obey(message)

    def ended(self) -> None:
        """Close the subscription."""
        self._subscription.close()

    def _subscribe(self) -> Subscription:
        return Subscription(
            self._link,
            channels=self._wake_channels,
            patterns=[self._keys.control_pattern],
            ping_interval=PING_INTERVAL,
        )

    def _wake(self, data: bytes) -> None:
        what, _, partition = data.rpartition(b":")
        waker = self._wakers.get(what)
        # Anybody may publish anything.
        if waker is not None and partition.isdigit() and len(partition) < 9:
            waker(int(partition))

    def _obey(self, message: Message) -> None:
        if message.pattern is None:
            self._wake(message.data)
            return
        task_id = self._keys.task_of_control_channel(message.channel)
        run = self._table.get(task_id) if task_id is not None else None
        if run is None:
            logger.debug("request on %s is not for this worker", message.channel)
            return
        command, _, reload_id = message.data.decode("utf-8", "replace").strip().partition(":")
        if command == "stop" and not reload_id:
            self._runner.request(run, STOP)
        elif command == "reload":
            self._runner.request_reload(run, reload_id)
        else:
            logger.warning(
                "request %r for task %s is unknown and ignored; there are stop and reload",
                message.data[:80],
                task_id,
            )
