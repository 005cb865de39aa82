"""What ``-A`` finds, and what it says when it does not."""

import sys

import pytest

from pytask import PyTask
from pytask.cli.apps import load_app
from pytask.exceptions import ConfigurationError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory; modules imported from it are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", str(tmp_path))])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(directory, name, source):
    (directory / f"{name}.py").write_text(source)


def test_the_app_is_found_in_the_current_directory(here):
    write(here, "found", "from pytask import PyTask\napp = PyTask('redis://x')\n")
    assert isinstance(load_app("found:app"), PyTask)
    assert load_app("found") is load_app("found:app")


def test_a_dotted_name_is_followed(here):
    write(here, "nested", "from pytask import PyTask\nclass W:\n    main = PyTask('redis://x')\n")
    assert isinstance(load_app("nested:W.main"), PyTask)


@pytest.mark.parametrize(
    ("source", "path", "complaint"),
    [
        ("", ":app", "MODULE:APP is needed"),
        ("", "no_such_module:app", "there is no module 'no_such_module' in"),
        ("", "wrong.deeper:app", "there is no module 'wrong.deeper'"),
        (
            "import no_such_library",
            "wrong:app",
            "imports 'no_such_library', which is not installed",
        ),
        ("1 / 0", "wrong:app", "failed with ZeroDivisionError: division by zero; --debug"),
        ("x = 5", "wrong:app", "module wrong has no 'app'; make one there"),
        ("app = 5", "wrong:app", "wrong:app is a int, not a PyTask object"),
        (
            "from pytask import PyTask\nmine = PyTask('redis://x')",
            "wrong",
            "has no 'app'; it has -A wrong:mine",
        ),
    ],
)
def test_what_is_wrong_is_said(here, source, path, complaint):
    write(here, "wrong", source)
    with pytest.raises(ConfigurationError) as caught:
        load_app(path)
    assert complaint in str(caught.value)
