"""How Sphinx builds the site; `make docs` calls it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

import pyg_ckd

project = 'pyg_ckd'
author = 'the pyg_ckd authors'
release = version = pyg_ckd.__version__

extensions = [
    'myst_nb',
    'sphinx.ext.autodoc',
    'sphinx.ext.autosummary',
    'sphinx.ext.mathjax',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
    'sphinx_design',
    'sphinx-mathjax-offline',
]
exclude_patterns = ['_build', '_templates']
templates_path = ['_templates']
nitpicky = True
nitpick_ignore_regex = [
    # As in PyG, `:obj:` is for values as well as for names:
    (r'py:(obj|attr)', r'.*'),
    # Documented elsewhere:
    (r'py:.*', r'(torch|torch_geometric|pytorch_lightning|numpy|PIL)\..*'),
]
# RST that docstrings may use:
rst_prolog = """
.. role:: python(code)
   :language: python
"""

myst_enable_extensions = [
    'attrs_inline',
    'colon_fence',
    'deflist',
    'dollarmath',
]
myst_heading_anchors = 4
nb_execution_mode = 'force'
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
# No bars of progress, and no word about the widgets that would draw them:
os.environ['TQDM_DISABLE'] = '1'
os.environ['PYTHONWARNINGS'] = 'ignore:IProgress not found'

# A page for each class and function, found by what the packages export:
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_typehints = 'none'
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = ['Shapes']

html_theme = 'furo'
html_static_path = ['_static']
html_css_files = ['site.css']
html_title = f'pyg_ckd {release}'
html_show_sphinx = False
html_show_copyright = False

# Pages of the repository outside of `docs`, by the page that includes each:
DOCS = Path(__file__).parent
INCLUDED = {
    DOCS.parent / 'benchmarks' / 'README.md': 'benchmarks.md',
    DOCS.parent / 'benchmarks' / 'RESULTS.md': 'results.md',
    DOCS.parent / 'benchmarks' / 'SPEED.md': 'speed.md',
    DOCS.parent / 'datasets' / 'README.md': 'datasets.md',
    DOCS.parent / 'CHANGELOG.md': 'changelog.md',
    DOCS.parent / 'CODE_OF_CONDUCT.md': 'conduct.md',
    DOCS.parent / 'CONTRIBUTING.md': 'contributing.md',
    DOCS.parent / 'SECURITY.md': 'security.md',
}
INCLUDE = re.compile(r'```{include} (\S+)\n```\n')
LINK = re.compile(r'(\]\()(?!\w+:|#)([^)#\s]+)')


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Include pages of the repository, and have links lead to them here."""
    path = Path(app.env.doc2path(docname))
    if path.suffix == '.md':
        text = INCLUDE.sub(
            lambda include: included(path.parent / include[1], path.parent),
            source[0],
        )
        source[0] = rebased(text, path.parent, path.parent)


def included(path: Path, folder: Path) -> str:
    """Return the text of a file, with links as seen from another folder."""
    return rebased(path.read_text(encoding='utf-8'), path.parent, folder)


def rebased(text: str, old: Path, new: Path) -> str:
    """Return a text whose links led from one folder and lead from another."""

    def target(link: re.Match[str]) -> str:
        path = (old / link[2]).resolve()
        path = DOCS / INCLUDED[path] if path in INCLUDED else path
        return link[1] + os.path.relpath(path, new)

    return LINK.sub(target, text)


def setup(app: Sphinx) -> None:
    """Let Sphinx call `read` for each page."""
    app.connect('source-read', read)
