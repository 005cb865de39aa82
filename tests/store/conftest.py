"""The ``lab`` fixture: the store of one test with hands and eyes of its own."""

import pytest

from tests.support.waiting import PATIENCE

from .lab import Lab


@pytest.fixture
def lab(store, namespace):
    """A :class:`~tests.store.lab.Lab` in one partition of the topology."""
    lab = Lab(store, namespace)
    yield lab
    # The client of the namespace cannot decode every key that is made here.
    for key in lab.snapshot():
        lab.call("DEL", key)


class Events:
    """What is published on the channel of one task."""

    def __init__(self, subscription):
        self._subscription = subscription

    def get(self):
        """Return the next message."""
        message = self._subscription.get(PATIENCE)
        assert message is not None, "no event"
        return message.data


@pytest.fixture
def events_of(lab, connector):
    """Listen to a task: ``events_of(task_id).get()``; ``control=True`` for its control channel.

    Without a task to the channel of the fleet. Nothing may have been said there before: on a
    cluster a message goes from node to node, and may arrive after a later subscription.
    """
    from pytask.events import Subscription

    made = []

    def listen(task_id=None, control=False):
        keys = lab.store.keys
        if task_id is None:
            assert not lab.snapshot(), "listen to the fleet before anything happens in it"
            channel = keys.fleet_channel
        elif control:
            channel = keys.control_channel(task_id)
        else:
            assert "attempts" not in lab.record(task_id), "listen to a task before it is claimed"
            channel = keys.events_channel(task_id)
        subscription = Subscription(connector.link(), channels=[channel])
        made.append(subscription)
        assert subscription.wait_ready(PATIENCE)
        return Events(subscription)

    yield listen
    for subscription in made:
        subscription.close()
