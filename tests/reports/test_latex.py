"""LaTeX that compiles as it is: every special character is escaped, and only plain LaTeX is used."""

import re

from autofuse_jax.reports.latex import SPECIAL, escape, latex_table


def test_special_characters_by_hand():
    assert escape('left_ventricle & 5 % of #1') == r'left\_ventricle \& 5 \% of \#1'
    assert escape('a\\b{c}~^$') == r'a\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}\$'
    assert escape('a | b') == r'a $|$ b'
    assert escape('1 ± 2 – 3 < 4') == r'1 $\pm$ 2 -- 3 $<$ 4'


def test_nothing_outside_ascii_is_left_of_what_tables_use():
    assert escape(''.join(SPECIAL)).isascii()


def test_table_by_hand():
    assert latex_table(['name', 'DSC %'], [['a_b', '50.0 ± 1.0'], ['c', '–']], 'Some\ncaption 5 %').splitlines() == [
        '% Some caption 5 %',
        r'\begin{tabular}{lr}',
        r'\hline',
        r'name & DSC \% \\',
        r'\hline',
        r'a\_b & 50.0 $\pm$ 1.0 \\',
        r'c & -- \\',
        r'\hline',
        r'\end{tabular}',
    ]


def test_every_line_has_the_same_number_of_cells():
    text = latex_table(['a', 'b', 'c'], [['x & y', '1', '2'], ['z', '3', '4']], 'caption')
    lines = [line for line in text.splitlines() if line.endswith(r'\\')]
    assert [len(re.findall(r'(?<!\\)&', line)) for line in lines] == [2, 2, 2]


def test_names_are_no_options_of_the_row_before():
    lines = latex_table(['a', 'b'], [['x', '1'], ['[left] x', '2'], ['*', '3']], 'caption').splitlines()
    assert lines[5:8] == [r'x & 1 \\', r'{}[left] x & 2 \\', r'{}* & 3 \\']
