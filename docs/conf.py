"""Settings of Sphinx: the pages of this folder, the README as they show it, and the public API from its docstrings."""

from autofuse_jax.version import __version__

project = 'autofuse_jax'
author = 'the developers of autofuse_jax'
release = __version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'autofuse_jax {__version__}'

# Links such as page.md#head are checked, too.
myst_heading_anchors = 4
myst_enable_extensions = ['colon_fence']

autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
napoleon_use_rtype = False
nitpicky = False


def setup(app) -> None:
    """Lead links to the page about experiments, which lies outside of this folder, to the page that includes it."""

    def lead(_, name: str, source: list[str]) -> None:
        source[0] = source[0].replace('](../experiments/README.md', '](experiments.md')

    app.connect('source-read', lead)
