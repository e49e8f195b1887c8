"""Sphinx configuration."""

from importlib.metadata import version as installed

project = "headrace"
author = "The headrace developers"
version = release = installed("headrace")
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"headrace {version}"
html_show_copyright = False
html_show_sphinx = False
