"""Sphinx settings; ``make docs`` builds with warnings as errors."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]

from pytask import __version__  # noqa: E402  # found through the line above

project = "pytask"
author = "the pytask contributors"
copyright = "2026, the pytask contributors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "pytask_reference",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

html_theme = "furo"
html_title = f"pytask {release}"
html_static_path = ["_static"]
html_css_files = ["pytask.css"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# A name without a target is an error, so that a renamed class cannot leave a dead link.
nitpicky = True
nitpick_ignore_regex = [
    # The standard library and gevent: the pages are built without a network.
    (r"py:.*", r"(collections\.abc|typing|contextlib|datetime|pathlib)\..*"),
    (r"py:.*", r"(datetime|dict\[str)"),
    (r"py:.*", r"(Any|Callable|Iterable|Iterator|Mapping|Sequence|TaskRequest|PolicyOf|T)"),
    (r"py:.*", r"(pytask\.(pytask|functions)\.)?(P|R|P\.args|P\.kwargs)"),
    # Parts of the worker that a user never holds; their signatures are not part of the API.
    (r"py:.*", r"(pytask\.)?(store|connection|worker|keys|records|task)\..*"),
    (r"py:.*", r"(pytask\.)?(waiting|watches|listening)\..*"),
    (r"py:.*", r"(Connector|Store|Keys|NewTask|Binding|TaskEnvironment)"),
]
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Fields of named tuples and enums get their text from `#:` comments.
napoleon_use_ivar = True
