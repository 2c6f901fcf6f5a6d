"""The reader of JSON: a value of a form, or one sentence that says what is wrong and where."""

import json

import pytest

from autofuse_jax.errors import Range, UserError
from autofuse_jax.records.forms import Anything, Entries, Fields, Flag, Number, OneOf, OrNull, Table, Text
from autofuse_jax.records.paths import INSIDE
from autofuse_jax.records.reading import parse_json, read_json

FORM = Fields(
    {'name': Text(), 'sizes': Entries(Number(Range(least=1, whole=True)), 3, 3)},
    {'kind': Text(('a', 'b')), 'names': Table(Text(), r'\d+'), 'on': Flag(), 'file': INSIDE, 'score': OrNull(Number())},
    others=None,
)
GOOD = {'name': 'x', 'sizes': [1, 2, 3]}


@pytest.mark.parametrize(
    'content',
    [GOOD, GOOD | {'kind': 'a', 'names': {'3': 'left'}, 'on': True, 'file': 'a/b.npz', 'score': None}],
)
def test_what_fits_is_returned_as_it_is(tmp_path, content):
    (tmp_path / 'a.json').write_text(json.dumps(content))
    assert read_json(tmp_path / 'a.json', FORM) == content


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'a.json cannot be read: it is no JSON .it is empty'),
        (b'{', 'it is no JSON .Expecting'),
        (b'\xff\xfe{', "it is no JSON .*can't decode"),
        (b'[' * 100_000 + b']' * 100_000, 'more than 64 values inside each other'),
        (b'[' * 65 + b']' * 65, 'more than 64 values inside each other'),
        (b'{"a": 1e999}', 'the number 1e999, which is too large'),
        (b'{"a": NaN}', 'NaN, which is no number'),
        (b'{"a": -Infinity}', '-Infinity, which is no number'),
        (b'{"a": ' + b'9' * 5000 + b'}', 'a number of 5000 digits'),
        (b'{"a": ' + b'9' * 400 + b'}', 'a number of 400 digits'),
        (b'[]', 'damaged: the whole is .*Expected: an object with name, sizes'),
        (b'{"name": "x"}', 'sizes is missing'),
        (b'{"name": 3, "sizes": [1, 2, 3]}', 'name is 3. Expected: a text'),
        (b'{"name": "x", "sizes": [1, 2]}', 'sizes is .1, 2.. Expected: a list of 3 entries'),
        (b'{"name": "x", "sizes": [1, 2, true]}', r'sizes\[2\] is True. Expected: a whole number of 1 or more'),
        (b'{"name": "x", "sizes": [1, 2, 0.5]}', r'sizes\[2\] is 0.5'),
    ],
)
def test_what_does_not_fit_is_told_in_one_sentence(tmp_path, content, words):
    (tmp_path / 'a.json').write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read_json(tmp_path / 'a.json', None if b'"a"' in content else FORM, fix='repair')
    assert str(caught.value).endswith('To fix: repair.') and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ('more', 'words'),
    [
        ({'kind': 'c'}, "kind is 'c'. Expected: 'a' or 'b'"),
        ({'kind': ['a']}, 'kind is'),
        ({'names': {'x': 'left'}}, "a name in names is 'x'"),
        ({'names': {'3': None}}, 'names.3 is None'),
        ({'on': 1}, 'on is 1. Expected: true or false'),
        ({'score': 'high'}, "score is 'high'. Expected: a number"),
        ({'other': 1}, "a field is 'other'. Expected: one of name"),
        *[
            ({'file': path}, 'file is .*inside the folder')
            for path in ('../a', '/a', 'a/../../b', 'C:\\a', '\\\\a\\b', '')
        ],
    ],
)
def test_fields_are_named(more, words):
    with pytest.raises(UserError, match=words):
        parse_json(json.dumps(GOOD | more), 'a.json', FORM)


def test_one_of_several_forms():
    form = OneOf((Entries(Text()), Table(Anything())))
    for content in (['a'], {'a': [1]}):
        assert parse_json(json.dumps(content), 'a', form) == content
    with pytest.raises(UserError, match='Expected: a list of entries, or an object'):
        parse_json('3', 'a', form)


def test_files_that_are_missing_or_folders(tmp_path):
    with pytest.raises(UserError, match='the table .*absent.json cannot be read .No such file'):
        read_json(tmp_path / 'absent.json', kind='the table')
    with pytest.raises(UserError, match='cannot be read .Is a directory'):
        read_json(tmp_path)


def test_a_byte_order_mark_is_no_damage(tmp_path):
    (tmp_path / 'a.json').write_text('{"a": 1}', encoding='utf-8-sig')
    assert read_json(tmp_path / 'a.json') == {'a': 1}
