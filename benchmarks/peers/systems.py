"""How each system is installed, started and counted, and the settings chosen for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OURS = "pytask"
#: No system: our scripts in a bare loop, the most that pytask could reach.
BARE = "bare loop"

_ONE_AT_A_TIME = "a worker process runs one job at a time"


@dataclass(frozen=True)
class System:
    """A task queue under measurement.

    Attributes:
        name: As people write it.
        packages: What pip installs, newest releases.
        versions: The packages whose versions are reported.
        worker: Command line of one worker process, from its environment's ``bin``; ``{n}`` stands
            for the number of tasks at a time.
        settings: What differs from the defaults, and why.
        results: Counts the stored results: a Redis command, or a pattern of keys.
        remaining: A Redis command for the number of tasks not yet done; None: all keys but those
            there were before are results.
        concurrency: Tasks at a time where the work does not ask for more: with which it is fastest.
        absent: Work it cannot do, and why.
        drain: How many tasks it has to get through at full size.
        idle_without: Words of the command line that are left out where it has nothing to do.
        environment: Whose environment and client it uses; its own if empty.
        naps: Its tasks that sleep, by what they are while they do: ``greenlet`` or ``coroutine``.
    """

    name: str
    packages: Sequence[str]
    versions: Sequence[str]
    worker: str
    settings: Sequence[str]
    results: Sequence[str]
    remaining: Sequence[str] | None
    concurrency: int = 100
    absent: dict[str, str] = field(default_factory=dict)
    drain: int = 20_000
    idle_without: Sequence[str] = ()
    environment: str = ""
    naps: Mapping[str, str] = field(default_factory=lambda: {"greenlet": "nap"})

    @property
    def module(self) -> str:
        """First part of the name of its file under ``apps``, and name of its environment."""
        return self.environment or self.name.lower()


_COROUTINES = {"coroutine": "nap"}
_NO_BULK = {"bulk": "no way to start many tasks in one call"}

SYSTEMS = (
    System(
        OURS,
        ["-e", "."],
        ["pytask-gevent", "gevent", "redis", "hiredis"],
        "pytask worker -A pytask_app:app --no-cleanup --log-level warning",
        [
            "one worker process with its Monitor, `concurrency=1000` (the default)",
            "no Cleanup, so that results stay, as those of the others do; where the idle worker is "
            "measured it runs too, as in production",
        ],
        ["LLEN", "end-task"],
        None,
        concurrency=1_000,
        idle_without=["--no-cleanup"],
        naps={"greenlet": "nap", "coroutine": "nap_async"},
    ),
    System(
        "Celery",
        ["celery[gevent,redis]", "hiredis"],
        ["celery", "kombu", "gevent", "redis", "hiredis"],
        "celery -A celery_app worker -P gevent -c {n} -l WARNING"
        " --without-gossip --without-mingle --without-heartbeat",
        [
            "gevent pool; no gossip, mingle and heartbeat, which one worker does not need",
            "`result_backend_thread_safe`: else each task opens a connection for its result",
            "rate limits off (`worker_disable_rate_limits`), JSON, `redis_max_connections` raised",
            "`visibility_timeout` above the longest task",
        ],
        ["celery-task-meta-*"],
        None,
        absent={"bulk": "a group is sent one message at a time"},
        drain=8_000,
    ),
    System(
        "RQ",
        ["rq", "hiredis"],
        ["rq", "redis", "hiredis"],
        "rq worker -q -w rq.SimpleWorker --disable-job-desc-logging -u {url} bench",
        ["`SimpleWorker`, which does not fork for each job: the default worker does"],
        ["rq:results:*"],
        ["LLEN", "rq:queue:bench"],
        concurrency=1,
        absent={"sleep": _ONE_AT_A_TIME, "memory": _ONE_AT_A_TIME},
        drain=3_000,
    ),
    System(
        "Dramatiq",
        ["dramatiq[redis,gevent]", "hiredis"],
        ["dramatiq", "gevent", "redis", "hiredis"],
        "dramatiq-gevent dramatiq_app -p 1 -t {n}",
        [
            "`dramatiq-gevent -p 1`; results middleware on the same client",
            "`max_connections` raised: redis-py 8 allows 100, fewer than there are threads",
            "time limit above the longest task",
        ],
        ["????????????????????????????????"],
        ["HLEN", "dramatiq:default.msgs"],
        concurrency=50,
        absent={"bulk": "a group is sent one message at a time"},
    ),
    System(
        "Huey",
        ["huey", "redis", "gevent", "hiredis"],
        ["huey", "gevent", "redis", "hiredis"],
        "python -m huey_greenlets {n}",
        [
            "`huey_consumer -k greenlet` after `monkey.patch_all()`, blocking pops, no periodic "
            "tasks",
            "`max_connections` raised: redis-py 8 allows 100, fewer than there are greenlets",
        ],
        ["HLEN", "huey.results.bench"],
        None,
        concurrency=20,
        absent=_NO_BULK,
    ),
    System(
        "arq",
        ["arq", "hiredis"],
        ["arq", "redis", "hiredis"],
        "arq arq_app.WorkerSettings",
        [
            "`max_jobs` as the work asks; `poll_delay` 0.5 s, the default",
            "`job_timeout` above the longest task; `log_results` off",
        ],
        ["arq:result:*"],
        ["ZCARD", "arq:queue"],
        concurrency=1_000,
        absent=_NO_BULK,
        naps=_COROUTINES,
    ),
    System(
        "taskiq",
        ["taskiq", "taskiq-redis", "uvloop", "hiredis"],
        ["taskiq", "taskiq-redis", "redis", "uvloop", "hiredis"],
        "taskiq worker taskiq_app:broker --workers 1 --log-level WARNING --max-async-tasks {n}",
        [
            "`RedisStreamBroker`, the one with acknowledgements; `RedisAsyncResultBackend`; uvloop",
            "`idle_timeout` above the longest task",
        ],
        ["result:*"],
        None,
        absent=_NO_BULK,
        naps=_COROUTINES,
    ),
    System(
        "SAQ",
        ["saq[redis,hiredis]", "typing_extensions", "uvloop"],
        ["saq", "redis", "hiredis"],
        "saq saq_app.settings --quiet",
        ["`concurrency` as the work asks; job time-out above the longest task"],
        ["saq:job:bench:*"],
        ["ZCARD", "saq:bench:incomplete"],
        absent={"bulk": "`map` waits for the results, and sends one job at a time"},
        naps=_COROUTINES,
    ),
    System(
        "streaq",
        ["streaq", "uvloop", "hiredis"],
        ["streaq", "coredis", "uvloop", "hiredis"],
        "streaq run streaq_app:worker",
        ["`concurrency` as the work asks; tasks do not log (`silent`); results for an hour"],
        ["ZCARD", "streaq:bench:index:results"],
        None,
        drain=10_000,
        naps=_COROUTINES,
    ),
)

_BY_DESIGN = "no worker, just its scripts"
BARE_LOOP = System(
    BARE,
    (),
    (),
    "python -m bare_loop",
    ["claim 200, finish 200, with one connection and nothing in between"],
    ["LLEN", "end-task"],
    None,
    environment=OURS,
    absent=dict.fromkeys(
        ("enqueue", "bulk", "sleep", "latency", "load", "memory", "startup", "idle"), _BY_DESIGN
    ),
)

BY_NAME = {system.name: system for system in (*SYSTEMS, BARE_LOOP)}
