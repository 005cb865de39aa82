"""How commands that serve log: to stderr, unless the app has set up logging itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import click

from pytask.cli.options import option

_FORMAT = "%(asctime)s %(levelname)-7s %(process)d %(name)s: %(message)s"

log_level_option: Callable[[Any], Any] = option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    help="How much is logged to stderr.  [default: info]",
)


def set_up_logging(level: str) -> None:
    """Log to stderr, unless somebody has set up logging already."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=level.upper(), format=_FORMAT)
