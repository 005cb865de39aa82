"""Clocks that are wrong: libfaketime for one process where it can be had, else a patched Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap
from functools import cache
from pathlib import Path

#: Where Debian's package puts it, and where apt keeps the package itself.
_INSTALLED = "/usr/lib/*/faketime/libfaketime.so.1"
_PACKAGE = "var/cache/apt/archives/libfaketime_*.deb"


@cache
def libfaketime() -> str | None:
    """Return the library's path, from an installed package or one that was merely downloaded."""
    found = [*Path("/").glob(_INSTALLED[1:])]
    if not found and shutil.which("dpkg"):
        for package in Path("/").glob(_PACKAGE):
            # Not removed: a library that processes have loaded, a few hundred kilobytes.
            folder = Path(f"/tmp/pytask-faketime-{os.getuid()}")
            subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
            found = [*folder.glob(_INSTALLED[1:])]
    return str(found[0]) if found else None


class Clock:
    """The wall clock of one process; durations by the monotonic clock stay right.

    Args:
        directory: Where its files go.
        by: ``libfaketime`` or ``python``, which patches ``time.time`` when the interpreter starts.
        patience: Seconds until the library looks at its file again; 0: it looks whenever somebody
            asks for the time, which costs a busy process much.
    """

    def __init__(self, directory: Path, by: str, patience: float = 0) -> None:
        directory.mkdir()
        self._by = by
        self._patience = patience
        self._directory = directory
        self._offset = directory / "offset"
        self.set(0)
        if by == "python":
            (directory / "sitecustomize.py").write_text(textwrap.dedent(_PATCH))

    def set(self, seconds: float) -> None:
        """Let the clock be wrong by so many seconds from now on."""
        new = self._directory / "new"
        new.write_text(f"{seconds:+g}")
        new.rename(self._offset)

    @property
    def env(self) -> dict[str, str]:
        """What the process needs in its environment."""
        if self._by == "python":
            return {"PYTHONPATH": str(self._directory), "PYTASK_TEST_CLOCK": str(self._offset)}
        # The library counts in whole seconds.
        caching = (
            {"FAKETIME_CACHE_DURATION": str(max(1, round(self._patience)))}
            if self._patience
            else {"FAKETIME_NO_CACHE": "1"}
        )
        return {
            "LD_PRELOAD": libfaketime() or "",
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            **caching,
        }


_PATCH = '''
    """Shift the wall clock of this interpreter."""

    import os
    import time

    _time, _file = time.time, os.environ["PYTASK_TEST_CLOCK"]


    def _shifted():
        descriptor = os.open(_file, os.O_RDONLY)
        try:
            return _time() + float(os.read(descriptor, 40))
        finally:
            os.close(descriptor)


    time.time = _shifted
'''
