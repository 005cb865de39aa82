"""An environment for each system, with its newest release."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .systems import System

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".venv-bench"

_ASK = """\
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


def environment_of(system: System) -> Path:
    """Return where the environment of a system is."""
    return HOME / system.module


def prepare(system: System, say: Callable[[str], None], *, upgrade: bool) -> dict[str, str]:
    """Make the environment of a system unless it is there, and return its versions.

    Args:
        system: Which.
        say: Told what is going on.
        upgrade: Bring an environment that is there up to date.
    """
    home = environment_of(system)
    python = home / "bin" / "python"
    stamp = home / "installed"
    if upgrade or not stamp.exists():
        say(f"installing {system.name}")
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--upgrade", *system.packages], check=True, cwd=ROOT)
        stamp.touch()
    return _versions(python, system)


def _versions(python: Path, system: System) -> dict[str, str]:
    command = [str(python), "-c", _ASK, *system.versions]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions
