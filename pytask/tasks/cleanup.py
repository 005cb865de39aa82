"""Cleanup: drains the end queue, calls your handler, and forgets what ended.

The handler runs *before* the task is forgotten, and a handler that raises keeps the task for
another try: nothing a task left behind is lost to a crash in between, and a handler may see a
task twice.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, ClassVar

import gevent
from gevent.event import Event
from greenlet import GreenletExit, greenlet

from pytask.exceptions import ConfigurationError, RedisError
from pytask.records import Ended
from pytask.settings import Settings
from pytask.store import Store
from pytask.task import Task

logger = logging.getLogger("pytask.cleanup")

#: Tasks taken per round-trip: their records travel, so this bounds memory.
BATCH = 100
#: Seconds between two tries of a task whose handler raised.
RETRY_PAUSE = 1.0
#: A wait for ended tasks lasts so many times `block_seconds`: no caller is kept waiting by it.
WAITS = 2
#: Seconds between two looks for failures that were kept long enough.
FORGET_INTERVAL = 60.0

Handler = Callable[[str, Mapping[str, str]], Any]


def find_handler(path: str) -> Handler:
    """Import a ``module:attribute``.

    Raises:
        ConfigurationError: There is no such thing, or it cannot be called.
    """
    module_name, _, attribute = path.partition(":")
    try:
        handler: Any = import_module(module_name)
        for name in attribute.split("."):
            handler = getattr(handler, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"task_handler={path!r} cannot be imported: {error}") from error
    if not callable(handler):
        raise ConfigurationError(f"task_handler={path!r} is not callable")
    return handler  # type: ignore[no-any-return]


class Cleanup(Task):
    """Forgets tasks that have ended, after an optional handler has seen them.

    A success is forgotten at once, or after ``keep_results``; ERROR, EXCEPTION and REVOKED stay for
    ``keep_failed``.

    Args:
        task_handler: ``module:attribute`` of a function called with the task ID and the record, a
            dict of text fields.
    """

    NAME: ClassVar[str] = "pytask/cleanup"

    def __init__(self, task_handler: str | None = None) -> None:
        self.task_handler = find_handler(task_handler) if task_handler else None
        self._stopping = Event()
        self._drains: list[gevent.Greenlet[..., None]] = []
        self._waiting: set[greenlet] = set()
        self._pid = os.getpid()

    def start(self) -> None:
        worker = self.helpers.get_task(self.id, "worker") or self.id
        for partition in self._store.partitions:
            self._drains.append(gevent.spawn(self._drain, partition, worker))
        try:
            gevent.joinall(self._drains)
        finally:
            self._stopping.set()
            gevent.killall(self._drains)
            self._check_process()
            # What was taken and not dealt with goes to the next Cleanup at once; if Redis is
            # away, a Monitor finds it in the claim list once this worker is gone.
            store: Store = self.helpers.store
            for partition in store.partitions:
                with suppress(RedisError):
                    store.patient(0).give_back(partition, worker=worker, queues=())

    def stop(self) -> None:
        self._stopping.set()
        # A handler that is at work may finish; who only waits for work need not.
        gevent.killall(list(self._waiting), block=False)

    @property
    def _settings(self) -> Settings:
        settings: Settings = self.helpers.settings
        return settings

    @property
    def _store(self) -> Store:
        store: Store = self.helpers.store
        return store.patient(None, self._stopping.is_set)

    def _drain(self, partition: int, worker: str) -> None:
        next_forget_at, may_have_some = time.monotonic(), True
        while not self._stopping.is_set():
            try:
                if may_have_some:
                    may_have_some = self.clean_once(partition, worker) > 0
                else:
                    # A wait that fails may have moved something.
                    may_have_some = True
                    may_have_some = self._wait_for_ended(partition, worker)
                if time.monotonic() >= next_forget_at:
                    self._forget_failed(partition)
                    next_forget_at = time.monotonic() + FORGET_INTERVAL
            except RedisError as error:
                logger.warning("Cleanup is held up: %s; it goes on in %s s", error, RETRY_PAUSE)
                self._stopping.wait(RETRY_PAUSE)

    def _wait_for_ended(self, partition: int, worker: str) -> bool:
        me = gevent.getcurrent()
        self._waiting.add(me)
        try:
            if self._stopping.is_set():
                return False
            seconds = WAITS * self._settings.block_seconds
            return self._store.wait_for_ended(partition, worker, seconds)
        finally:
            self._waiting.discard(me)

    def clean_once(self, partition: int, worker: str) -> int:
        """Deal with one batch of ended tasks.

        Returns:
            How many were taken.
        """
        ended = self._store.take_ended(partition, worker, BATCH)
        failed = [item.task_id for item in ended if not self._handle(item)]
        handled = [item for item in ended if item.task_id not in failed]
        keep = self._settings.keep_failed > 0
        self._store.acknowledge_ended(
            partition,
            worker,
            handled,
            keep_failed=keep,
            keep_results=self._settings.keep_results,
        )
        if failed:
            self._store.return_ended(partition, worker, failed)
            self._stopping.wait(RETRY_PAUSE)
        return len(ended)

    def _check_process(self) -> None:
        """End this greenlet if it is a copy, in the child of a task that forks."""
        if os.getpid() != self._pid:
            raise GreenletExit

    def _handle(self, item: Ended) -> bool:
        self._check_process()
        if self.task_handler is None:
            return True
        try:
            self.task_handler(item.task_id, item.record)
        except Exception:
            logger.exception(
                "Handler failed for task %s; it stays in the end queue for another try",
                item.task_id,
            )
            return False
        return True

    def _forget_failed(self, partition: int) -> None:
        while self._store.forget_failed(partition, self._settings.keep_failed, BATCH) == BATCH:
            pass
