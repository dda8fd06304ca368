"""Sphinx's configuration: python -m sphinx -W -b html docs OUT"""

import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parent.parent)]

import from_code  # noqa: E402

import xlstm_jax  # noqa: E402

project = "xlstm_jax"
copyright = "the xlstm_jax authors, Apache-2.0"
version = release = xlstm_jax.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "myst_nb",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_title = f"xlstm_jax {version}"
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

highlight_language = "text"  # of what names no other
default_role = "code"  # a docstring's `single` backticks, as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_use_rtype = False


def setup(app):
    app.connect("builder-inited", lambda app: from_code.write(pathlib.Path(app.srcdir)))
    app.connect("autodoc-skip-member", from_code.is_plain_field)
    app.connect("autodoc-process-docstring", from_code.as_rst, priority=400)  # napoleon comes at 500
