"""configuration: what files and variables may say, and what is said about it."""

import textwrap
from dataclasses import fields

import pytest

from pytask import ConfigurationError, PyTask
from pytask.configuration import (
    choose_file,
    find_file,
    read_environment,
    read_file,
    variable_of,
)
from pytask.settings import Settings


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path."""

    def write(name, text):
        (tmp_path / name).write_text(textwrap.dedent(text))
        return tmp_path / name

    return write


def values(layer):
    return {name: one.value for name, one in layer.items()}


def test_a_toml_file_says_values_and_where_they_are_from(write):
    path = write("pytask.toml", 'redis = "redis://x"\nconcurrency = 5\ndrain_timeout = 2\n')
    layer = read_file(path)
    assert values(layer) == {"redis": "redis://x", "concurrency": 5, "drain_timeout": 2}
    assert layer["concurrency"].source == f"{path}: concurrency"


def test_a_table_of_the_project_file_is_read(write):
    path = write("pyproject.toml", '[tool.x]\ny = 1\n[tool.pytask-gevent]\nqueues = ["a", "b"]\n')
    assert values(read_file(path)) == {"queues": ["a", "b"]}
    assert find_file(path.parent) == path


def test_a_project_file_without_the_table_is_none_of_ours(write):
    path = write("pyproject.toml", "[tool.pytask.ini_options]\nthis is = not even TOML")
    assert find_file(path.parent) is None


def test_its_own_file_wins_over_the_project_file(write):
    write("pyproject.toml", "[tool.pytask-gevent]\nconcurrency = 1\n")
    own = write("pytask.toml", "concurrency = 2\n")
    assert find_file(own.parent) == own


def test_a_python_file_is_executed_and_its_helpers_are_left_out(write):
    path = write(
        "conf.py",
        """
        import os
        from math import ceil

        def twice(number):
            return 2 * number

        _base = 10
        claim_batch = twice(_base)

        def concurrency(cores):
            return cores * 7
        """,
    )
    layer = read_file(path)
    assert set(layer) == {"claim_batch", "concurrency"}
    assert layer["claim_batch"].value == 20
    assert Settings.of(values(layer)).concurrency % 7 == 0


def test_no_python_file_is_executed_unless_it_is_named(write, monkeypatch):
    path = write("pytask.py", "raise AssertionError('executed')")
    monkeypatch.chdir(path.parent)
    assert choose_file(None, {}) == (None, False)
    assert choose_file(None, {"PYTASK_CONFIG": "c.py"})[0].name == "c.py"
    assert choose_file("d.py", {"PYTASK_CONFIG": "c.py"})[0].name == "d.py"


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        (
            "a.toml",
            "concurency = 5",
            "a.toml: unknown key 'concurency', did you mean 'concurrency'",
        ),
        ("a.toml", "max-tasks = 5", "did you mean 'max_tasks'"),
        (
            "a.toml",
            "max_tasks = 'five'",
            "a.toml: max_tasks is of type str: a whole number is needed",
        ),
        ("a.toml", "max_tasks = 5.0", "max_tasks is of type float: a whole number"),
        ("a.toml", "drain_timeout = true", "drain_timeout is of type bool: a number is needed"),
        ("a.toml", "schedule_periodic = 1", "schedule_periodic is of type int: true or false"),
        ("a.toml", "redis = 5", "redis is of type int: a text is needed"),
        ("a.toml", "x = ]", "a.toml is not TOML: .*line 1"),
        ("a.py", "workers = 4", "unknown key 'workers'.*a name that is no setting begins with _"),
        ("a.py", "1 / 0", "a.py, a configuration file in Python, failed with ZeroDivisionError"),
        ("a.ini", "", "ends in .toml or .py"),
        ("pyproject.toml", "[tool]\npytask-gevent = 1", "tool.pytask-gevent is not a table"),
    ],
)
def test_what_a_file_may_not_say_is_named_with_file_and_key(write, name, text, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        read_file(write(name, text))


@pytest.mark.parametrize("name", ["gone.toml", "gone.py"])
def test_a_file_that_is_named_has_to_be_there(tmp_path, name):
    with pytest.raises(ConfigurationError, match=f"{name} cannot be read: No such file"):
        read_file(tmp_path / name)


def test_every_setting_has_a_variable():
    texts = {"bool": "no", "int": "50", "float": "50", "str": "x"}
    environment = {
        variable_of(field.name): texts.get(str(field.type), "a, b") for field in fields(Settings)
    }
    layer = read_environment({**environment, "PYTASK_DEBUG": "1", "PYTASK_REDIS": ""})
    assert set(layer) == {field.name for field in fields(Settings)}
    assert layer["schedule_periodic"] == (False, "PYTASK_SCHEDULE_PERIODIC")
    assert layer["queues"].value == ("a", "b")
    assert layer["concurrency"].value == 50


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PYTASK_MAX_TASKS", "five"),
        ("PYTASK_DRAIN_TIMEOUT", "5 s"),
        ("PYTASK_SCHEDULE_PERIODIC", "maybe"),
    ],
)
def test_a_variable_of_a_wrong_type_is_named(variable, text):
    with pytest.raises(ConfigurationError, match=f"{variable}='{text}': .* is needed"):
        read_environment({variable: text})


def test_variables_win_over_the_file_and_the_file_over_the_code(write):
    path = write("c.toml", 'redis = "redis://:pw@file/1"\nconcurrency = 2\nclaim_batch = 2\n')
    app = PyTask("redis://code", concurrency=1, claim_batch=1, finish_batch=1)
    app.configure_from(path, {"PYTASK_CONCURRENCY": "3"})

    assert (app.settings.concurrency, app.settings.claim_batch, app.settings.finish_batch) == (
        3,
        2,
        1,
    )
    assert app.helpers.connector.description == "redis://file:6379/1"
    assert app.helpers.settings is app.settings
    assert app.sources == {
        "redis": f"{path}: redis",
        "concurrency": "PYTASK_CONCURRENCY",
        "claim_batch": f"{path}: claim_batch",
        "finish_batch": "code",
    }


def test_an_app_reads_nothing_unless_it_is_asked(write, monkeypatch):
    path = write("pytask.toml", "concurrency = 2\napp = 'somewhere'\n")
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("PYTASK_CONCURRENCY", "3")
    app = PyTask("redis://x")
    assert (app.settings.concurrency, app.sources) == (1000, {"redis": "code"})
    app.configure_from(environment={})
    assert app.settings.concurrency == 2


def test_what_is_computed_follows_the_numbers_it_is_computed_from():
    app = PyTask("redis://x", concurrency="60/core")
    alone = app.settings.concurrency
    app.configure(processes=4)
    assert app.settings.concurrency == alone // 4


def test_values_that_contradict_each_other_are_traced_to_where_they_came_from(write):
    path = write("c.toml", "redis_grace = 9\n")
    app = PyTask("redis://x")
    with pytest.raises(ConfigurationError) as caught:
        app.configure_from(path, {"PYTASK_WORKER_TIMEOUT": "8"})
    assert f"redis_grace comes from {path}: redis_grace" in str(caught.value)
    assert "worker_timeout comes from PYTASK_WORKER_TIMEOUT" in str(caught.value)
    assert app.settings.worker_timeout == 5, "nothing of it was taken"


def test_an_address_in_a_file_that_cannot_be_used_is_named(write):
    with pytest.raises(ConfigurationError, match=r"c.toml: redis: a Redis URL starts with"):
        PyTask("redis://x").configure_from(write("c.toml", "redis = 'gopher://x'\n"), {})
