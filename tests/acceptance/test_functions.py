"""Functions and schedules in a package of their own, served by workers of which one is killed."""

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pytask.exceptions import TaskCrashed
from tests.support.launch import FAST
from tests.support.namespace import Namespace
from tests.support.waiting import wait_until
from tests.support.worker import ROOT, WorkerProcess

pytestmark = pytest.mark.topologies("valkey")

PACKAGE = {
    "shop/__init__.py": "",
    "shop/app.py": """
        import json, os
        from pytask import PyTask
        app = PyTask(os.environ["SHOP_REDIS"], **json.loads(os.environ["SHOP_OPTIONS"]))
    """,
    "shop/jobs/__init__.py": "",
    "shop/jobs/mail.py": """
        import datetime
        import gevent
        from pytask import Task, current_task
        from shop.app import app
        from tests.support.tell import tell

        @app.task(name="mail/send", max_retries=1, retry_delay=0)
        def send(to: str, day: datetime.date, seconds: float = 0) -> list[str]:
            task = current_task()
            tell("sending", to=to, attempt=task.attempt)
            gevent.sleep(seconds if task.attempt == 1 else 0)
            again = count.options(cleanup=False).submit(to)
            return [day.isoformat(), again.id]

        @app.task
        def count(word: str) -> int:
            return len(word)

        @app.task(run_every=0.5)
        def tick() -> None:
            tell("tick", id=current_task().id)
    """,
    "shop/main.py": """
        from shop.app import app
        found = app.discover("shop.jobs.*")
    """,
}


@pytest.fixture
def shop(tmp_path: Path, worker_process: Any, topology: Any, namespace: Namespace) -> Any:
    """Start workers of a package as ``pytask worker -A shop.main`` does."""
    for name, text in PACKAGE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def start() -> WorkerProcess:
        worker: WorkerProcess = worker_process(
            "-m pytask",
            ["worker", "-A", "shop.main:app"],
            PYTHONPATH=f"{tmp_path}:{ROOT}",
            SHOP_REDIS=topology.deployment.url,
            SHOP_OPTIONS=json.dumps({**namespace.options, **FAST}),
        )
        worker.wait_for_line("takes tasks from")
        return worker

    return start


@pytest.mark.slow
def test_functions_of_a_package_are_found_checked_and_outlive_a_killed_worker(
    shop: Any, helpers: Any
) -> None:
    victim = shop()
    future = helpers.submit(
        "mail/send", {"to": "a@b.c", "day": "2026-12-31", "seconds": 600}, cleanup=False
    )
    victim.wait_for_event("sending", to="a@b.c")
    victim.kill()
    survivor = shop()
    day, counted = future.result(60)
    survivor.wait_for_event("sending", to="a@b.c", attempt=2)
    assert day == "2026-12-31"
    helpers.future(counted).wait(60)
    assert helpers.get_task(counted, "from_task") == future.id
    wrong = helpers.submit("mail/send", {"to": "a@b.c", "day": "tomorrow"}, cleanup=False)
    with pytest.raises(TaskCrashed, match="argument 'day' of task 'mail/send'"):
        wrong.result(60)
    assert helpers.get_task(wrong.id, "retries") is None
    assert survivor.stop() == 0


@pytest.mark.slow
def test_each_due_time_starts_one_task_although_a_worker_is_killed(shop: Any) -> None:
    workers = [shop(), shop()]

    def ticks() -> list[str]:
        return [
            event["id"].partition("@")[2]
            for worker in workers
            for event in worker.events
            if event["event"] == "tick"
        ]

    wait_until(lambda: len(ticks()) >= 3)
    workers[0].kill()
    known = len(ticks())
    wait_until(lambda: len(ticks()) >= known + 4)
    assert workers[1].stop() == 0
    # Who dies between start and effect has it repeated, under the same name.
    assert len(ticks()) - len(set(ticks())) <= 1
