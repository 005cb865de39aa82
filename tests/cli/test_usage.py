"""What all commands share: help, variables, errors and exit codes."""

import math
import re

import click
import pytest
from click.testing import CliRunner

from pytask import __version__
from pytask.cli.errors import CommandFailed, run
from pytask.cli.root import pytask
from pytask.cli.start import read_data, start
from pytask.exceptions import InvalidTask, RedisRefused, WrongKeyType
from pytask.settings import Settings

COMMANDS = sorted(pytask.commands)
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_has_an_example_and_variables(name):
    help_text = CliRunner().invoke(pytask, [name, "--help"]).output
    assert f"Example: pytask {name}" in help_text
    assert "PYTASK_REDIS" in help_text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_its_variable(name):
    for parameter in pytask.commands[name].params:
        if (
            isinstance(parameter, click.Option)
            and not parameter.hidden
            and parameter.name != "help"
        ):
            longest = max(parameter.opts, key=len)
            assert parameter.envvar == "PYTASK_" + longest[2:].replace("-", "_").upper()


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "worker"])
def test_what_prints_also_prints_json(name):
    assert "--json" in [word for one in pytask.commands[name].params for word in one.opts]


def test_a_worker_has_an_option_for_every_setting():
    options = {parameter.name for parameter in pytask.commands["worker"].params}
    assert set(Settings.__dataclass_fields__) <= options


def test_data_keep_their_types():
    assert read_data(["a=1", "b:=1", "c:=null", 'd:={"e": [true]}', "f="]) == {
        "a": "1",
        "b": 1,
        "c": None,
        "d": {"e": [True]},
        "f": "",
    }


@pytest.mark.parametrize(
    ("words", "wait", "data"),
    [
        (["--wait", "job", "a=1"], math.inf, ("a=1",)),
        (["job", "--wait"], math.inf, ()),
        (["--wait", "2.5", "job"], 2.5, ()),
        (["--wait=2.5", "job"], 2.5, ()),
        (["job", "--wait", "forever"], math.inf, ()),
        (["job", "--wait", "--json"], math.inf, ()),
        (["job"], None, ()),
        (["--", "job", "--wait"], None, ("--wait",)),
    ],
)
def test_wait_takes_a_number_or_stands_alone(words, wait, data):
    with start.make_context("start", words) as context:
        assert context.params["wait"] == wait
        assert (context.params["name"], context.params["data"]) == ("job", data)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InvalidTask("no name"), 2, "no name"),
        (RedisRefused("full"), 3, "full"),
        (WrongKeyType("a list"), 1, "a list"),
        (KeyError("x"), 1, "KeyError: 'x'; --debug shows where"),
        (CommandFailed("one\n  line"), 1, "one line"),
    ],
)
def test_each_error_has_its_exit_code_and_one_line(capsys, error, code, message):
    @click.command()
    def failing():
        raise error

    assert run(failing, []) == code
    assert capsys.readouterr().err == f"pytask: {message}\n"


def test_without_a_command_the_help_is_shown(shell):
    done = shell()
    assert done.code == 2
    assert "events" in done.out
    assert shell("--version").out.strip().endswith(__version__)


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("a:=nonsense", "'a:=nonsense': 'nonsense' is not JSON"),
        ("a", "'a' is neither KEY=TEXT nor KEY:=JSON"),
        ("=1", "'=1' is neither KEY=TEXT nor KEY:=JSON"),
        ("given=2", "'given' is given twice"),
    ],
)
def test_data_that_cannot_be_read_are_named(argument, complaint):
    with pytest.raises(click.BadParameter, match=re.escape(complaint)):
        read_data(["given=1", argument])


@pytest.mark.parametrize("command", ["stop", "reload", "restart", "remove", "show", "start"])
def test_what_a_command_is_about_has_to_be_named(command):
    done = CliRunner().invoke(pytask, [command])
    assert done.exit_code == 2
    assert "Missing argument" in done.output


@pytest.mark.parametrize("words", [["dance"], ["status", "--no-such-option"], ["list", "nowhere"]])
def test_a_wrong_command_line_is_one_line_and_exits_with_2(shell, words):
    done = shell(*words)
    assert done.code == 2
    assert "--help`" in done.complaint


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["start", "job", "--wait", "30"],
        ["stop", "x"],
        ["events", "-f"],
    ],
)
def test_a_redis_that_cannot_be_reached_exits_with_3(shell, words):
    done = shell(*words, "--redis", NOWHERE, "--redis-patience", "0.1")
    assert (done.code, done.out) == (3, "")
    assert re.search(r"Redis at redis://127.0.0.1:1 cannot be reached.*--redis", done.complaint)


def test_a_password_is_not_shown(shell):
    url = "redis://:secret@127.0.0.1:1/0"
    done = shell("status", "--redis", url, PYTASK_REDIS_PATIENCE="0.1")
    assert done.code == 3
    assert "secret" not in done.err


def test_a_wrong_password_is_told_as_such(shell, disposable_server):
    server = disposable_server(requirepass="right")
    done = shell("status", "--redis", f"redis://:wrong@127.0.0.1:{server.port}/0")
    assert done.code == 3
    assert "does not serve this" in done.complaint
    assert "username-password" in done.complaint


def test_a_user_who_may_not_subscribe_is_told_so(shell, disposable_server):
    server = disposable_server()
    server.command("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "+@all", "resetchannels")
    url = f"redis://deaf:secret@127.0.0.1:{server.port}/0"

    done = shell("events", PYTASK_REDIS=url, PYTASK_REDIS_PATIENCE="0.3")

    assert done.code == 3
    assert "does not confirm the subscription" in done.err.splitlines()[-1]


@pytest.mark.parametrize("redis", ["nonsense", "http://localhost", "redis://localhost:port"])
def test_an_address_that_is_none_exits_with_2(shell, redis):
    done = shell("status", PYTASK_REDIS=redis)
    assert done.code == 2
    assert done.complaint


def test_debug_shows_the_traceback(shell):
    done = shell("status", "--debug", "--redis", "nonsense")
    assert done.code != 0
    assert "Traceback" in done.err
    assert "ConfigurationError" in done.err


@pytest.mark.topologies("cluster")
def test_a_cluster_url_is_taken_everywhere(topology, directory, namespace, spawn_on):
    shell = spawn_on(topology.deployment, namespace)
    worker = shell.spawn("worker", "-A", "jobs")
    try:
        done = shell("start", "jobs/add", "a:=1", "b:=2", "--wait", "20")
        assert (done.code, done.lines[1]) == (0, "3")
        assert shell("status").lines[0].startswith("Redis\tredis+cluster://")
    finally:
        worker.close()
    wrong = shell("status", "--partitions", "7")
    assert wrong.code == 2
    assert "partitions=7" in wrong.complaint
    assert "spread over 4" in wrong.complaint
