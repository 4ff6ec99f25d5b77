"""Sphinx's configuration for the site; read by infra/site/build.py."""

from __future__ import annotations

import quantplay

project = "quantplay"
author = "the quantplay team"
release = version = quantplay.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "reference/*.md", "**/README.md"]
exclude_patterns = ["quantplay"]
html_theme = "furo"
html_title = "quantplay"
html_copy_source = False
html_show_sphinx = False

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["misc.highlighting_failure"]  # a code block in a language that nobody colours is no fault
default_role = "code"  # docstrings say `name`, as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
autodoc_preserve_defaults = True
add_module_names = False
