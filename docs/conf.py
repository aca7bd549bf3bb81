"""Sphinx's configuration: ``make docs`` builds the site, and fails on a warning."""

import os
from enum import Enum
from pathlib import Path

# Before the first import of Airflow, which else creates a folder in the user's home.
os.environ.setdefault("AIRFLOW_HOME", str(Path(__file__).parent.parent / "build" / "airflow"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")

from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.util.docstrings import prepare_docstring
from sphinx.util.inspect import signature, stringify_signature

from airflow_provider_quickrouter import __version__
from airflow_provider_quickrouter.sandbox.faults import Faults

project = "airflow-provider-quickrouter"
author = "The airflow-provider-quickrouter contributors"
version = release = __version__
language = "en"
smartquotes_action = "De"  # no curly quotes: "" is a value here

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

# The build downloads nothing, so names of other packages have no target. All names of this package
# must have one.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(airflow|requests|pydantic|datetime|pathlib|collections|typing|types)\..*"),
    # Airflow's names, which are imported for type checkers only.
    ("py:class", r"Context|RetryDecision|TaskDecorator"),
]

autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
add_module_names = False  # each page says where its names are imported from
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"QuickRouter for Airflow {release}"
html_static_path = ["_static"]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#6d28d9", "color-brand-content": "#6d28d9"},
    "dark_css_variables": {"color-brand-primary": "#c4b5fd", "color-brand-content": "#c4b5fd"},
}


def without_noise(
    app: object, what: str, name: str, found: object, options: object, shown: str, returns: str
) -> object:
    """Omit signatures of enums, errors and models; show that of a task group's function."""
    if what in ("class", "exception") and issubclass(found, BaseModel | Enum | Exception):
        return ("", "") if shown else None
    if what == "function" and hasattr(found, "function"):
        return stringify_signature(signature(found.function), unqualified_typehints=True), ""
    shorter = {repr(Faults()): "Faults()", "~typing.": "", "=<factory>": " = {}"}
    for long, short in shorter.items():
        shown = shown and shown.replace(long, short)
    return (shown, returns) if shown else None


def with_docstring(
    app: object, what: str, name: str, found: object, options: object, lines: list[str]
) -> None:
    """Use the docstring of a task group's function."""
    if what == "function" and hasattr(found, "function"):
        lines[:] = prepare_docstring(found.function.__doc__)


def setup(app: Sphinx) -> None:
    """Register the functions; Sphinx calls this."""
    app.connect("autodoc-process-signature", without_noise)
    app.connect("autodoc-process-docstring", with_docstring)
