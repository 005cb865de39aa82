"""``python -m pytask.testing.conformance URL [PYTEST OPTIONS]``."""

from __future__ import annotations

import sys

import pytest

from pytask.testing import conformance

if __name__ == "__main__":
    if len(sys.argv) < 2 or "://" not in sys.argv[1]:
        sys.exit("usage: python -m pytask.testing.conformance URL [PYTEST OPTIONS]")
    # Settings and fixtures of a project around do not belong to these tests.
    alone = ["-c", "/dev/null", "--rootdir", ".", "--noconftest", "-p", "no:cacheprovider"]
    suite = ["--backend-url", sys.argv[1], "--pyargs", f"{conformance.__name__}.test_backend"]
    sys.exit(pytest.main([*alone, *suite, *sys.argv[2:]], plugins=[conformance]))
