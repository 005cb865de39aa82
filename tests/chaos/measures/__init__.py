"""The measurements of the reliability report."""

from .base import Measure
from .control import stop_latency, stop_without_pubsub
from .load import duplicates, soak
from .servers import manual_failover, master_killed, redis_restart
from .workers import cpu_hog, poison, recovery_default, recovery_short, sigterm, zombies

ALL = [
    Measure(one)
    for one in (
        recovery_default,
        recovery_short,
        sigterm,
        redis_restart,
        master_killed,
        manual_failover,
        zombies,
        stop_latency,
        stop_without_pubsub,
        cpu_hog,
        poison,
        duplicates,
        soak,
    )
]
