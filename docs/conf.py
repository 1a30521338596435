"""How is the documentation built? `make docs` runs Sphinx with these settings.

Nothing is fetched while building: no intersphinx, no fonts or scripts from elsewhere.
"""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["COLUMNS"] = "80"

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import zarrfeed
from generators.annotations import annotations_of, with_types, without_types
from generators.command_pages import command_pages
from generators.format_pages import format_pages
from generators.markdown import write_pages

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "zarrfeed"
author = "The zarrfeed maintainers"
version = release = zarrfeed.__version__
copyright = author  # noqa: A001  Sphinx's name

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build", "_static", "_templates", "drawings"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}  # .rst: autosummary's
templates_path = ["_templates"]
default_role = "literal"  # names of parameters in docstrings
smartquotes = False  # -- begins options
nitpicky = True
# Types of others, to which nothing links because nothing is fetched.
nitpick_ignore_regex = [
    ("py:class", r"(?!zarrfeed).*|zarrfeed_convert\.header\.ArrayHeader"),
    ("py:attr", r".*"),  # in lists of numpydoc, which cannot be linked to
]

autodoc_typehints_format = "short"
autosummary_generate = ["reference/zarrfeed.md", "reference/zarrfeed_convert.md"]
# Whose methods are not ours to describe.
autosummary_context = {
    "inherited_until": "object, dict, tuple, Mapping, Exception, Callback, PyDataset"
}
maximum_signature_line_length = 80
python_display_short_literal_types = True
numpydoc_show_class_members = False  # autodoc documents them
numpydoc_class_members_toctree = False

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

html_theme = "furo"
html_title = "zarrfeed"
html_static_path = ["_static"]
html_css_files = ["zarrfeed.css"]
_LIGHT = {"a": "#cfe3fb", "a-line": "#3a78c2", "b": "#fbe0c3", "b-line": "#c07722",
          "c": "#d3efd6", "c-line": "#3d8f49", "mark": "#b3261e"}  # fmt: skip
_DARK = {"a": "#17375c", "a-line": "#6ba4e8", "b": "#55370f", "b-line": "#e3a052",
         "c": "#1c4424", "c-line": "#6cc27b", "mark": "#ff8a80"}  # fmt: skip
html_theme_options = {  # of drawings
    "light_css_variables": {f"zf-{name}": color for name, color in _LIGHT.items()},
    "dark_css_variables": {f"zf-{name}": color for name, color in _DARK.items()},
}
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False


def write_generated(app: Sphinx) -> None:
    """Write the pages that follow from the packages."""
    write_pages(HERE / "formats", format_pages())
    write_pages(HERE / "reference" / "commands", command_pages())


def add_types(
    app: Sphinx, kind: str, name: str, documented: Any, options: Any, lines: list[str]
) -> None:
    """Give a docstring the types of its parameters, before numpydoc reads it."""
    lines[:] = with_types("\n".join(lines), annotations_of(documented)).split("\n")


def leave_out_types(
    app: Sphinx, kind: str, name: str, documented: Any, options: Any, arguments: str, returns: str
) -> tuple[str, str] | None:
    """Leave types out of a signature if the docstring lists the parameters, with their types."""
    if arguments and "\nParameters\n---" in inspect.cleandoc(documented.__doc__ or ""):
        return without_types(arguments), ""
    return None


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("builder-inited", write_generated)
    app.connect("autodoc-process-docstring", add_types, priority=100)
    app.connect("autodoc-process-signature", leave_out_types)
