"""Settings of Sphinx; ``make docs`` builds with warnings as errors."""

from __future__ import annotations

from pushpin_tw import __version__

project = "pushpin_tw"
author = "The pushpin_tw authors"
copyright = "The pushpin_tw authors"
version = release = __version__

extensions: list[str] = []
exclude_patterns = ["_build"]
nitpicky = True
highlight_language = "none"

rst_prolog = """
.. |ignored| replace:: *Accepted and ignored.*
"""

html_theme = "alabaster"
html_theme_options = {
    "description": "Realtime push for any web API",
    "fixed_sidebar": True,
    "page_width": "1060px",
}
html_show_copyright = False
