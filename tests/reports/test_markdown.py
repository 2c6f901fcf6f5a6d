"""Tables in Markdown."""

from autofuse_jax.reports.markdown import markdown_table


def test_bars_in_cells_do_not_split_them():
    assert markdown_table(['a', 'b'], [['x|y', '1']]) == '| a | b |\n|:---|---:|\n| x\\|y | 1 |'
