"""Settings of Sphinx: the pages of this folder, the README as they show it, and the public API from its docstrings."""

import shutil
from pathlib import Path

from autofuse_jax.version import __version__

PAGES = Path(__file__).resolve().parent
NOTEBOOKS = PAGES.parent / 'notebooks'

project = 'autofuse_jax'
author = 'the developers of autofuse_jax'
release = __version__
extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'autofuse_jax {__version__}'

# Notebooks are shown as they are stored; `make notebooks` executes them.
nb_execution_mode = 'off'

# Links such as page.md#head are checked, too.
myst_heading_anchors = 4
myst_enable_extensions = ['colon_fence']

autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
napoleon_use_rtype = False
nitpicky = False


def setup(app) -> None:
    """Bring the notebooks here, and lead links to what lies outside of this folder to the pages that show it."""

    def bring(_) -> None:
        # Sphinx reads what lies below its own folder only.
        (PAGES / 'notebooks').mkdir(exist_ok=True)
        for path in NOTEBOOKS.glob('*.ipynb'):
            shutil.copyfile(path, PAGES / 'notebooks' / path.name)

    def lead(_, name: str, source: list[str]) -> None:
        source[0] = source[0].replace('](../experiments/README.md', '](experiments.md')
        source[0] = source[0].replace('](../notebooks/', '](notebooks/')
        if name == 'notebooks':
            source[0] += '\n```{toctree}\n:hidden:\n:glob:\n\nnotebooks/*\n```\n'
        if name.startswith('notebooks/'):
            source[0] = source[0].replace('](../docs/', '](../')

    app.connect('builder-inited', bring)
    app.connect('source-read', lead)
