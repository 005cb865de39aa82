"""How soon a worker is at work, from the start of its process to the first line of a task."""

from .harness import Bench, Metrics


def measure(bench: Bench, metrics: Metrics) -> None:
    """Start workers for a task that waits already."""
    for _ in range(1 if bench.quick else max(5, bench.rounds)):
        with bench.place() as place:
            task_id = place.helpers.start_task("bench/stamp", cleanup=False)
            worker = place.worker(ready=False)
            began_at = place.helpers.future(task_id).result(timeout=60)
            metrics.add("process to first task", began_at - worker.started_at, "s")
            memory = worker.rss / 1024 / 1024
            metrics.add("memory of an idle worker", memory, "MB")
            stopped = worker.stop()
            metrics.add("SIGTERM to the end", stopped, "s")
