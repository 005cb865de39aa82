"""The suite for the back-end that ``--backend-url`` names."""

from __future__ import annotations

from pytask.testing.conformance import Conformance


class TestBackend(Conformance):
    """For a class of your own derive from :class:`Conformance` instead."""
