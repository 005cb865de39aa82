"""Looks at how the servers are set up, and warns of what may cost tasks."""

from __future__ import annotations

import logging
from typing import Any

from pytask.exceptions import RedisError

logger = logging.getLogger(__name__)


def warn_of_unsafe_servers(link: Any) -> None:
    """Log a warning for each setting of a server that may lose tasks.

    Best effort: a server that does not tell is not reported.

    Args:
        link: A link of its own; it is closed.
    """
    try:
        replies = link.masters_execute("INFO")
    except RedisError as error:
        logger.debug("the servers were not checked: %s", error)
        return
    finally:
        link.close()
    found = {line for reply in replies for line in bytes(reply).decode("latin-1").splitlines()}
    for line in sorted(found):
        name, _, value = line.partition(":")
        if name == "maxmemory_policy" and value != "noeviction":
            logger.warning(
                "maxmemory-policy of Redis is %s: it may drop tasks to save memory; set noeviction",
                value,
            )
        elif name == "aof_enabled" and value == "0":
            logger.warning(
                "appendonly of Redis is off: what was written since its last snapshot is lost if "
                "it crashes; set appendonly yes"
            )
