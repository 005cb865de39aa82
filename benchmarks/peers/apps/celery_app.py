"""Celery with the gevent pool."""

import time

import work
from celery import Celery

app = Celery("bench", broker=work.redis_url(), backend=work.redis_url())
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    worker_disable_rate_limits=True,
    worker_prefetch_multiplier=4,
    redis_max_connections=20_000,
    # Else every task, being a greenlet of its own, makes a backend and a connection of its own.
    result_backend_thread_safe=True,
    broker_connection_retry_on_startup=True,
    # Else a task that sleeps for an hour would be delivered again.
    broker_transport_options={"visibility_timeout": 7200},
    worker_hijack_root_logger=False,
)


@app.task(name="noop")
def noop():
    return 1


@app.task(name="stamp")
def stamp(index):
    work.stamp(index)
    return 1


@app.task(name="nap")
def nap(index, seconds):
    work.stamp(index)
    time.sleep(seconds)
    return 1


TASKS = {"noop": noop, "stamp": stamp, "nap": nap}


class Client:
    async def open(self):
        pass

    async def send(self, name, *args):
        TASKS[name].delay(*args)
