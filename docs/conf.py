"""The documentation site: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``.

Needs ``pip install ".[docs]"`` and no network, neither to build nor to read: the formulas'
MathJax is copied into the pages.
"""

import importlib.util
import os
import re
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
if not [*HERE.parent.glob("cbackprop/_engine*.so"), *HERE.parent.glob("cbackprop/_engine*.pyd")]:
    # An ordinary install: the uncompiled folder of the clone must not stand before it.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != HERE.parent]

import cbackprop  # noqa: E402
from cbackprop import activations, cli, costs, optimizers  # noqa: E402
from cbackprop._help import PAGES  # noqa: E402

project = "cbackprop"
author = "the cbackprop developers"
copyright = author
release = cbackprop.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

# MyST reads dollars as formulas, and a page may link to headings of another.
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
# Numbers stand where the book has them: given by hand with \tag, not counted here.
mathjax3_config = {"tex": {"tags": "none"}}

autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = False
autodoc_typehints = "none"  # numpydoc's sections say types in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_show_inherited_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "cbackprop"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
# A page that is no part of a section has nothing to show at its left.
html_sidebars = {page: [] for page in ("index", "quickstart", "four_equations", "command_line")}
html_theme_options = {
    "navigation_depth": 2,
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_persistent": [],
    "navbar_end": ["search-field", "theme-switcher"],
    "pygments_light_style": "tango",
    "footer_start": ["copyright"],
    "footer_end": [],
}

# An example is run where what it imports beyond the package is installed, and shown in any case.
NEEDS = {"numba_functions": "numba"}
_missing = [name for name, library in NEEDS.items() if importlib.util.find_spec(library) is None]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": rf"{os.sep}(?!({'|'.join(_missing) or '-'})\.py)[a-z_]+\.py$",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    # Its table of times would take scripts from elsewhere.
    "write_computation_times": False,
    "min_reported_time": 1e9,
    "matplotlib_animations": False,
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib",),
}

# sphinx-gallery keeps functions of the examples in the configuration; Sphinx cannot pickle them.
suppress_warnings = ["config.cache"]
# Agg warns where an example calls plt.show().
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _rows(objects):
    return _table(
        ["name", "formula"], [[f"`{o.name}`", f"`{o.formula}`"] for o in objects.values()]
    )


def _help_pages():
    """What ``cbackprop --help`` and ``cbackprop COMMAND --help`` print."""
    os.environ["COLUMNS"] = "92"
    parser = cli._parser()
    (commands,) = (action.choices for action in parser._actions if action.choices)
    parts = [f"```text\n{parser.format_help()}```"]
    for name, page in commands.items():
        parts.append(f"## {name}\n\n`cbackprop {name}`: {PAGES[name].about}.")
        parts.append(f"```text\n{page.format_help()}```")
    return "\n\n".join(parts)


def _toctree(*patterns, hidden=True):
    """Of the pages that are there, in this order; a folder's own index stands for the folder."""
    found = []
    for pattern in patterns:
        paths = sorted(HERE.glob(pattern))
        pages = [path.relative_to(HERE).with_suffix("").as_posix() for path in paths]
        found += [page for page in pages if page.endswith("/index")] or pages
    if not found:
        return ""
    options = [":hidden:"] if hidden else [":maxdepth: 1"]
    return "\n".join(["```{toctree}", *options, "", *(f"/{page}" for page in found), "```"])


# Tables of what the package itself says, so that no list is kept in step by hand.
FILL = {
    "activations": lambda: _rows(activations.ACTIVATIONS),
    "costs": lambda: _rows(costs.COSTS),
    "optimizers": lambda: _table(
        ["name", "object"],
        [[f"`{n}`", f"`{c.__name__}`"] for n, c in optimizers.OPTIMIZERS.items()],
    ),
    "help": _help_pages,
    "guide": lambda: _toctree("guide/*.md"),
    "more": lambda: _toctree("coming_from/*.md", "reproducibility.md", "benchmarks.md"),
    "project": lambda: _toctree(*PROJECT, hidden=False),
}


PROJECT = ("engine.md", "features.md", "figures.md", "scaling.md", "reliability.md", "decisions.md",
           "releasing.md", "project/[!i]*.md")  # fmt: skip


def _fill(app, docname, source):
    """Puts a table where a page says ``<!-- fill: name -->``."""
    source[0] = re.sub(r"<!-- fill: (\w+) -->", lambda found: FILL[found[1]](), source[0])


def setup(app):
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}
