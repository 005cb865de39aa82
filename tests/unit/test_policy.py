"""policy: what a class decides, what is decided for one task, and what is refused."""

from typing import Any

import pytest

from pytask import Backoff, ConfigurationError, InvalidTask, Task
from pytask.policy import Policy, encode_overrides


def test_a_class_that_says_nothing_waits_in_the_default_queue_and_is_tried_once() -> None:
    policy = Policy.of_class(type("Plain", (Task,), {}))
    assert (policy.queue, policy.max_retries, policy.timeout) == ("default", 0, 0.0)


def test_a_class_says_by_attributes_what_a_function_says_by_arguments() -> None:
    class Sync(Task):
        QUEUE = "crm"
        EXPIRES = 60
        MAX_RETRIES = 3
        RETRY_DELAY = 2.5
        RETRY_ON = OSError
        TIMEOUT = 30

    assert Policy.of_class(Sync) == Policy("crm", 60, 3, 2.5, (OSError,), 30)


def test_a_method_of_the_class_may_say_when() -> None:
    class Slower(Task):
        @staticmethod
        def RETRY_DELAY(retries: int) -> float:
            return 10.0 * retries

    assert Policy.of_class(Slower).pause_after(3) == 30.0


@pytest.mark.parametrize("returned", [None, "1", -1, float("nan"), float("inf"), True])
def test_a_function_that_returns_no_time_is_told(returned: Any) -> None:
    policy = Policy(retry_delay=lambda retries: returned)
    with pytest.raises(ValueError, match=r"retry_delay\(2\) returned"):
        policy.pause_after(2)


def test_pauses_double_up_to_the_longest_one() -> None:
    pauses = [Backoff(first=1, longest=10, jitter=0)(retries) for retries in range(6)]
    assert pauses == [1, 2, 4, 8, 10, 10]
    assert Backoff(jitter=0)(100_000) == 3600


def test_tasks_that_failed_together_do_not_come_back_together() -> None:
    pauses = {Backoff(first=8, jitter=0.5)(0) for _ in range(50)}
    assert len(pauses) > 40
    assert 4 <= min(pauses) < max(pauses) <= 8


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"retries": 3}, "unknown option retries"),
        ({"max_retries": "3"}, "max_retries='3'"),
        ({"max_concurrency": -1}, "max_concurrency=-1: a number from 0"),
        ({"max_concurrency": True}, "max_concurrency=True"),
        ({"on_limit": "retry"}, "on_limit='retry': 'wait' or 'revoke'"),
        ({"can_overlap": "account"}, "can_overlap='account': a bool, or a function"),
        ({"max_retries": True}, "max_retries=True"),
        ({"timeout": -1}, "timeout=-1"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"expires": 1e11}, "expires="),
        ({"retry_delay": "soon"}, "retry_delay='soon'"),
        ({"retry_on": [ValueError, "OSError"]}, "exception classes"),
        ({"queue": ""}, "queue"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"task 'x': .*{complaint}"):
        Policy.checked("task 'x'", options)


def test_what_is_decided_for_one_task_travels_as_json() -> None:
    encoded = encode_overrides({"max_retries": 5, "timeout": None, "retry_delay": 0})
    assert encoded == b'{"max_retries":5,"retry_delay":0}'
    policy = Policy(max_retries=1, timeout=9).with_overrides(encoded)
    assert (policy.max_retries, policy.retry_delay, policy.timeout) == (5, 0, 9)


def test_nothing_decided_is_nothing_stored() -> None:
    assert encode_overrides({"max_retries": None}) == encode_overrides({}) == b""


@pytest.mark.parametrize(
    "options", [{"max_retries": -1}, {"timeout": "1"}, {"retry_delay": lambda retries: 1}]
)
def test_what_cannot_travel_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidTask, match=next(iter(options))):
        encode_overrides(options)


@pytest.mark.parametrize(
    "by_hand", [b"", b"[]", b"5", b"null", b"{", b'{"timeout":"x"}', b'{"max_retries":1e99}']
)
def test_what_a_person_wrote_wrongly_into_a_record_is_ignored(by_hand: bytes) -> None:
    policy = Policy(timeout=9)
    assert policy.with_overrides(by_hand) == policy
