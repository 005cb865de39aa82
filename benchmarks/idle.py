"""What a worker without work costs Redis and the machine."""

import time

from .harness import Bench, Metrics

_KINDS = {
    "idle worker": [],
    "idle worker with Monitor and Cleanup": ["pytask/monitor", "pytask/cleanup"],
}


def measure(bench: Bench, metrics: Metrics) -> None:
    """Let a worker wait for a while."""
    seconds, settling = (1.0, 0.0) if bench.quick else (30.0, 5.0)
    for round_ in range(bench.rounds):
        bench.say(f"round {round_ + 1}: {seconds:g} s of waiting")
        for name, local in _KINDS.items():
            with bench.place() as place:
                worker = place.worker(local=local)
                time.sleep(settling)
                cpu, before = worker.cpu, sum(place.calls().values())
                time.sleep(seconds)
                # Those of scripts count; our own question does not.
                commands = sum(place.calls().values()) - before - 1
                metrics.add(name, commands / seconds, "commands/s")
                metrics.add(f"  CPU of {name}", 100 * (worker.cpu - cpu) / seconds, "% of a core")
