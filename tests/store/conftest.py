"""The ``lab`` fixture: the store of one test with hands and eyes of its own."""

import pytest

from .lab import Lab


@pytest.fixture
def lab(store, namespace):
    """A :class:`~tests.store.lab.Lab` in one partition of the topology."""
    lab = Lab(store, namespace)
    yield lab
    # The client of the namespace cannot decode every key that is made here.
    for key in lab.snapshot():
        lab.call("DEL", key)
