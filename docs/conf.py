"""How Sphinx builds the documentation: `make docs`. Pages are Markdown, and read as well without it."""

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

# In our docstrings `name` is code, as in the comments beside them.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
nitpicky = False

assert pop3fast.POP3.__doc__  # noqa: S101 - the API reference is taken from the package, which has to be built
