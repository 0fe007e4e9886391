"""Sphinx's settings for the documentation; `launch/docs` builds it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import dlcore  # noqa: E402

project = "dlcore"
author = "The dlcore authors"
copyright = "The dlcore authors"
version = release = dlcore.__version__

smartquotes = False  # a flag keeps its two hyphens
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "docstrings",
    "flag_table",
    "lecture_map",
    "native_math",
    "rows_program",
]
exclude_patterns = ["_ext"]
nitpicky = True
# Types in signatures belong to JAX, Flax and NumPy, or are private: their names are shown without a link.
nitpick_ignore_regex = [("py:.*", ".*")]
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autosummary_generate = False
default_role = "py:obj"
maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"dlcore {version}"
html_static_path = ["_static"]
html_css_files = ["dlcore.css"]
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "native"
