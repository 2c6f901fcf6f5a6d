"""HTML building blocks."""

import math

import numpy as np
import pytest

from autofuse_jax.reports.html import (
    Html,
    chip,
    colour_bar,
    document,
    number,
    picture,
    section,
    side_by_side,
    table,
    tag,
)
from tests.reports.parsed_page import ParsedPage, assert_stands_alone


def test_text_and_attributes_are_escaped_once():
    made = tag('p', 'a < b & "c"', tag('b', '<i>'), title='say "x" & <y>')
    assert made == ('<p title="say &quot;x&quot; &amp; &lt;y&gt;">a &lt; b &amp; &quot;c&quot;<b>&lt;i&gt;</b></p>')
    assert tag('p', made, None, [1, ['<', Html('<br>')]]) == f'<p>{made}1&lt;<br></p>'


def test_attribute_names_and_void_elements():
    assert tag('td', class_='number', data_x=0, hidden=True, id=None, lang=False) == (
        '<td class="number" data-x="0" hidden></td>'
    )
    assert tag('meta', name='viewport') == '<meta name="viewport">'


def test_document_is_whole_and_stands_alone():
    page = document('<script>', section('one & two', tag('p', 'text')))
    parsed = ParsedPage(page)
    assert page.startswith('<!DOCTYPE html>')
    assert [found for name, found in parsed.tags if name == 'html'] == [{'lang': 'en'}]
    assert parsed.find('meta', charset='utf-8') and parsed.find('meta', name='viewport')
    assert ('title', '<script>') in parsed.texts and ('h2', 'one & two') in parsed.texts
    assert_stands_alone(page)


def test_style_sheet_has_pairs_of_braces_and_both_colour_schemes():
    style = ''.join(text for tag_name, text in ParsedPage(document('x')).texts if tag_name == 'style')
    assert style.count('{') == style.count('}') > 20
    for needed in ('prefers-color-scheme: dark', '@media print', 'max-width: 640px'):
        assert needed in style


def test_table_cells_and_their_alignment():
    made = table(['name', 'ml'], [['a<', 1], ['b', tag('td', 'own', class_='x')]])
    parsed = ParsedPage(made)
    assert parsed.rows() == [['name', 'ml'], ['a<', '1'], ['b', 'own']]
    assert parsed.count('td', class_='number') == 1 and parsed.count('td', class_='x') == 1
    assert parsed.count('th', class_='number') == 1


def test_picture_and_colour_bar():
    made = ParsedPage(picture(b'\x89PNG', 'what "it" shows', 'below', (20, 10)))
    assert made.find('img') == [
        {'src': 'data:image/png;base64,iVBORw==', 'alt': 'what "it" shows', 'width': '20', 'height': '10'}
    ]
    bar = ParsedPage(colour_bar(['#000000', '#ffffff'], ['0', '1'], 'difference'))
    assert bar.find('div', class_='ramp')[0]['style'] == 'background: linear-gradient(to right, #000000, #ffffff)'
    assert 'difference' in bar.text


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        (1.005, '1.00'),
        (-2.5, '−2.50'),
        (-0.001, '0.00'),
        (np.float32(3), '3.00'),
        (np.int64(4), '4.00'),
        (None, '–'),
        (math.nan, '–'),
        (math.inf, '–'),
        ('7', '–'),
        (True, '–'),
        ([1], '–'),
        ({}, '–'),
    ],
)
def test_numbers_and_what_is_none(value, text):
    assert number(value) == text


def test_number_with_factor():
    assert number(0.8214, 1, 100) == '82.1'


def test_chips_and_groups_of_pictures():
    page = ParsedPage(side_by_side([[chip('#123456')]]) + side_by_side([[], []]))
    assert page.find('span', class_='chip') == [{'class': 'chip', 'style': 'background: #123456'}]
    assert page.count('div', class_='views one') == page.count('div', class_='views') == 1
