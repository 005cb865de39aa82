"""How a long run says how far it is, and leaves its results as JSON and as a page of the docs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from benchmarks.harness import ROOT

Result = dict[str, Any]


def clock() -> Callable[[str], None]:
    """Return a function that writes a line to stderr, with the seconds since now before it."""
    began_at = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - began_at:6.0f} s  {text}", err=True)

    return say


def leave(result: Result, file: Path | None) -> None:
    """Write the results into a file, or to stdout."""
    text = json.dumps(result, indent=1) + "\n"
    if file is None:
        click.echo(text)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def page_command(
    folder: str, page: Callable[[Result], str], pictures: Mapping[str, Callable[[Result], str]]
) -> click.Command:
    """Return a command that writes a folder of the docs from a result file.

    Args:
        folder: Below ``docs``.
        page: Makes ``index.md``.
        pictures: Make the files beside it, by name.
    """

    @click.command(help=f"Write docs/{folder} from a result file.")
    @click.argument("file", type=click.Path(exists=True, path_type=Path))
    @click.option("--to", default=ROOT / "docs" / folder, type=click.Path(path_type=Path))
    def main(file: Path, to: Path) -> None:
        result = json.loads(file.read_text())
        to.mkdir(parents=True, exist_ok=True)
        (to / "index.md").write_text(page(result))
        for name, picture in pictures.items():
            (to / name).write_text(picture(result))
        if file.resolve() != (to / "results.json").resolve():
            shutil.copy(file, to / "results.json")
        click.echo(f"wrote {to / 'index.md'}")

    return main
