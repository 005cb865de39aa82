"""Measures what users ask about: how soon things go on, and what is lost, done twice or refused.

Each measurement starts servers and workers of its own, and has an aim. An aim that is missed makes
the exit status 1. The results are kept for ``python -m tests.chaos.report``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from .measures import ALL
from .measures.base import Measure, Row, Session

#: Where the report looks.
RESULTS = "chaos-results/numbers.json"
_EXAMPLES = """\
examples:
  python -m tests.chaos.numbers                          all of them, small: about 3 minutes
  python -m tests.chaos.numbers --size full              as the report states them: 12 minutes
  python -m tests.chaos.numbers --only poison --only sigterm --json /tmp/numbers.json
"""


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.numbers",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [one.name for one in ALL]
    parser.add_argument(
        "--only", action="append", default=[], choices=names, metavar="NAME", help="may be repeated"
    )
    parser.add_argument(
        "--size", choices=["small", "full"], default="small", help="(default: small)"
    )
    parser.add_argument(
        "--json",
        default=RESULTS,
        metavar="FILE",
        help="where to keep the results, beside those it has already (default: %(default)s)",
    )
    parser.add_argument("--list", action="store_true", help="say what is measured, and end")
    return parser.parse_args(words)


def measure(one: Measure, session: Session) -> list[Row]:
    """Take one measurement; if it cannot be finished, that is what it came to."""
    session.begin(one.name)
    try:
        return one.run(session)
    except Exception as error:
        # The others are worth their minutes all the same.
        traceback.print_exc()
        text = f"not finished: {type(error).__name__}: {error}"
        return [Row(one.about, text, "-", "-", False)]
    finally:
        session.end()


def read_kept(path: Path) -> list[dict[str, Any]]:
    """Return the results of earlier measurements.

    Raises:
        ValueError: The file holds something else, which is not overwritten.
    """
    kept = json.loads(path.read_text()) if path.exists() else []
    if not isinstance(kept, list) or not all(isinstance(one, dict) for one in kept):
        raise ValueError(f"{path} does not hold results of measurements; give another --json")
    return kept


def keep(path: Path, name: str, found: list[dict[str, Any]]) -> None:
    """Put the results in the place of those that this measurement had before."""
    rows = [row for row in read_kept(path) if row.get("name") != name]
    rows += [{"name": name, **row} for row in found]
    order = [one.name for one in ALL]
    # What no measurement of today has measured says nothing about today.
    rows = [row for row in rows if row.get("name") in order]
    rows.sort(key=lambda row: order.index(row["name"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(words: list[str]) -> int:
    """Measure, keep what came of it, and return the exit status."""
    choices = parse(words)
    if choices.list:
        for one in ALL:
            say(f"{one.name:20} {one.about}")
        return 0
    path = Path(choices.json)
    try:
        read_kept(path)  # before minutes are spent
    except ValueError as error:
        say(str(error))
        return 2
    session = Session(choices.size == "full")
    chosen = [one for one in ALL if not choices.only or one.name in choices.only]
    missed = []
    for number, one in enumerate(chosen, 1):
        began = time.monotonic()
        rows = measure(one, session)
        seconds = time.monotonic() - began
        details = {"size": choices.size, "seconds": round(seconds, 1)}
        keep(path, one.name, [{**row.to_json(), **details} for row in rows])
        for row in rows:
            verdict = "ok    " if row.is_met else "MISSED"
            say(f"{verdict} [{number}/{len(chosen)}] {row.what}: {row.measured} (aim {row.aim})")
            if not row.is_met:
                missed.append(one.name)
    if missed:
        say(f"aims missed: {', '.join(dict.fromkeys(missed))}; results in {path}")
    else:
        say(f"all aims are met; results in {path}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
