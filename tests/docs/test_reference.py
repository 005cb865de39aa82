"""The reference pages are complete, and what they list exists."""

import ast
import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import pytask
from pytask import exceptions, records
from pytask.keys import Keys
from pytask.scripts import list_names
from pytask.settings import Settings
from pytask.states import Code, State
from pytask.store import requests
from tests.docs.blocks import DOCS, ROOT, all_pages, read_blocks

sys.path.insert(0, str(DOCS / "_ext"))
import pytask_reference

LUA = ROOT / "pytask" / "lua"


def _page(name: str) -> str:
    return (DOCS / name).read_text()


def _literals(text: str) -> set[str]:
    """Return what a page shows in code type, split at spaces and commas."""
    return {word for one in re.findall(r"`([^`\n]+)`", text) for word in re.split(r"[ ,]+", one)}


# Settings


def test_the_table_of_settings_has_every_setting_with_its_comment() -> None:
    rows = pytask_reference.read_settings()
    assert [row.name for row in rows] == [field.name for field in fields(Settings)]
    assert [row.name for row in rows if not row.text.endswith(".")] == []


def test_every_setting_can_be_given_on_the_command_line_under_the_name_in_the_table() -> None:
    (worker,) = [one for one in pytask_reference.read_commands() if one.path == "pytask worker"]
    told = set(re.findall(r"PYTASK_[A-Z_]+", worker.text))
    assert {f"PYTASK_{field.name.upper()}" for field in fields(Settings)} <= told


def test_the_settings_page_names_every_number_that_may_be_zero() -> None:
    may_be_zero = set()
    for field in fields(Settings):
        if field.type in ("int", "float"):
            try:
                Settings.of({field.name: 0})
            except exceptions.ConfigurationError:
                continue
            may_be_zero.add(field.name)
    (line,) = re.findall(r"^(.+) may be zero", _page("reference/settings.md"), re.MULTILINE)
    assert _literals(line) == may_be_zero


def test_defaults_that_pages_quote_are_the_defaults() -> None:
    defaults = {row.name: row.default for row in pytask_reference.read_settings()}
    quotation = re.compile(r"`(\w+)`(?: seconds)? \(([\d,.]+)( s| days|)\b")
    quoted = []
    for page in all_pages():
        for name, number, unit in quotation.findall(page.read_text()):
            if name in defaults:
                value = float(number.replace(",", "")) * (24 * 3600 if unit == " days" else 1)
                assert value == float(defaults[name]), f"{page.name}: {name} is not {number}{unit}"
                quoted.append(name)
    assert len(set(quoted)) > 9


# Data model


def test_every_key_is_on_the_data_model_page() -> None:
    page = _literals(_page("reference/data-model.md"))
    for tagged, partition in ((False, 0), (True, 3)):
        keys = Keys(partitions=16 if tagged else 1, tagged=tagged)
        names = keys.partitions[partition]
        found = {
            names.record("ID"),
            names.new_queue(),
            names.end_queue,
            names.end_claim("WORKER"),
            names.tasks,
            names.leases,
            names.failed,
            names.delayed,
            keys.workers,
            keys.worker("WORKER"),
            keys.partition_count,
        }
        if not tagged:
            found |= {
                names.new_queue("QUEUE"),
                names.new_claim("default", "WORKER"),
                names.new_claim("QUEUE", "WORKER"),
                names.missing(),
                names.missing("QUEUE"),
                names.claims,
                keys.events_channel("ID"),
                keys.control_channel("ID"),
            }
        assert found - page == set()


def _fields_in_scripts() -> set[str]:
    """Return the record fields the scripts read, write or delete."""
    found = set()
    for path in LUA.rglob("*.lua"):
        text = re.sub(r"--.*", "", path.read_text())
        for call in re.findall(r"(?:read_record\(|'HSET', |'HDEL', |'HGET', )([^;]*?)\)", text):
            found |= set(re.findall(r"'([a-z_]+)'", call))
    # enqueue writes these as they are given.
    found |= set(re.findall(r'"([a-z_]+)"', inspect.getsource(requests._options)))
    # Values that stand where a field name may stand, and options that are no fields.
    return found - {"true", "false", "stop", "delay", "at"}


def test_every_field_of_a_record_is_on_the_data_model_page() -> None:
    in_code = _fields_in_scripts() | {"task", "data"}
    documented_in_code = set(
        re.findall(r"[a-z_]+", re.sub(r"(?m) {3,}.*$", "", _field_list(records.__doc__ or "")))
    )
    section = _page("reference/data-model.md").partition("## Record")[2].partition("## Worker")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    on_page = {name for row in rows for name in _literals(row)}
    assert on_page == in_code
    assert documented_in_code == in_code


def _field_list(docstring: str) -> str:
    block = docstring.partition("::")[2].partition("\nA record written")[0]
    # `task data state last_update output    the documented five`
    return "\n".join(line.strip() for line in block.splitlines())


def test_every_script_has_a_section_and_a_row_or_a_word_in_the_life_cycle() -> None:
    assert [one.name for one in pytask_reference.read_scripts()] == list_names()
    assert all("Returns" in one.details for one in pytask_reference.read_scripts())
    told = set(re.findall(r"[a-z]+(?:_[a-z]+)*", _page("explanation/life-cycle.md")))
    assert set(list_names()) - told == set()


def test_what_redis_refuses_without_memory_is_told_as_it_is() -> None:
    (told,) = re.findall(r"Redis refuses what ([^.]+)\.", _page("explanation/trouble.md"))
    refused = {one.name for one in pytask_reference.read_scripts() if not one.allows_oom}
    assert _literals(told) == refused - {"read_records", "read_workers"}


def test_every_arrow_of_the_drawing_is_named_after_a_script() -> None:
    drawing = _page("_static/life-cycle.svg")
    labels = re.sub(r"<title.*?</title>|<style.*?</style>", "", drawing)
    words = set(
        re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", " ".join(re.findall(r">([^<]+)</text>", labels)))
    )
    explained = {"no", "record", "local", "tasks", "expired", "leads", "from", "every", "state"}
    explained |= {"to", "only", "by", "force"}
    assert words - explained - set(list_names()) == set()
    assert {state.value for state in State} <= set(re.findall(r">([A-Z]+)</text>", labels))


def test_every_event_that_a_script_or_worker_publishes_is_on_the_events_page() -> None:
    page = _literals(_page("reference/events.md"))
    published = {state.value.lower() for state in State} - {"wait", "running"}
    for path in LUA.rglob("*.lua"):
        published |= set(re.findall(r"publish_event\([a-z]+, id, '([a-z]+)'", path.read_text()))
    for path in (ROOT / "pytask" / "worker").glob("*.py"):
        published |= set(re.findall(r'publish\([a-z_.]+, "([a-z]+)"', path.read_text()))
    assert {"started", "requeued", "reloaded"} < published
    assert published - page == set()


# Python API


def test_every_exception_is_on_its_page() -> None:
    page = _page("reference/exceptions.md")
    tree, _, described = page.partition("The class in brackets")
    for name, value in vars(exceptions).items():
        if isinstance(value, type) and value.__module__ == exceptions.__name__:
            assert re.search(rf"\b{name}\b", tree), f"{name} is not in the tree"
            assert re.search(rf"autoexception:: \S*\b{name}\n", described), name


def test_every_exported_name_is_on_a_reference_page() -> None:
    pages = "".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    described = set(
        re.findall(
            r"(?:auto(?:class|exception|function)|py:data):: (?:pytask\.)?(\w+)$", pages, re.M
        )
    )
    assert set(pytask.__all__) - {"__version__"} - described == set()


def test_every_public_member_of_a_task_is_on_the_api_page() -> None:
    section = _page("reference/api.md").partition("autoclass:: Task\n")[2].partition("```")[0]
    public = {name for name in vars(pytask.Task) if not name.startswith("_")}
    assert {name for name in public if not re.search(rf"\b{name}\b", section)} == set()


def test_states_and_codes_carry_a_comment_each() -> None:
    source = inspect.getsource(sys.modules[State.__module__])
    for member in (*State, *Code):
        assert re.search(rf"#: .+\n    {member.name} = ", source), member.name


# Command line


def test_every_command_and_exit_code_is_on_the_command_line_page() -> None:
    from pytask.cli.errors import ExitCode

    paths = [one.path for one in pytask_reference.read_commands()]
    assert paths[0] == "pytask" and "pytask worker" in paths and len(paths) == len(set(paths))
    rows = re.findall(r"^\| (\d+) \|", _page("reference/cli.md"), re.MULTILINE)
    assert sorted(map(int, rows)) == sorted(ExitCode)


def test_commands_and_options_that_pages_mention_exist() -> None:
    helps = {one.path.removeprefix("pytask "): one.text for one in pytask_reference.read_commands()}
    for page in all_pages():
        blocks = [one.text for one in read_blocks(page) if one.language in ("sh", "text", "ini")]
        spans = re.findall(r"`(pytask [^`]+)`", page.read_text())
        for found in re.findall(r"(?:^|[$/|] ?)pytask ([^\n|;]+)", "\n".join(blocks + spans), re.M):
            name, _, rest = found.partition(" ")
            assert name in helps, f"{page.name}: pytask {found}"
            for option in re.findall(r" (-[A-Za-z]|--[a-z-]+)\b", f" {rest}"):
                assert option in helps[name], f"{page.name}: pytask {found}"


# Pages


@pytest.mark.parametrize("page", all_pages(), ids=lambda path: path.stem)
def test_python_on_a_page_compiles_and_imports_what_exists(page: Path) -> None:
    for block in read_blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text, block.where)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytask"):
                module: Any = __import__(node.module or "", fromlist=["*"])
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{block.where}: {alias.name}"


def test_the_key_names_computed_on_the_data_model_page_are_right() -> None:
    (block,) = [
        one for one in read_blocks(DOCS / "reference/data-model.md") if one.language == "python"
    ]
    exec(compile(block.text, block.where, "exec"), {})


def test_glossary_terms_are_explained_once() -> None:
    body = _page("reference/glossary.md").partition("```{glossary}")[2]
    terms = re.findall(r"^(\w[\w ]*)$", body, re.MULTILINE)
    assert len(terms) > 30 and len(terms) == len(set(terms))


def test_nobody_is_told_to_install_another_project() -> None:
    for page in [*all_pages(), ROOT / "CONTRIBUTING.md"]:
        assert not re.search(r"pip install (?:-\S+ )*['\"]?pytask(?!-gevent)", page.read_text()), (
            page
        )
