"""Plug-ins in a worker: told of everything, and unable to hold anything up."""

import gevent
import pytest
from gevent.event import Event

import pytask.worker.plugins
from pytask import ConfigurationError, Plugin, Task


class Add(Task):
    NAME = "add"

    def __init__(self, a=0, b=0):
        self.a, self.b = a, b

    def start(self):
        return self.a + self.b


class Picky(Task):
    """Fails at its first attempt."""

    NAME = "picky"
    MAX_RETRIES = 1
    RETRY_DELAY = 0.01

    def start(self):
        if self.attempt == 1:
            raise self.Error("not yet")


class Notes(Plugin):
    name = "notes"

    def __init__(self):
        self.calls = []
        self.seen = []

    def start(self, app):
        self.calls.append(("start", app))

    def close(self):
        self.calls.append(("close", len(self.seen)))

    def tick(self):
        self.calls.append(("tick",))

    def store_message(self, task, event):
        self.seen.append((task.id, event, task.state.value, task.attempt))

    def info(self):
        return {"seen": len(self.seen)}

    def of(self, task_id):
        return [seen[1:] for seen in self.seen if seen[0] == task_id]


STARTED_AND_DONE = [("started", "RUNNING", 1), ("done", "SUCCESS", 1)]


def with_plugins(*plugins):
    def prepare(app):
        for plugin in plugins:
            app.add_plugin(plugin)

    return prepare


def test_a_plug_in_is_told_of_the_whole_life_of_a_task(serve, wait_until):
    notes = Notes()
    worker = serve(Add, prepare=with_plugins(notes))
    task_id = worker.start("add", a=1)
    wait_until(lambda: len(notes.of(task_id)) == 3)
    # The reply to the one who queued it may come after that to the one who claimed it.
    assert set(notes.of(task_id)) == {("queued", "WAIT", 0), *STARTED_AND_DONE}
    assert [seen for seen in notes.of(task_id) if seen[0] != "queued"] == STARTED_AND_DONE
    assert worker.stop() == 0


def test_data_and_output_are_read_in_the_format_they_have(serve, wait_until):
    class Reads(Plugin):
        def __init__(self):
            self.read = []

        def store_message(self, task, event):
            self.read.append((event, task.data, task.output))

    reads = Reads()
    worker = serve(Add, serializer="msgpack", prepare=with_plugins(reads))
    worker.start("add", a=1, b=2)
    wait_until(lambda: len(reads.read) == 3)
    assert ("started", {"a": 1, "b": 2}, None) in reads.read
    assert ("done", None, 3) in reads.read, "a worker forgets the data of a task that runs"


def test_a_retry_is_queued_again(serve, wait_until):
    notes = Notes()
    worker = serve(Picky, prepare=with_plugins(notes))
    task_id = worker.start("picky")
    wait_until(lambda: len(notes.of(task_id)) == 5)
    assert set(notes.of(task_id)) == {
        ("queued", "WAIT", 0),
        ("started", "RUNNING", 1),
        ("queued", "RETRY", 1),
        ("started", "RUNNING", 2),
        ("done", "SUCCESS", 2),
    }


def test_start_comes_first_and_close_after_the_last_outcome(serve, wait_until):
    class Rests(Task):
        NAME = "rests"
        running = Event()

        def start(self):
            self.running.set()
            gevent.sleep(600)

    notes = Notes()
    worker = serve(Rests, prepare=with_plugins(notes))
    task_id = worker.start("rests")
    Rests.running.wait()
    assert worker.stop() == 0
    assert notes.calls[0] == ("start", worker.app)
    assert notes.calls[-1] == ("close", 3), "also what the end gave back was told"
    assert notes.of(task_id)[-1] == ("queued", "WAIT", 1)


def test_it_ticks_and_what_it_says_is_in_the_registry(serve, wait_until):
    notes = Notes()
    worker = serve(Add, beat_interval=0.1, prepare=with_plugins(notes))
    worker.run_task("add")

    def details():
        (info,) = worker.helpers.store.list_workers()
        return info.details

    wait_until(lambda: details().get("notes.seen") == "3")
    wait_until(lambda: notes.calls.count(("tick",)) >= 2)
    assert details()["pid"].isdigit()


def test_a_worker_takes_tasks_from_the_queues_of_a_plug_in(serve, wait_until):
    class More(Plugin):
        def queues(self):
            return ["extra"]

    worker = serve(Add, prepare=with_plugins(More()))
    future = worker.helpers.submit("add", {"a": 2}, queue="extra")
    assert worker.wait_for(future.id, "SUCCESS") == 2
    assert worker.app.settings.queues == ("default",)


class Broken(Plugin):
    def __init__(self, error):
        self.error = error

    def _fail(self, *_):
        raise self.error

    start = close = tick = store_message = info = _fail

    def queues(self):
        raise ValueError("not even a queue")


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), SystemExit(3), gevent.Timeout(1)],
    ids=lambda error: type(error).__name__,
)
def test_a_plug_in_that_raises_everywhere_harms_nobody(serve, wait_until, caplog, error):
    notes = Notes()
    worker = serve(Add, prepare=with_plugins(Broken(error), notes))
    state, output = worker.run_task("add", a=1, b=1)
    assert (state, output) == ("SUCCESS", 2)
    wait_until(lambda: len(notes.seen) == 3)
    assert worker.stop() == 0
    failed = {record.args[1] for record in caplog.records if record.name == "pytask.plugins"}
    assert failed >= {"start", "close", "store_message", "info", "queues"}
    assert {record.args[0] for record in caplog.records if record.name == "pytask.plugins"} == {
        "Broken"
    }


def test_a_plug_in_that_hangs_holds_nobody_up_and_what_it_misses_is_counted(
    serve, wait_until, caplog, monkeypatch
):
    monkeypatch.setattr(pytask.worker.plugins, "MOST_MESSAGES", 10)
    released = Event()

    class Hangs(Notes):
        name = "hangs"

        def store_message(self, task, event):
            released.wait()
            super().store_message(task, event)

    hangs, notes = Hangs(), Notes()
    worker = serve(Add, beat_interval=0.1, prepare=with_plugins(hangs, notes))
    for _ in range(10):
        assert worker.run_task("add")[0] == "SUCCESS"
    wait_until(lambda: len(notes.seen) == 30)
    assert "plug-in hangs does not keep up" in caplog.text

    released.set()
    (service,) = [one for one in worker.parts.plugins.services if one.plugin.name == "hangs"]
    wait_until(lambda: len(hangs.seen) + service.dropped == 30)
    assert service.dropped > 0
    wait_until(
        lambda: (
            worker.helpers.store.list_workers()[0].details.get("hangs.dropped")
            == str(service.dropped)
        )
    )
    worker.run_task("add")
    wait_until(lambda: len(hangs.seen) + service.dropped == 33)


def test_one_that_does_not_close_is_left_behind(serve, caplog):
    class Stays(Plugin):
        def close(self):
            gevent.sleep(600)

    worker = serve(Add, stop_timeout=0.2, prepare=with_plugins(Stays()))
    assert worker.stop() == 0
    assert "plug-in Stays did not close in time" in caplog.text


def test_what_another_thread_queues_is_told_too(serve, wait_until):
    notes = Notes()
    worker = serve(Add, prepare=with_plugins(notes))
    task_id = gevent.get_hub().threadpool.apply(worker.helpers.start_task, ("add",))
    wait_until(lambda: ("queued", "WAIT", 0) in notes.of(task_id))


def test_local_tasks_are_not_told(serve, wait_until):
    notes = Notes()

    def prepare(app):
        app.add_plugin(notes)
        app.start_local_task("add", a=1)

    worker = serve(Add, prepare=prepare)
    task_id = worker.start("add")
    wait_until(lambda: len(notes.of(task_id)) == 3)
    assert {seen[0] for seen in notes.seen} == {task_id}


def test_a_running_app_takes_no_more_plug_ins(serve):
    worker = serve(Add)
    with pytest.raises(ConfigurationError, match="add plug-ins before run"):
        worker.app.add_plugin(Notes())
    assert worker.parts.plugins.listener is None


def test_of_more_than_there_is_room_for_the_first_are_told(serve, wait_until, monkeypatch):
    monkeypatch.setattr(pytask.worker.plugins, "MOST_MESSAGES", 10)
    notes = Notes()
    worker = serve(prepare=with_plugins(notes))
    worker.helpers.start_tasks([{"task": "add", "queue": "elsewhere"}] * 25)
    (service,) = worker.parts.plugins.services
    wait_until(lambda: (len(notes.seen), service.dropped) == (10, 15))
