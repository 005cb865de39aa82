"""A plan has every kind of fault in it, and what cannot be done at its moment is done later."""

from collections import Counter

import pytest

from . import inject
from .faults import Fault
from .inject import Injector
from .schedule import Planned, kinds_of, plan


@pytest.mark.parametrize("place", ["single", "sentinel", "cluster"])
def test_a_run_of_ten_minutes_has_every_kind_eight_times_and_time_for_the_servers(place):
    kinds = kinds_of(place)
    for seed in range(5):
        planned = plan(seed, place, 600, 0.45, kinds)
        drawn = Counter(one.name for one in planned)
        assert len(planned) >= 1_200
        assert min(drawn[fault.name] for fault in kinds) >= 8
        busy = sum(drawn[fault.name] * fault.takes for fault in kinds if fault.exclusive)
        assert busy < 450
        assert planned == sorted(planned)
        assert 0 < planned[0].at < planned[-1].at < 598


def test_the_same_seed_makes_the_same_plan():
    kinds = kinds_of("cluster")
    assert plan(3, "cluster", 60, 0.45, kinds) == plan(3, "cluster", 60, 0.45, kinds)
    assert plan(3, "cluster", 60, 0.45, kinds) != plan(4, "cluster", 60, 0.45, kinds)


def test_what_a_machine_has_not_got_is_not_planned():
    assert {fault.needs for fault in kinds_of("single")} == {"", "clock", "link"}
    assert {fault.needs for fault in kinds_of("single", without=["clock"])} == {"", "link"}


class Scene:
    """Takes notes; servers are disturbed as told."""

    def __init__(self):
        self.busy = set()
        self.events = []

    def record(self, event, **details):
        self.events.append(details["name"])


@pytest.fixture
def make(monkeypatch):
    """Make an injector of ``(at, name)``; ``possible`` names what can be done."""
    possible = set()

    def fault(name):
        return Fault(name, "server", lambda *_: 0.0 if name in possible else None, 1.0, frozenset())

    def build(*planned):
        scene = Scene()
        faults = {name: fault(name) for _, name in planned}
        monkeypatch.setattr(inject, "FAULTS", faults)
        monkeypatch.setattr(inject, "_AGAIN", 0.0)
        plans = [Planned(at, name, f"{number}") for number, (at, name) in enumerate(planned)]
        return Injector(scene, plans), scene, possible

    return build


def test_a_fault_that_is_not_possible_at_its_moment_comes_later(make):
    injector, scene, possible = make((1.0, "a"), (2.0, "b"))
    possible.add("b")
    injector.tick(0.5)
    assert scene.events == []
    injector.tick(2.5)
    assert scene.events == ["b"]
    assert injector.never_possible == {"a": 1}
    possible.add("a")
    injector.tick(50.0)
    assert scene.events == ["b", "a"]
    assert not injector.never_possible
    assert injector.done == {"a": 1, "b": 1}


def test_of_faults_that_wait_the_rarest_kind_comes_first(make):
    injector, scene, possible = make((1.0, "a"), (2.0, "a"), (3.0, "b"))
    possible.add("a")
    injector.tick(1.5)
    possible.clear()
    injector.tick(9.0)
    possible.update("ab")
    injector.tick(9.1)
    assert scene.events == ["a", "b", "a"]
