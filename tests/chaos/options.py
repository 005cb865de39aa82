"""How a run is set up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: Time-outs so short that hundreds of recoveries fit into minutes.
FAST: dict[str, Any] = {
    "update_task_interval": 0.5,
    "beat_interval": 0.25,
    "worker_timeout": 2.0,
    "task_timeout": 4.0,
    "redis_grace": 1.5,
    "hub_stall_timeout": 2.0,
    "stop_timeout": 0.5,
    "process_pool_size": 2,
    "missing_grace": 1.5,
    "block_seconds": 1.0,
    "drain_timeout": 0.2,
    "max_reaps": 4,
    "keep_results": 1.0,
    "concurrency": 30,
    "claim_batch": 20,
    "finish_batch": 50,
    "heartbeat_batch": 50,
    "queues": ["default", "mail"],
}


@dataclass
class Options:
    """One run.

    Attributes:
        seed: Decides the fault schedule.
        topology: ``single``, ``sentinel`` or ``cluster``.
        seconds: How long faults are injected.
        server: ``redis`` or ``valkey``.
        pause: Seconds between two faults, on average.
        workers: Worker processes.
        producers: Producer processes.
        rate: Tasks per second of each producer.
        backlog: They wait while so many tasks wait.
        only: Faults to limit the run to.
        settings: Of all processes.
        keep: Where to keep the evidence; empty: nowhere.
        appendfsync: Of the servers; only with ``everysec`` a killed one may lose what it had
            acknowledged.
        strict: Whether a run that exercised too little fails.
    """

    seed: int
    topology: str = "single"
    seconds: float = 60.0
    server: str = "redis"
    pause: float = 0.45
    workers: int = 4
    producers: int = 3
    rate: float = 250.0
    backlog: int = 3000
    only: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=lambda: dict(FAST))
    keep: str = ""
    strict: bool = True
    appendfsync: str = "everysec"
