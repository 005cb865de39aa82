"""scripts: every Lua file is complete, of one form, and tested."""

import re
from hashlib import sha1
from pathlib import Path

import pytest

import pytask
from pytask.scripts import Script, ScriptError, list_names, load
from pytask.states import Code

LUA = Path(pytask.__file__).parent / "lua"
TESTS = Path(__file__).parents[1] / "store"
NAMES = list_names()
INCLUDES = sorted(path.stem for path in (LUA / "include").glob("*.lua"))

#: A full server lets everything go on that ends tasks or keeps leases; these add data.
REFUSED_WHEN_FULL = {"enqueue", "claim", "restart", "schedule_tick", "acquire_permits"}
READ_ONLY = {"read_records", "read_workers"}

HEADER = """#!lua
-- demo: A -> B
-- What it does.
--
-- KEYS[1] something (hash)
--
-- Returns 1
--
"""


def code_of(text):
    """The text without comments."""
    return re.sub(r"--[^\n]*", "", text)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def text(name):
    return (LUA / f"{name}.lua").read_text()


def test_there_are_scripts():
    assert {"enqueue", "claim", "heartbeat", "finish", "requeue", "reap", "stop"} < set(NAMES)
    assert sorted(NAMES) == NAMES


def test_a_script_is_loaded_with_its_digest(name):
    script = load(name)
    assert script.name == name
    assert script.sha == sha1(script.source.encode()).hexdigest()
    assert script.source.startswith("#!lua")
    assert load(name) is script


def test_the_header_names_keys_arguments_and_answers_in_this_order(text):
    header = text[: text.index("\n\n")]
    lines = header.splitlines()
    assert all(line.startswith("--") for line in lines[1:])
    order = [header.find("KEYS["), header.find("ARGV"), header.find("-- Returns")]
    assert order == sorted(order)
    assert order[0] > 0
    assert order[2] > 0
    assert max(map(len, text.splitlines())) <= 110


def test_all_numbered_keys_and_arguments_are_explained(text):
    header, body = text.split("\n\n", 1)
    for word in ("KEYS", "ARGV"):
        used = {int(number) for number in re.findall(rf"\b{word}\[(\d+)\]", code_of(body))}
        explained = {int(number) for number in re.findall(rf"\b{word}\[(\d+)", header)}
        last = max(explained, default=0)
        assert {number for number in used if number < last} <= explained, word


def test_a_full_server_lets_all_scripts_run_that_end_tasks_or_keep_leases(name, text):
    flags = text.split("\n", 1)[0].removeprefix("#!lua").removeprefix(" flags=")
    if name in REFUSED_WHEN_FULL:
        assert flags == ""
    elif name in READ_ONLY:
        assert flags == "no-writes"
    else:
        assert flags == "allow-oom"


def test_every_script_has_its_own_tests(name):
    assert (TESTS / f"test_{name}.py").is_file()


def test_every_script_is_called_by_one_verb_of_its_name(name):
    calls = [
        match
        for path in (LUA.parent / "store").glob("*.py")
        for match in re.findall(r'_run\(\s*"([a-z_]+)"', path.read_text())
    ]
    assert calls.count(name) == 1


def test_every_include_exists_is_used_and_is_complete(name, text):
    included = re.findall(r'^--- @include "(\w+)"$', text, re.MULTILINE)
    assert len(set(included)) == len(included)
    code = code_of(text)
    for part in included:
        functions = re.findall(r"^local function (\w+)", include(part), re.MULTILINE)
        users = [code, *(code_of(include(other)) for other in included if other != part)]
        assert any(re.search(rf"\b{one}\(", user) for one in functions for user in users), part


def test_every_function_a_script_calls_is_defined_before(name):
    code = code_of(load(name).source)
    for part in INCLUDES:
        for function in re.findall(r"^local function (\w+)", include(part), re.MULTILINE):
            called = re.search(rf"(?<!function )\b{function}\(", code)
            if called:
                defined = re.search(rf"local function {function}\(", code)
                assert defined, f"{name} calls {function} of {part} without including it"
                assert defined.start() < called.start()


def test_data_are_never_decoded_and_the_key_space_is_never_scanned(name):
    code = code_of(load(name).source)
    assert not re.search(r"'(KEYS|SCAN|FLUSHALL|FLUSHDB|EVAL)'", code)
    # The memory of the last claim is our own list of texts; everything else is the users'.
    decoded = re.findall(r"cjson.decode[(, ]+(\w+)", code)
    assert decoded == (["memo"] if name == "claim" else [])


def include(part):
    return (LUA / "include" / f"{part}.lua").read_text()


@pytest.mark.parametrize("part", INCLUDES)
def test_an_include_explains_itself_and_includes_nothing(part):
    assert include(part).startswith("-- ")
    assert "@include" not in include(part)
    assert any(f'@include "{part}"' in (LUA / f"{name}.lua").read_text() for name in NAMES)


def test_the_codes_scripts_answer_with_are_the_codes_of_the_enum():
    known = {code.value for code in Code}
    for name in NAMES:
        for number in re.findall(r"codes?(?:\[\w+\])? = (-?\d+)", load(name).source):
            assert int(number) in known, name


def test_an_include_is_put_in_once():
    script = Script.parse("demo", HEADER + '--- @include "clock"\n\nreturn now()\n')
    assert script.source.count("local function now()") == 1
    assert script.source.splitlines()[0] == "#!lua"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("demo", "return 1\n"),
        ("demo", HEADER.replace("#!lua\n", "")),
        ("demo", HEADER.replace("-- Returns 1\n", "")),
        ("demo", HEADER.replace("demo:", "other:")),
        ("demo", ""),
    ],
)
def test_a_script_without_the_common_header_is_refused(name, text):
    with pytest.raises(ScriptError, match=r"demo\.lua: must begin with '#!lua'"):
        Script.parse(name, text)


def test_a_missing_include_is_named():
    with pytest.raises(ScriptError, match=r"pytask/lua/include/nothing\.lua cannot be read"):
        Script.parse("demo", HEADER + '--- @include "nothing"\n')


def test_a_missing_script_is_named():
    with pytest.raises(ScriptError, match=r"pytask/lua/nothing\.lua cannot be read"):
        load("nothing")
