"""Tests of what a back-end promises, for whoever makes one; needs pytest.

Either from the command line, where the scheme must be registered or its package installed::

    python -m pytask.testing.conformance myscheme://host

or as a class of a test suite, which registers it::

    from pytask.testing.conformance import Conformance

    class TestMyBackend(Conformance):
        url = "myscheme://host"

Everything is written under names of its own and removed after each test; a server may be shared.
A test is about one guarantee, and its name says which. A back-end that has a store of its own is
excused from what is about scripts and keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite(
    *(
        f"{__name__}.{part}"
        for part in (
            "seeds",
            "site",
            "starting",
            "owning",
            "ending",
            "limiting",
            "hearing",
            "links",
        )
    )
)

from pytask.testing.conformance.ending import Ending  # noqa: E402
from pytask.testing.conformance.hearing import Hearing  # noqa: E402
from pytask.testing.conformance.limiting import Limiting  # noqa: E402
from pytask.testing.conformance.links import Links  # noqa: E402
from pytask.testing.conformance.owning import Owning  # noqa: E402
from pytask.testing.conformance.site import Site, Sited  # noqa: E402
from pytask.testing.conformance.starting import Starting  # noqa: E402

if TYPE_CHECKING:
    from pytest import Parser

__all__ = ["Conformance", "Site", "Sited"]


class Conformance(Starting, Owning, Ending, Limiting, Hearing, Links):
    """All tests; a subclass whose name begins with ``Test`` says by ``url`` what is tested.

    Where the address is known only at run time, override the fixture ``backend_url`` instead.
    """


def pytest_addoption(parser: Parser) -> None:
    """Let pytest take the address, where this package is named as a plug-in."""
    parser.addoption("--backend-url", metavar="URL", help="The back-end to test.")
