"""Patches the standard library for greenlets; a plug-in of pytest, to be loaded before all others.

::

    [pytest]
    addopts = -p pytask.testing.patch

A worker needs the patch, and pytest and its plug-ins import sockets and locks early. ``-p`` comes
before installed plug-ins and before any ``conftest.py``.
"""

from __future__ import annotations

from gevent import monkey

if not monkey.is_module_patched("socket"):
    monkey.patch_all()
