"""``pytask rpc``: what its options mean; tests/acceptance has it at work."""

import re
from pathlib import Path

import pytest

from pytask.cli.rpc import _load_function, read_token
from pytask.exceptions import ConfigurationError


def test_a_token_is_read_from_a_file_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("  secret\n")
    monkeypatch.setenv("RPC_TOKEN", "other")
    assert read_token(file, None) == "secret"
    assert read_token(None, "RPC_TOKEN") == "other"
    assert read_token(None, None) is None


def test_a_token_that_is_none_lets_nobody_in_by_mistake(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "empty").write_text("\n")
    for file, variable, told in (
        (tmp_path / "nothing", None, "No such file"),
        (tmp_path / "binary", None, "decode"),
        (tmp_path / "empty", None, "there is no token"),
        (None, "PYTASK_NO_SUCH_VARIABLE", "there is no token"),
        (tmp_path / "empty", "RPC_TOKEN", "give one of them"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            read_token(file, variable)


@pytest.mark.parametrize("path", ["os", "os:nothing", "no.such.module:f", ":f", "os:sep"])
def test_request_parameters_name_a_function(path: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"--request-parameters {path}")):
        _load_function(path)
    assert _load_function("os:getcwd") is not None


def test_usage_errors_exit_with_2(shell):
    assert "no app" in shell("rpc").complaint
    done = shell("rpc", "-A", "jobs", "--bind", "nowhere")
    assert (done.code, "HOST:PORT" in done.complaint) == (2, True)
