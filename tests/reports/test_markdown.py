"""Tables in Markdown."""

from autofuse_jax.reports.markdown import markdown_text, text_table


def test_bars_in_cells_do_not_split_them():
    assert text_table(['a', 'b'], [['x|y', '1']]) == '| a | b |\n|:---|---:|\n| x\\|y | 1 |'


def test_names_are_no_markup():
    assert markdown_text('<img src=x onerror=alert(1)>') == '&lt;img src=x onerror=alert(1)&gt;'
    assert markdown_text('[a](b) *c* `d` _e_ f_g $x$ ~y~') == r'\[a\](b) \*c* \`d\` \_e\_ f_g \$x\$ \~y\~'
    assert markdown_text('a & b &lt; c') == 'a & b &amp;lt; c'
    assert markdown_text('one\ntwo\x07 \\|') == r'one two  \\\|'
    # Names of files and numbers stay as they are.
    assert markdown_text('patient_01 90.2 ± 2.0 %') == 'patient_01 90.2 ± 2.0 %'
