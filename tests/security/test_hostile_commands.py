"""The command line and the helpers take anything, and refuse in one line what they cannot use."""

import contextlib
import io
import json
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytask import PyTaskHelpers
from pytask.cli.errors import run
from pytask.cli.root import pytask
from pytask.exceptions import InvalidTask
from pytask.keys import Keys
from pytask.records import check_task_id, from_json, to_json

FUZZ = settings(
    max_examples=200,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TEXTS = st.one_of(st.text(max_size=30), st.text(string.printable, max_size=30))
WORDS = st.one_of(
    TEXTS,
    st.sampled_from(
        ["--", "-", "--json", "--ids", "--wait", "--id", "--queue", "--delay", "--expires",
         "--limit", "--state", "--if-state", "--force", "--no-cleanup", "--help", "nan", "inf",
         "-1", "1e400",
         "a=b", "a:={}", "a:=", ":=1", "=", "a:=[" + "[" * 5000, "a:=NaN", "failed", "waiting",
         "\x1b[2J", "a\nb", "{}", "x" * 600, "\udcff"],
    ),
)  # fmt: skip
VERBS = st.sampled_from(["start", "stop", "reload", "restart", "remove", "show", "list", "status"])
EXIT_CODES = (0, 1, 2, 5, 124)


@pytest.fixture
def helpers(address: Any, namespace: Any) -> Any:
    helpers = PyTaskHelpers(address, **namespace.options)
    yield helpers
    helpers.connector.close()


class Terminal(io.StringIO):
    """Claims to be one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def command(topology: Any, namespace: Any) -> Any:
    """Run a command in this process; returns exit code, stdout and stderr."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in namespace.names.items()]

    def call(verb: str, *words: str, tty: bool = False) -> tuple[int, str, str]:
        out, err = Terminal() if tty else io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(pytask, [verb, "--redis", topology.address, *options, *words])
        return int(code), out.getvalue(), err.getvalue()

    return call


@pytest.mark.topologies("valkey")
def test_no_command_line_ends_in_a_traceback(command):
    @FUZZ
    @given(verb=VERBS, words=st.lists(WORDS, max_size=5))
    @example(verb="start", words=["x", "a:=" + "[" * 100_000])
    @example(verb="start", words=["x", "--delay", "nan"])
    @example(verb="start", words=["x", "--expires", "inf"])
    def check(verb: str, words: list[str]) -> None:
        if "--wait" in words or any(word.startswith("--w") for word in words):
            words = [*words, "--wait=0"]
        code, out, err = command(verb, *words)
        assert code in EXIT_CODES, (code, err)
        assert "Traceback" not in out + err
        assert "--debug shows where" not in err, f"an error nobody foresaw: {err}"
        if "--json" in words and "--help" not in words:
            for line in out.splitlines():
                assert isinstance(json.loads(line), dict)

    check()


@pytest.mark.topologies("valkey", "cluster")
def test_every_id_that_is_accepted_can_be_used_and_no_other_is_stored(helpers, dump):
    @FUZZ
    @given(task_id=st.one_of(TEXTS, st.text(max_size=600)))
    @example(task_id="x" * 513)
    @example(task_id="\udcff\udcfe")
    @example(task_id="-control")
    @example(task_id="{0}{fleet}")
    def check(task_id: str) -> None:
        try:
            helpers.start_task("security/echo", task_id=task_id)
        except InvalidTask as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 700
            return
        try:
            assert helpers.get_new_task_ids() == [task_id]
            assert list(helpers.store.scan_records()) == [task_id]
            assert helpers.get_task(task_id, "state") == "WAIT"
            assert helpers.stop_task(task_id)
            assert helpers.get_active_task_ids() == [task_id]
            assert helpers.restart_task(task_id)
        finally:
            assert helpers.remove_task(task_id)
        assert set(dump()) <= {helpers.keys.partition_count}, "something was left behind"

    check()


@FUZZ
@given(task_id=st.text(max_size=40))
def test_no_id_looks_like_a_key_or_channel_of_another_kind(task_id: str) -> None:
    try:
        check_task_id(task_id)
    except InvalidTask:
        return
    for keys in (Keys(), Keys(partitions=16, tagged=True)):
        names = keys.of(task_id)
        others = {
            names.tasks, names.leases, names.failed, names.delayed, names.claims, names.end_queue,
            names.new_queue(), names.missing(), keys.workers, keys.partition_count,
        }  # fmt: skip
        assert names.record(task_id) not in others
        assert keys.task_of_record(names.record(task_id)) == task_id
        assert keys.task_of_control_channel(keys.control_channel(task_id)) == task_id


@pytest.mark.parametrize("character", [*map(chr, range(32)), "\x7f", "\x85", "\x9b"])
def test_control_characters_are_refused_in_ids(character):
    with pytest.raises(InvalidTask, match="control character"):
        check_task_id(f"a{character}b")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=30,
)


@FUZZ
@given(value=JSON)
def test_json_survives_the_round_trip(value: Any) -> None:
    try:
        encoded = to_json(value)
    except ValueError:
        return  # an infinity
    assert json.loads(encoded) == value
    assert from_json(encoded) == value


@FUZZ
@given(value=st.binary(max_size=200))
@example(value=b"[" * 1_000_000)
@example(value=b'{"a":' * 100_000)
@example(value=b"9" * 100_000)
def test_reading_json_raises_nothing_but_a_value_error(value: bytes) -> None:
    with contextlib.suppress(ValueError):
        from_json(value)


@pytest.mark.topologies("valkey")
def test_the_terminal_of_a_person_obeys_no_task(command, connector, keys):
    """IDs and names that came in past the checks do not reach a terminal as commands to it."""
    link = connector.link()
    evil = b"\x1b]0;owned\x07\x1b[2J"
    link.execute("HSET", keys.of("x").record_prefix.encode() + evil, "task", evil, "data", evil)
    link.execute("LPUSH", keys.of("x").new_queue(), evil)
    try:
        _, out, _ = command("list", tty=True)
        assert "\x1b]0;" not in out
        assert "\x1b[2J" not in out
    finally:
        link.execute("DEL", keys.of("x").record_prefix.encode() + evil)
