"""Files of one evaluated run."""

import csv
import json
import math

from autofuse_jax.evaluation.protocol import PROTOCOLS
from autofuse_jax.reports.evaluation_quantities import QUANTITIES
from autofuse_jax.reports.evaluation_tables import heading, protocol_words, write_run

CLASSES = {1: 'left_ventricle', 2: 'rest | other'}
DEFAULT, LEARN2REG = (PROTOCOLS[name].as_record() for name in ('default', 'learn2reg'))


def record(pair, after, second, **extra):
    return {
        'pair': pair,
        'subject': pair[0],
        'dsc_before': 0.5,
        'dsc_after': after,
        'hd95_mm_before': 4.0,
        'hd95_mm_after': 2.0,
        'dsc_before_per_label': {1: 0.5, 2: 0.5},
        'dsc_after_per_label': {1: after, 2: second},
        'hd95_mm_before_per_label': {1: 4.0, 2: 4.0},
        'hd95_mm_after_per_label': {1: 2.0, 2: math.nan if second == 0 else 1.0},
        'njd_percent': 0.0,
        'sdlogj': 0.25,
        **extra,
    }


RECORDS = [record('a1', 0.75, 0.0), record('b1', 0.25, 0.5, seconds=3.0)]


def written(folder, protocol=DEFAULT):
    facts = {'source': 'runs/a_b', 'kind': 'made up'}
    write_run(folder, RECORDS, CLASSES, title='Evaluation of a_b', facts=facts, protocol=protocol, notes=['A note.'])
    return folder


def rows_of(path):
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_csv_of_pairs_and_structures(tmp_path):
    written(tmp_path)
    first, second = rows_of(tmp_path / 'pairs.csv')
    assert float(first['dsc_after']) == 0.75 and first['seconds'] == '' and second['seconds'] == '3.0'
    structures = rows_of(tmp_path / 'structures.csv')
    assert [(row['pair'], row['label'], row['structure']) for row in structures][:2] == [
        ('a1', '1', 'left_ventricle'),
        ('a1', '2', 'rest | other'),
    ]
    assert structures[1]['dsc_after'] == '0.0' and structures[1]['hd95_mm_after'] == ''


def test_json_holds_the_protocol_and_strict_numbers(tmp_path):
    def refuse(constant):
        raise AssertionError(f'{constant} is not JSON')

    content = json.loads((written(tmp_path) / 'pairs.json').read_text(encoding='utf-8'), parse_constant=refuse)
    assert content['protocol'] == DEFAULT and content['classes'] == {'1': 'left_ventricle', '2': 'rest | other'}
    assert content['pairs'][0]['hd95_mm_after_per_label'] == {'1': 2.0, '2': None}
    assert content['summary']['dsc_after'] == {
        'mean': 0.5,
        'deviation': 0.25 * math.sqrt(2),
        'median': 0.5,
        'p30': 0.4,
        'count': 2,
    }
    assert content['summary']['structures']['left_ventricle']['dsc_before'] == 0.5


def test_page_by_hand(tmp_path):
    page = (written(tmp_path) / 'summary.md').read_text(encoding='utf-8')
    assert '| after | 50.0 ± 35.4 | 2.00 ± 0.00 | 0.000 ± 0.000 | 0.250 ± 0.000 |' in page
    assert '| rest \\| other | 50.0 ± 0.0 | 25.0 ± 35.4 | 4.00 ± 0.00 | 1.00 |' in page
    assert '| a1 | 50.0 | 75.0 | 4.00 | 2.00 | 0.000 | 0.250 |' in page
    assert 'mean DSC after registration is 25.0 to 75.0 % (2 fixed subjects resampled)' in page
    assert '1 structure is in only one of the two label maps' in page
    assert '- A note.' in page and 'Protocol default' in page


def test_latex_has_both_tables(tmp_path):
    text = (written(tmp_path) / 'summary.tex').read_text(encoding='utf-8')
    assert text.count(r'\begin{tabular}') == text.count(r'\end{tabular}') == 2
    assert r'left\_ventricle & 50.0 $\pm$ 0.0 & 50.0 $\pm$ 35.4 & 4.00 $\pm$ 0.00 & 2.00 $\pm$ 0.00 \\' in text


def test_distances_without_millimetres_are_in_voxels(tmp_path):
    by_title = {quantity.title: quantity for quantity in QUANTITIES}
    assert heading(by_title['HD95'], LEARN2REG) == 'HD95 voxels'
    assert heading(by_title['TRE'], LEARN2REG) == 'TRE mm'
    assert heading(by_title['HD95'], DEFAULT) == heading(by_title['HD95'], None) == 'HD95 mm'
    assert 'HD95 voxels after' in (written(tmp_path, LEARN2REG) / 'summary.md').read_text(encoding='utf-8')


def test_words_of_protocols():
    default, other = (' '.join(protocol_words(protocol)) for protocol in (DEFAULT, LEARN2REG))
    assert 'half a voxel beyond' in default and 'in millimetres' in default and 'max(det J, 1e-9)' in default
    assert 'at its outermost centres' in other and 'voxels of size 1' in other and 'clip(det J + 3' in other
    assert 'lacks is not scored' in other and 'cubic sampling' in other
    assert protocol_words(None) == ['The protocol of these scores was not recorded.']
