"""queues: names, weights, and the queue of a node."""

import platform
from collections import Counter

import pytest

from pytask.exceptions import ConfigurationError, InvalidTask
from pytask.keys import Keys
from pytask.policy import Policy
from pytask.queues import LOCAL, Queues, node_queue
from pytask.settings import Settings
from pytask.submission import new_task, read_request


@pytest.mark.parametrize(
    "given",
    [{"mail": 3, "low": 1}, "mail=3,low=1", ["mail=3", "low = 1"], {"mail": "3", "low": 1.0}],
    ids=repr,
)
def test_weights_are_read_from_mappings_and_text(given):
    queues = Settings.of({"queues": given}).queues
    assert tuple(queues) == ("mail", "low")
    assert str(queues) == "mail=3,low=1"
    assert Queues.read(str(queues)) == queues


@pytest.mark.parametrize(
    "given",
    [
        {"mail": 0},
        {"mail": -1},
        {"mail": True},
        {"mail": float("nan")},
        {"mail": "x"},
        "mail=3,low",
        "mail=",
        "mail=1,mail=2",
        {5: 1},
        [5],
        {},
        "",
    ],
    ids=repr,
)
def test_what_cannot_be_queues_is_refused_with_the_reason(given):
    with pytest.raises(ConfigurationError, match="queue"):
        Settings.of({"queues": given})


def test_a_strict_order_is_always_the_same():
    queues = Queues.read("b,a,default")
    assert {queues.draw() for _ in range(50)} == {("b", "a", "default")}


def test_a_weighted_order_begins_with_each_queue_by_its_weight():
    queues = Queues.read({"mail": 3, "low": 1})
    first = Counter(queues.draw()[0] for _ in range(4000))
    assert 2700 < first["mail"] < 3300
    assert set(queues.draw()) == {"mail", "low"}


def test_no_queue_starves_beside_many_heavier_ones():
    queues = Queues.read({"light": 1, **{f"heavy{n}": 20 for n in range(5)}})
    assert any(queues.draw()[0] == "light" for _ in range(4000))


def test_weights_survive_a_change_of_other_settings():
    settings = Settings.of({"queues": {"mail": 3, "low": 1}}).with_options(concurrency=1)
    assert str(settings.queues) == "mail=3,low=1"
    assert settings.queues != Queues.read("mail,low")


@pytest.mark.parametrize(
    ("given", "text", "json"),
    [("a,b", "a,b,c", ["a", "b", "c"]), ("a=3,b=2", "a=3,b=2,c=1", {"a": 3, "b": 2, "c": 1})],
)
def test_one_more_queue_keeps_the_weights_of_the_others(given, text, json):
    queues = Queues.read(given).plus("c")
    assert (str(queues), queues.as_json()) == (text, json)


def test_a_claim_begins_with_the_queue_of_the_node():
    settings = Settings.of({"queues": "mail,default", "node": "web-1"})
    assert settings.claim_order() == ("node.web-1", "mail", "default")


def test_a_queue_of_the_node_that_is_named_keeps_its_place():
    settings = Settings.of({"queues": "mail,node.web-1", "node": "web-1"})
    assert settings.claim_order() == ("mail", "node.web-1")


@pytest.mark.parametrize("node", ["a b", "x" * 60, "{3}"], ids=repr)
def test_a_node_needs_a_name_that_a_queue_can_have(node):
    with pytest.raises(ConfigurationError, match="queue name"):
        Settings.of({"node": node})


@pytest.mark.parametrize(
    ("host", "begins"),
    [
        ("web-1.example.org", "node.web-1.example.org"),
        ("rechner_ä", "node.rechner_-"),
        ("", "node."),
    ],
)
def test_the_name_of_the_host_is_made_fit(monkeypatch, host, begins):
    monkeypatch.setattr(platform, "node", lambda: host)
    assert node_queue().startswith(begins)


def test_hosts_with_long_names_that_begin_alike_have_different_queues(monkeypatch):
    found = set()
    for host in ("x" * 200 + "1", "x" * 200 + "2"):
        monkeypatch.setattr(platform, "node", lambda host=host: host)
        found.add(node_queue())
    assert len(found) == 2
    assert all(len(name) <= 64 for name in found)


def test_local_stands_for_the_queue_of_the_node_that_submits():
    settings = Settings.of({"node": "web-1"})
    policy = Policy.checked("task 'x'", {"queue": LOCAL})
    assert new_task("x", {}, settings, policy).queue == "node.web-1"
    assert new_task("x", {}, settings, queue=LOCAL).queue == "node.web-1"
    request = {"task": "x", "queue": LOCAL}
    assert read_request(request, settings, lambda name: policy).queue == "node.web-1"


def test_local_is_no_name_a_queue_can_have():
    with pytest.raises(ConfigurationError):
        Settings.of({"queues": LOCAL})


@pytest.mark.parametrize("at", [True, "soon", -5, 0, 1e10, float("nan")], ids=repr)
def test_a_time_has_to_be_one(at):
    with pytest.raises(InvalidTask, match="Unix seconds"):
        new_task("x", {}, Settings(), at=at)


@pytest.mark.parametrize("tagged", [True, False])
def test_the_list_of_a_queue_is_told_from_its_other_keys(tagged):
    keys = Keys(partitions=3 if tagged else 1, tagged=tagged)
    names = keys.partitions[-1]
    assert keys.queue_of(names.new_queue("mail")) == "mail"
    others = [names.new_queue(), names.delayed, names.claims, names.paused, names.tasks]
    others += [names.missing("mail"), names.new_claim("mail", "w"), names.missing()]
    assert [keys.queue_of(key) for key in others] == [None] * len(others)
