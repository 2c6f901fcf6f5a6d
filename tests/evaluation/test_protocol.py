"""Protocol files are read strictly, and presets survive being written and read."""

import json

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.protocol import (
    PROTOCOLS,
    Folding,
    Protocol,
    Surface,
    Tre,
    same_definitions,
)
from autofuse_jax.evaluation.protocol_files import protocol_from_record, read_protocol


def written(tmp_path, record):
    path = tmp_path / 'protocol.json'
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    return str(path)


@pytest.mark.parametrize('name', PROTOCOLS)
def test_presets_survive_a_round_trip(name, tmp_path):
    assert read_protocol(name) is PROTOCOLS[name]
    assert read_protocol(written(tmp_path, PROTOCOLS[name].as_record())) == PROTOCOLS[name]


def test_labels_survive_a_round_trip_without_background(tmp_path):
    protocol = protocol_from_record({'name': 'mine', 'labels': {'0': 'background', '3': 'left', '1': 'right'}}, 'it')
    assert protocol.labels == {3: 'left', 1: 'right'} and list(protocol.labels) == [3, 1]
    assert read_protocol(written(tmp_path, protocol.as_record())) == protocol


def test_fields_that_are_left_out_are_those_of_the_default():
    protocol = protocol_from_record({'name': 'mine', 'folding': {'threshold': 0.1}}, 'it')
    assert protocol == Protocol('mine', folding=Folding(threshold=0.1))


@pytest.mark.parametrize(
    ('record', 'words'),
    [
        ('{', ['is no JSON']),
        ([], ['it is no JSON object']),
        ({'name': 'a', 'lables': {}, 'x': 1}, ['unknown fields: lables, x', 'label_interpolation']),
        ({'name': 'a', 'folding': {'scheme': 'forward'}}, ['unknown fields: folding.scheme', 'folding.differences']),
        ({'name': 'a', 'folding': 'forward'}, ['the section folding is no JSON object']),
        ({'name': 'a', 'label_interpolation': 'cubic'}, ["label_interpolation is 'cubic'", 'nearest, linear']),
        ({'name': 'a', 'surface': {'spacing': 1}}, ['surface.spacing is 1', 'file, unit']),
        ({'name': 'a', 'surface': {'percentile': 0}}, ['surface.percentile is 0', 'above 0']),
        ({'name': 'a', 'folding': {'threshold': 'zero'}}, ["folding.threshold is 'zero'", 'a number']),
        ({'name': 'a', 'folding': {'ndv': 'yes'}}, ["folding.ndv is 'yes'", 'True or False']),
        ({'name': 'a', 'folding': {'threshold': True}}, ['folding.threshold is True']),
        ({'name': 'a', 'labels': [1, 2]}, ['labels is [1, 2]', 'left ventricle']),
        ({'name': 'a', 'labels': {'one': 'x'}}, ['labels.one']),
        ({'name': 'a', 'labels': {'1': 2}}, ['labels.1 is 2']),
        ({'name': 'a', 'quantities': ['dsc', 'dice']}, ["quantities is ['dsc', 'dice']", 'dsc, hd95, assd']),
        ({'name': 'a', 'quantities': 'dsc'}, ["quantities is 'dsc'"]),
        ({'name': 'a', 'quantities': []}, ['quantities is []']),
        ({'name': 'a', 'folding': {'determinant': 'right'}}, ["folding.determinant is 'right'", 'correct, official']),
        ({}, ['name is', 'names a folder']),
        ({'name': '../up'}, ["name is '../up'"]),
        ({'name': 3}, ['in the protocol', 'name is 3', 'text']),
        ({'name': 'a', 'folding': {'threshold': float('nan')}}, ['it is no JSON', 'NaN']),
    ],
)
def test_what_is_wrong_is_named(tmp_path, record, words):
    with pytest.raises(UserError) as error:
        read_protocol(written(tmp_path, record))
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda: Folding(voxels='some'), "folding.voxels is 'some'. Expected: one of all, interior, labelled"),
        (lambda: Surface(percentile=101), 'surface.percentile is 101. Expected: a number above 0, at most 100'),
        (lambda: Tre(spacing='mm'), "tre.spacing is 'mm'"),
        (lambda: Protocol('mine', missing_structures='one'), "missing_structures is 'one'"),
        (lambda: Protocol('mine', quantities=('dice',)), "a quantity of the protocol is 'dice'"),
        (lambda: Folding(determinant='right'), "folding.determinant is 'right'"),
        (lambda: Folding(determinant='official', voxels='interior'), 'goes with forward differences'),
        (lambda: Protocol('mine', labels={0: 'background'}), 'a label of the protocol is 0'),
    ],
)
def test_options_check_themselves(make, words):
    with pytest.raises(UserError, match=words):
        make()


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(UserError, match='there is no protocol l2r. Expected: one of default, learn2reg, linear'):
        read_protocol('l2r')
    with pytest.raises(UserError, match='only a folder of that name'):
        read_protocol(str(tmp_path))


def test_same_definitions_whatever_is_measured_and_however_it_is_called():
    default, other = PROTOCOLS['default'].as_record(), Protocol('mine', 'My own.', quantities=('dsc',)).as_record()
    assert same_definitions(default, other) and same_definitions(other, default)
    # A record of an earlier version, which had fewer fields.
    earlier = {key: value for key, value in default.items() if key != 'quantities'}
    earlier |= {'folding': {key: value for key, value in default['folding'].items() if key != 'determinant'}}
    assert same_definitions(json.loads(json.dumps(earlier)), default)
    for changed in (
        Protocol('default', folding=Folding(threshold=0.1)),
        Protocol('default', surface=Surface('surfels')),
    ):
        assert not same_definitions(default, changed.as_record())
    assert not same_definitions(default, None) and not same_definitions(None, None)
