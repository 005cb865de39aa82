"""plugins: what can be added, and that a failing one does no harm. Without a worker."""

import logging

import pytest

from pytask import ConfigurationError, Plugin, PyTask, TaskSnapshot
from pytask.plugins import GuardedPlugin, with_queues
from pytask.records import NewTask
from pytask.settings import Settings
from pytask.states import State


class Broken(Plugin):
    name = "broken"

    def queues(self):
        yield "extra"
        raise ValueError("no more queues")

    def store_message(self, task, event):
        raise SystemExit(f"{task.id} {event}")


def test_a_plug_in_that_overrides_nothing_does_nothing():
    plugin = Plugin()
    plugin.start(None)
    plugin.tick()
    plugin.store_message(TaskSnapshot("1", "x", State.WAIT, None, None, 0, b"{}"), "queued")
    plugin.close()
    assert (list(plugin.queues()), plugin.info(), plugin.rpc_methods()) == ([], {}, {})
    assert not GuardedPlugin(plugin).wants_messages
    assert GuardedPlugin(Broken()).wants_messages


@pytest.mark.parametrize("wrong", [Plugin, object(), None])
def test_only_instances_of_plug_ins_are_added(wrong):
    with pytest.raises(ConfigurationError, match="an instance of a subclass"):
        PyTask("redis://x").add_plugin(wrong)


def test_plug_ins_have_names_of_their_own_and_keep_their_order():
    app = PyTask("redis://x")
    first, second = Plugin(), Broken()
    app.add_plugin(first)
    app.add_plugin(second)
    assert app.plugins == [first, second]
    with pytest.raises(ConfigurationError, match="two plug-ins are named 'Plugin'"):
        app.add_plugin(Plugin())


def test_queues_come_after_those_of_the_worker_and_bad_ones_are_left_out(caplog):
    class More(Plugin):
        def queues(self):
            return ["mail", "two", "not a queue", "three"]

    plugins = [GuardedPlugin(Broken()), GuardedPlugin(More())]
    settings = with_queues(Settings(queues=("mail",)), plugins)
    assert settings.queues == ("mail", "extra", "two")
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("plug-in broken: queues() failed")
    assert told[1].startswith("plug-in More: queues() failed")


def test_a_failure_is_logged_with_the_name_and_a_flood_of_them_once(caplog):
    guarded = GuardedPlugin(Broken())
    task = TaskSnapshot("id-1", "x", State.WAIT, None, None, 0, b"{}")
    with caplog.at_level(logging.ERROR):
        guarded.store("done", [task] * 1000)
    (record,) = caplog.records
    assert "plug-in broken: store_message() failed" in record.getMessage()
    assert "id-1 done" in str(record.exc_info[1])


def test_without_a_worker_what_is_queued_is_stored_at_once_and_failures_reach_nobody(caplog):
    class Notes(Plugin):
        def __init__(self):
            self.seen = []

        def store_message(self, task, event):
            self.seen.append((event, task.id, task.name, task.queue, task.data, task.output))

    app, notes = PyTask("redis://x"), Notes()
    app.add_plugin(Broken())
    app.add_plugin(notes)
    app.helpers.on_queued([NewTask("1", "mail", b'{"to":"x"}', "q"), NewTask("2", "mail", b"?")])
    assert notes.seen == [
        ("queued", "1", "mail", "q", {"to": "x"}, None),
        ("queued", "2", "mail", "default", None, None),
    ]


def test_an_app_without_listeners_tells_nobody():
    app = PyTask("redis://x")
    app.add_plugin(Plugin())
    assert app.helpers.on_queued is None
