"""The part of the helpers that is about queues as a whole."""

from __future__ import annotations

from pytask.keys import check_queue_name
from pytask.queues import LOCAL, QueueInfo
from pytask.settings import Settings
from pytask.states import Code
from pytask.store import Store


class Queueing:
    """Holds queues back, tells their sizes, empties them."""

    settings: Settings

    @property
    def store(self) -> Store:
        """The store behind these helpers."""
        raise NotImplementedError

    def pause_queue(self, queue: str) -> bool:
        """Hold the tasks of a queue back, in all workers, until :meth:`resume_queue`.

        Tasks can still be started into it, and wait. What runs goes on.

        Args:
            queue: Its name; ``pytask.LOCAL``: that of this machine.

        Returns:
            Whether it was not paused before.

        Raises:
            ConfigurationError: The name cannot be one of a queue.
        """
        return self.store.pause(self._queue(queue)) is Code.OK

    def resume_queue(self, queue: str) -> bool:
        """Let the tasks of a queue start again.

        Args:
            queue: Its name; ``pytask.LOCAL``: that of this machine.

        Returns:
            Whether it was paused.

        Raises:
            ConfigurationError: The name cannot be one of a queue.
        """
        return self.store.resume(self._queue(queue)) is Code.OK

    def flush_queue(self, queue: str) -> int:
        """Remove the tasks that wait in a queue, with their records; each says ``removed``.

        Tasks that run, that are delayed, or that were stopped stay. Those started into the queue
        meanwhile may stay or go. If it fails half way it can be called again.

        Args:
            queue: Its name; ``pytask.LOCAL``: that of this machine.

        Returns:
            How many were removed, as far as Redis has answered.

        Raises:
            ConfigurationError: The name cannot be one of a queue.
        """
        return self.store.flush(self._queue(queue))

    def queue_size(self, queue: str) -> int:
        """Return how many tasks wait in a queue; delayed ones do not count.

        Args:
            queue: Its name; ``pytask.LOCAL``: that of this machine.

        Raises:
            ConfigurationError: The name cannot be one of a queue.
        """
        return self.store.count_waiting(self._queue(queue))

    def queues(self, *, scan: bool = True) -> dict[str, QueueInfo]:
        """Return what there is to know of each queue: its size, its workers, whether it is paused.

        Known are the default queue, those in the settings here, those that living workers serve,
        and paused ones.

        Args:
            scan: Look for queues that nobody serves as well, through the names of all keys in
                Redis; takes a second for about a million of them.
        """
        store = self.store
        serving = [one for one in store.list_workers() if one.alive]
        found = store.find_queues() if scan else ()
        infos = store.read_queues(serving, [*self.settings.queues, *sorted(set(found))])
        return {info.name: info for info in infos}

    def _queue(self, queue: str) -> str:
        return self.settings.node_queue if queue == LOCAL else check_queue_name(queue)
