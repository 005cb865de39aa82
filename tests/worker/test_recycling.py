"""max_tasks: a worker ends after so many tasks, and nothing is lost by it."""

import gevent
from gevent.event import Event

from pytask import Task


class Quick(Task):
    NAME = "quick"

    def start(self) -> None: ...


def test_a_worker_ends_well_after_max_tasks(serve, app, namespace, wait_until):
    client = app().helpers
    ids = client.start_tasks([("quick", {})] * 30)
    worker = serve(Quick, max_tasks=20, concurrency=4)

    assert worker.wait() == 0

    states = [client.get_task(task_id).get("state") for task_id in ids]
    assert 20 <= states.count("SUCCESS") <= 24, "those that ran when it was enough may end"
    assert states.count("SUCCESS") + states.count("WAIT") + states.count(None) == 30
    later = serve(Quick)
    wait_until(lambda: all(client.get_task(one).get("state") == "SUCCESS" for one in ids))
    assert later.stop() == 0


def test_a_service_goes_back_to_its_queue_once_the_time_to_drain_is_over(serve, app, wait_until):
    class Service(Task):
        NAME = "service"
        running = Event()

        def start(self) -> None:
            self.running.set()
            gevent.sleep(600)

    client = app().helpers
    worker = serve(Service, Quick, max_tasks=1, drain_timeout=0.2)
    service = client.start_task("service")
    Service.running.wait()
    client.start_task("quick")

    assert worker.wait() == 0
    assert client.get_task(service)["state"] == "WAIT"
    assert client.get_new_task_ids() == [service]


def test_a_worker_without_max_tasks_goes_on(serve):
    worker = serve(Quick)
    for _ in range(3):
        assert worker.run_task("quick")[0] == "SUCCESS"
    assert worker.app.running == 0


def test_local_tasks_do_not_count(serve, wait_until):
    ended = []

    class Local(Task):
        NAME = "local"

        def start(self) -> None:
            ended.append(self.id)

    def prepare(app):
        for _ in range(3):
            app.start_local_task("local")

    worker = serve(Local, Quick, max_tasks=2, prepare=prepare)
    wait_until(lambda: len(ended) == 3)
    worker.start("quick")
    worker.start("quick")
    assert worker.wait() == 0
