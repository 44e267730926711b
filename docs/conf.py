"""How `make docs` builds the pages of this folder: Markdown, notebooks, docstrings. No page loads anything."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

# What the notebooks find stays out of the user's cache; compiled kernels, named by their content, are shared.
user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thinwire"
os.environ.setdefault("NUMBA_CACHE_DIR", str(user_cache / "kernels"))
own_cache = TemporaryDirectory()
os.environ["THINWIRE_CACHE"] = own_cache.name

from thinwire.version import __version__

project = "thinwire"
author = "The thinwire authors"
copyright = author
release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["images"]

nitpicky = True
nitpick_ignore_regex = [
    ("py:class", ".*"),  # a type of a signature that has no entry here is named and not linked
    ("py:.*", r"(?!thinwire\.).*"),  # other packages' pages are elsewhere, and a build has no network
]

myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
default_role = "literal"

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds of one cell, on a busy machine

smartquotes = False  # `--option` in a sentence keeps its dashes
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_title = f"thinwire {release}"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"footer_icons": []}
