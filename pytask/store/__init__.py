"""All that pytask does to Redis, as verbs of the domain.

A :class:`Store` is the only caller of the scripts. It decides nothing: each verb builds keys and
arguments, runs one script per partition, and turns the reply into records and result codes.
"""

from __future__ import annotations

from pytask.backends import Backend, Link, MakesStore
from pytask.keys import Keys
from pytask.settings import Settings
from pytask.store.ownership import Ownership
from pytask.store.permits import Permits
from pytask.store.queueing import Queueing
from pytask.store.reading import Reading
from pytask.store.requests import Requests
from pytask.store.timetable import Timetable
from pytask.store.upkeep import Upkeep


class Store(Requests, Ownership, Upkeep, Timetable, Permits, Queueing, Reading):
    """The tasks of one installation in one Redis.

    Safe to share between greenlets and threads as far as its link is. Every verb may raise

    * :class:`~pytask.exceptions.RedisUnavailable` when Redis did not answer within the patience of
      this store; whether the call took effect is unknown, and repeating it is safe,
    * :class:`~pytask.exceptions.RedisRefused` when a verb that adds data finds Redis full,
    * :class:`~pytask.exceptions.WrongKeyType` when a key of pytask holds a foreign value; nothing
      was written then,
    * :class:`~pytask.exceptions.RedisRejected` for credentials and permissions.
    """


def open_store(backend: Backend, link: Link, keys: Keys, settings: Settings) -> Store:
    """Return the store of a back-end: its own if it has one, or ours on a link of it."""
    if isinstance(backend, MakesStore):
        return backend.make_store(link, keys, settings)
    return Store(link, keys, settings)


__all__ = ["Store", "open_store"]
