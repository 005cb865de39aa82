"""All that pytask does to Redis, as verbs of the domain.

A :class:`Store` is the only caller of the scripts. It decides nothing: each verb builds keys and
arguments, runs one script per partition, and turns the reply into records and result codes.
"""

from __future__ import annotations

from pytask.store.ownership import Ownership
from pytask.store.reading import Reading
from pytask.store.requests import Requests
from pytask.store.timetable import Timetable
from pytask.store.upkeep import Upkeep


class Store(Requests, Ownership, Upkeep, Timetable, Reading):
    """The tasks of one installation in one Redis.

    Safe to share between greenlets and threads as far as its link is. Every verb may raise

    * :class:`~pytask.exceptions.RedisUnavailable` when Redis did not answer within the patience of
      this store; whether the call took effect is unknown, and repeating it is safe,
    * :class:`~pytask.exceptions.RedisRefused` when a verb that adds data finds Redis full,
    * :class:`~pytask.exceptions.WrongKeyType` when a key of pytask holds a foreign value; nothing
      was written then,
    * :class:`~pytask.exceptions.RedisRejected` for credentials and permissions.
    """


__all__ = ["Store"]
