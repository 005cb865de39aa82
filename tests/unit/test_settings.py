"""settings: every tunable is checked before anything starts."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

import pytask.settings
from pytask.exceptions import ConfigurationError
from pytask.settings import Settings

NUMBERS = [field.name for field in fields(Settings) if field.type in ("int", "float")]
WHOLE = [field.name for field in fields(Settings) if field.type == "int"]
ZERO_ALLOWED = {
    "drain_timeout",
    "keep_failed",
    "keep_results",
    "max_tasks",
    "missing_grace",
    "process_pool_size",
    "redis_grace",
    "wait_replicas",
}


def test_the_defaults_agree_with_each_other():
    settings = Settings()
    assert settings.redis_grace < settings.worker_timeout < settings.task_timeout
    assert settings.queues == ("default",)


def test_settings_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Settings().concurrency = 1  # type: ignore[misc]
    settings = Settings().with_options(concurrency=5)
    assert (settings.concurrency, Settings().concurrency) == (5, 1_000)


def test_every_option_has_a_reason_and_a_default():
    text = Path(pytask.settings.__file__).read_text()
    for field in fields(Settings):
        before = text.split(f"    {field.name}: ")[0].rstrip().splitlines()[-1]
        assert before.strip().startswith("#: "), f"{field.name} has no text"


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, float("nan"), "5", None, True, [1]])
def test_numbers_have_to_be_numbers_in_range(name, value):
    with pytest.raises(ConfigurationError, match=name):
        Settings.of({name: value})


@pytest.mark.parametrize("name", WHOLE)
def test_counts_have_to_be_whole(name):
    with pytest.raises(ConfigurationError, match=f"{name}=2.5.*whole"):
        Settings.of({name: 2.5})


@pytest.mark.parametrize("name", sorted(set(NUMBERS) - ZERO_ALLOWED))
def test_nothing_is_not_enough(name):
    with pytest.raises(ConfigurationError, match=name):
        Settings.of({name: 0})


@pytest.mark.parametrize("name", sorted(ZERO_ALLOWED))
def test_some_durations_may_be_zero(name):
    assert getattr(Settings.of({name: 0}), name) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"redis_grace": 5.0},
        {"redis_grace": 9.0, "worker_timeout": 8.0},
        {"task_timeout": 9.0, "update_task_interval": 5.0},
        {"worker_timeout": 1.5, "redis_grace": 1.0},
    ],
    ids=str,
)
def test_values_that_contradict_each_other_are_refused_with_both(options):
    with pytest.raises(ConfigurationError) as caught:
        Settings.of(options)
    assert str(caught.value).count("=") >= 2


@pytest.mark.parametrize("queues", [(), [], ("a", "a"), ("delayed",), ("a b",), ("",)], ids=repr)
def test_queues_have_to_be_usable(queues):
    with pytest.raises(ConfigurationError):
        Settings.of({"queues": queues})


def test_a_list_of_queues_is_kept_in_its_order():
    assert Settings.of({"queues": ["b", "a", "default"]}).queues == ("b", "a", "default")


def test_one_queue_may_be_given_as_a_text():
    assert Settings.of({"queues": "mail"}).queues == ("mail",)


def test_an_unknown_option_is_named_and_the_known_ones_listed():
    with pytest.raises(ConfigurationError, match=r"unknown option concurency, x;.*concurrency"):
        Settings.of({"concurency": 1, "x": 2})
