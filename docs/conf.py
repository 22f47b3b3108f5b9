"""How Sphinx builds the documentation: `make docs`. Pages are Markdown, and read as well without it."""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer

import pop3fast

project = "pop3fast"
author = "the pop3fast developers"
copyright = author  # noqa: A001 - Sphinx's name for it
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "pop3fast"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
# A block that names no language is text, as it is where pages are read as files.
highlight_language = "text"
exclude_patterns = ["_build"]

# Headings can be linked to, as they can where the pages are read as files.
myst_heading_anchors = 3
# Files of the checkout that are no pages (the table of the simulation) are shown as they are.
suppress_warnings = ["myst.xref_missing"]
# Quotation marks and ellipses are made typographic; dashes are not, because `--sessions` in a table's row is an option.
smartquotes_action = "qe"

# In our docstrings `name` is code, as in the comments beside them.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
nitpicky = False

assert pop3fast.POP3.__doc__  # noqa: S101 - the API reference is taken from the package, which has to be built


def find_words_of_attributes(_app: Sphinx) -> None:
    """Let autodoc find the words below attributes: public classes say that they are of a package, not of a module."""
    for package, inside in (
        ("pop3fast", "pop3fast._"),
        ("pop3fast.aio", "pop3fast.aio."),
        ("pop3fast.fetch", "pop3fast.fetch."),
    ):
        shown = ModuleAnalyzer.for_module(package).find_attr_docs()
        for module in sorted(name for name in sys.modules if name.startswith(inside) and "_framing" not in name):
            for attribute, words in ModuleAnalyzer.for_module(module).find_attr_docs().items():
                shown.setdefault(attribute, words)


def complain_of_what_has_no_words(app: Sphinx, error: Exception | None) -> None:
    """End with an error when the reference shows a name and nothing about it."""
    page = Path(app.outdir, "api.html")
    if error is None and page.exists():
        bare = re.findall(
            r'<dt[^>]*id="([^"]+)"[^>]*>(?:(?!</dt>).)*</dt>\s*<dd></dd>', page.read_text("utf-8"), re.DOTALL
        )
        if bare:
            raise ExtensionError(f"nothing is said of {', '.join(bare)}")


def setup(app: Sphinx) -> None:
    """Have attributes shown, with their words."""
    app.connect("builder-inited", find_words_of_attributes)
    app.connect("build-finished", complain_of_what_has_no_words)
