"""Where a test of a back-end takes place: names of its own, and hands to seed a state with."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import pytest

from pytask.backends import Backend, MakesStore
from pytask.connection import connect
from pytask.events import Subscription
from pytask.helpers import PyTaskHelpers
from pytask.keys import DEFAULT_QUEUE
from pytask.settings import Settings
from pytask.states import Code
from pytask.store import Store
from pytask.testing.conformance.seeds import Seeds

T = TypeVar("T")

#: Seconds anything may take that has to happen.
PATIENCE = 30.0
#: Of a cluster; few, so that a test finds two tasks in one of them soon.
PARTITIONS = 4


class Site(Seeds):
    """One namespace on the back-end under test.

    Attributes:
        backend: What is tested.
        settings: With names that nobody else uses.
        helpers: A client.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.prefix = f"conformance-{secrets.token_hex(6)}:"
        names = ("task_set", "task_prefix", "new_queue", "end_queue")
        self.settings = Settings.of(
            {
                **{name: f"{self.prefix}{name}-" for name in names},
                "partitions": PARTITIONS,
                **options,
            }
        )
        self.backend: Backend = connect(url)
        self.helpers = PyTaskHelpers.of(self.backend, self.settings)
        self._subscriptions: list[Subscription] = []
        super().__init__(self.helpers.store)

    @property
    def has_own_store(self) -> bool:
        return isinstance(self.backend, MakesStore)

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        if self.has_own_store:
            for task_id in set(self.store.scan_records()):
                self.store.remove(task_id, force=True)
        else:
            for key in set(self.helpers.link.scan_iter(f"{self.prefix}*")):
                self.helpers.link.execute("DEL", key)
        self.helpers.close()

    def reap(
        self, task_timeout: float, dead: Sequence[str] = (), **options: Any
    ) -> dict[str, Code]:
        reaped = self.store.reap(
            self.partition,
            task_timeout=task_timeout,
            worker_timeout=options.get("worker_timeout", task_timeout),
            dead_workers=dead,
        ).reaped
        return {one.task_id: one.code for one in reaped}

    # Looking

    def queue(self, queue: str = DEFAULT_QUEUE) -> list[str]:
        """The IDs in a queue, the next to be taken first."""
        return list(self.store.iterate_waiting(queue))[::-1]

    def listen(self, *channels: str, **options: Any) -> Subscription:
        """Return a subscription that is confirmed."""
        subscription = Subscription(self.backend.link(), channels=channels, **options)
        self._subscriptions.append(subscription)
        assert subscription.wait_ready(PATIENCE), "the subscription is not confirmed"
        return subscription

    def hear(self, subscription: Subscription) -> bytes:
        """Return the next message."""
        message = subscription.get(PATIENCE)
        assert message is not None, "nothing was heard"
        return message.data

    def sees(self, condition: Callable[[], T]) -> T:
        """Wait until a condition holds and return its value."""
        deadline = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < deadline, "it has not become true"
            time.sleep(0.02)
        return value

    def beside(self, *functions: Callable[[Store], T]) -> list[T]:
        """Call functions at the same time, each with a store on a link of its own."""
        results: list[Any] = [None] * len(functions)
        errors: list[BaseException] = []
        ready = threading.Barrier(len(functions))

        def run(index: int, function: Callable[[Store], T]) -> None:
            link = self.backend.link()
            try:
                ready.wait(PATIENCE)
                results[index] = function(self.store.using(link))
            except BaseException as error:
                errors.append(error)
            finally:
                link.close()

        threads = [threading.Thread(target=run, args=item) for item in enumerate(functions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
        assert not errors, errors
        return results


class Repeating:
    """A link that sends every script twice, as when the reply to the first was lost."""

    def __init__(self, link: Any) -> None:
        self._link = link

    def evalsha(self, *args: Any) -> Any:
        self._link.evalsha(*args)
        return self._link.evalsha(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class Sited:
    """The fixtures of all tests.

    Attributes:
        url: The back-end under test; None: what ``--backend-url`` or ``PYTASK_BACKEND_URL`` says.
    """

    url: ClassVar[str | None] = None

    @pytest.fixture
    def backend_url(self, request: pytest.FixtureRequest) -> str:
        """The address of the back-end under test."""
        given = self.url or request.config.getoption("--backend-url", default=None)
        given = given or os.environ.get("PYTASK_BACKEND_URL")
        if not given:
            pytest.skip("no back-end is named: --backend-url, or an attribute url")
        return str(given)

    @pytest.fixture
    def site(self, backend_url: str) -> Iterator[Site]:
        """A namespace of this test alone."""
        site = Site(backend_url)
        yield site
        site.close()

    @pytest.fixture
    def repeating(self, site: Site) -> Store:
        """A store whose every script is carried out twice."""
        if site.has_own_store:
            pytest.skip("this back-end runs no scripts")
        return site.store.using(Repeating(site.helpers.link))
