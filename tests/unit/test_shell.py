"""Commands where there is no hub, and the client that needs an extra."""

import sys
from pathlib import Path

import pytest

from pytask import ConfigurationError
from pytask.exceptions import CommandFailed
from pytask.http_clients import make_client
from pytask.shell import run_here


def test_a_command_returns_what_it_wrote(tmp_path: Path) -> None:
    done = run_here("pwd; echo $WHO >&2", cwd=str(tmp_path), env={"WHO": "me"})
    assert (done.code, done.out, done.err) == (0, f"{tmp_path}\n", "me\n")
    assert run_here(["printf", "%s", "$HOME; *"]).out == "$HOME; *"


def test_a_command_that_fails_says_how() -> None:
    with pytest.raises(CommandFailed, match="ended with code 3; it said: no luck") as caught:
        run_here("echo no luck >&2; exit 3")
    assert caught.value.result.code == 3
    assert run_here("exit 3", check=False).code == 3
    with pytest.raises(CommandFailed, match="there is no such program"):
        run_here(["no-such-program"])


def test_a_command_that_takes_too_long_is_killed() -> None:
    with pytest.raises(CommandFailed, match=r"ran longer than 0\.1 s and was killed"):
        run_here("sleep 600 & sleep 600", timeout=0.1)


def test_a_command_leaves_nothing_in_the_background() -> None:
    # It would hold the pipes open, and this would not return.
    assert run_here("sleep 600 & echo done").out == "done\n"


def test_without_httpx_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'pytask-gevent\[http\]'"):
        make_client()
