"""The retry loop: what is repeated, how long, and who can end it."""

import time

import pytest

from pytask.connection import Patience, retrying
from pytask.exceptions import RedisRefused, RedisUnavailable

QUICK = Patience(5.0, base=0.001, cap=0.002)


class Flaky:
    """Fails a number of times, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def test_unavailable_is_repeated_until_it_answers() -> None:
    call = Flaky(*[RedisUnavailable() for _ in range(5)])
    assert retrying(call, QUICK) == "answer"
    assert call.calls == 6


def test_other_errors_pass_at_once() -> None:
    call = Flaky(RedisUnavailable(), RedisRefused(), RedisUnavailable())
    with pytest.raises(RedisRefused):
        retrying(call, QUICK)
    assert call.calls == 2


def test_a_spent_budget_raises_the_last_error_with_its_cause() -> None:
    def call() -> None:
        raise RedisUnavailable("gone") from OSError("why")

    started_at = time.monotonic()
    with pytest.raises(RedisUnavailable, match="gone") as raised:
        retrying(call, Patience(0.1, base=0.01))
    assert isinstance(raised.value.__cause__, OSError)
    assert time.monotonic() - started_at > 0.05


def test_no_budget_tries_once() -> None:
    call = Flaky(RedisUnavailable())
    with pytest.raises(RedisUnavailable):
        retrying(call, Patience(0))
    assert call.calls == 1


def test_no_limit_tries_on() -> None:
    call = Flaky(*[RedisUnavailable() for _ in range(50)])
    assert retrying(call, Patience(None, base=0.0001, cap=0.0001)) == "answer"


def test_giving_up_ends_the_attempts() -> None:
    call = Flaky(*[RedisUnavailable() for _ in range(10)])
    with pytest.raises(RedisUnavailable):
        retrying(call, Patience(None, base=0.001), lambda: call.calls == 3)
    assert call.calls == 3


def test_pauses_grow_to_the_cap_and_differ() -> None:
    patience = Patience(None, base=0.1, cap=1.0)
    assert all(0 <= patience.pause(0) <= 0.1 for _ in range(100))
    late = [patience.pause(1000) for _ in range(200)]
    assert max(late) <= 1.0
    assert max(late) > 0.8
    assert min(late) < 0.2
