"""discovery: task classes are found in the modules a configuration names."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from pytask import ConfigurationError, PyTask

FILES = {
    "shop/__init__.py": "",
    "shop/base.py": """
        from pytask import Task

        class Base(Task):
            ABSTRACT = True

        class Loose(Base):
            def start(self): ...
        """,
    "shop/tasks/__init__.py": """
        from pytask import Task
        from shop.base import Base, Loose

        class Order(Base):
            NAME = "shop/order"
            def start(self): ...
        """,
    "shop/tasks/mail.py": """
        from pytask import Task

        class Send(Task):
            QUEUE = "mail"
            def start(self): ...
        """,
    "shop/tasks/deep/__init__.py": "",
    "shop/tasks/deep/down.py": """
        from pytask import Task

        class Down(Task):
            def start(self): ...
        """,
    "shop/broken.py": "import no_such_module_at_all",
}


@pytest.fixture(autouse=True)
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [one for one in sys.modules if one.partition(".")[0] == "shop"]:
        del sys.modules[name]


@pytest.fixture
def app() -> PyTask:
    return PyTask("redis://127.0.0.1:1")  # nothing is connected here


def test_a_package_with_a_star_means_all_below_it(app: PyTask) -> None:
    assert app.discover("shop.tasks.*") == ["Down", "Send", "shop/order"]
    assert app.discover("shop.tasks.*") == []


def test_a_module_alone_means_what_it_defines_itself(app: PyTask) -> None:
    assert app.discover("shop.tasks") == ["shop/order"]
    assert app.discover("shop.base", "shop.tasks.mail") == ["Loose", "Send"]


def test_the_policy_of_what_was_found_is_known_to_the_helpers(app: PyTask) -> None:
    app.discover("shop.tasks.mail")
    assert app.helpers.policy_of("Send").queue == "mail"
    assert app.helpers.policy_of("Other").queue == "default"


def test_a_module_that_is_missing_is_named(app: PyTask) -> None:
    with pytest.raises(ConfigurationError, match=r"no module 'shop\.tsks' \(of 'shop\.tsks'\)"):
        app.discover("shop.tsks.*")
    with pytest.raises(ConfigurationError, match=r"shop\.base is no package"):
        app.discover("shop.base.*")


def test_what_a_module_itself_misses_is_its_own_error(app: PyTask) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        app.discover("shop.broken")
