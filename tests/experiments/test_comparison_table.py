"""The tables of a comparison of methods: what is beside every DSC, and what is marked."""

import math
import re

from experiments.comparison.rows import seconds_a_pair, with_tests
from experiments.comparison.table import LEGENDS, NOT_CONVERGED, PUBLISHED_RATE, comparison_page, table_of
from tests.experiments.comparison_records import PAIRS, comparison_record, curve_of, row_record

GATES = {'gate_10': {'mean': 0.25, 'deviation': 0.0}, 'gate_2': {'mean': 0.5, 'deviation': 0.0}}


def cells(table, title):
    """Return the cells of a row by column."""
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if '|' in line]
    return dict(zip(lines[0], next(line for line in lines if line[0] == title), strict=True))


def with_gates(row):
    return row | {'scores': row['scores'] | {'gate_means': GATES}}


def test_folding_smoothness_tests_and_gain_stand_beside_every_overlap():
    rows = {'voxelmorph': row_record('voxelmorph', 0.7), 'autofuse': with_gates(row_record('autofuse'))}
    table = table_of(comparison_record(*with_tests(rows, PAIRS).items()))
    row = cells(table, 'VoxelMorph')
    assert (row['DSC %'], row['NJD %'], row['SDlogJ']) == ('70.0 ± 5.0', '0.010 ± 0.050', '0.200 ± 0.050')
    # Six pairs that all differ in the same direction: P = 2 / 2^6; the same NJD in all of them.
    assert (row['P (DSC)'], row['P (SDlogJ)'], row['P (NJD)']) == ('0.0312', '0.0312', '1.0000')
    assert row['last quarter gained, DSC points'] == '0.20' and row['learning rate'] == '0.0003'
    reference = cells(table, 'AutoFuse')
    # By level, the tenth behind the second.
    assert reference['gates by level'] == '0.500 0.250' and row['gates by level'] == '–'
    assert reference['P (DSC)'] == '–'
    assert cells(table, 'before')['DSC %'] == '60.0 ± 5.0'
    assert not any(mark in table for mark in LEGENDS)


def test_columns_that_nothing_is_known_of_are_left_out():
    row = row_record('voxelmorph', validation=[])
    del row['sdlogj'], row['scores']['sdlogj']
    table = table_of(comparison_record(('voxelmorph', row)))
    absent = ('SDlogJ', 'P (SDlogJ)', 'last quarter', 'gates', 'accelerator')
    assert not any(column in table for column in absent) and 'CPU s a pair' in table


def test_what_has_not_converged_and_what_diverged_is_marked():
    steep = row_record('voxelmorph', validation=curve_of(0.6, 0.65, 0.7, 0.706))
    again = row_record('sen', diverged_before={'learning_rate': 3e-3, 'error': 'at step 2'}, validation=[])
    both = row_record('dtn', diverged_before={'learning_rate': 1e-3, 'error': 'at step 2'}) | {
        'validation': steep['validation']
    }
    record = comparison_record(('voxelmorph', steep), ('sen', again), ('dtn', both))
    table = table_of(record)
    assert '| VoxelMorph † |' in table and '| SEN ‡ |' in table and '| DTN (re-implementation) † ‡ |' in table
    assert cells(table, 'VoxelMorph †')['last quarter gained, DSC points'] == '0.60'
    assert table.splitlines()[-1] == (
        f'{NOT_CONVERGED} {LEGENDS[NOT_CONVERGED]}; {PUBLISHED_RATE} {LEGENDS[PUBLISHED_RATE]}.'
    )


def test_seconds_a_pair_are_the_median_without_the_first():
    pairs = [{'seconds': seconds, 'first_call': seconds == 60.0} for seconds in (60.0, 1.0, 9.0, 2.0, 3.0)]
    assert seconds_a_pair(pairs) == 2.5 and seconds_a_pair(pairs[:-1]) == 2.0
    assert math.isnan(seconds_a_pair(pairs[:1]))


def test_rows_without_a_record_say_so():
    record = comparison_record(
        ('autofuse', row_record('autofuse')),
        not_done=['voxelmorph', 'transmorph'],
        diverged={'transmorph': {'learning_rate': 1e-4, 'error': 'at step 7'}},
    )
    table = table_of(record)
    assert cells(table, 'VoxelMorph (no record)')['DSC %'] == '–'
    assert [line.split('|')[1].strip() for line in table.splitlines()[2:]] == [
        'before',
        'VoxelMorph (no record)',
        'TransMorph (diverged)',
        'AutoFuse',
    ]


def test_the_page_has_the_curves_and_every_table_of_the_paper():
    record = comparison_record(('autofuse', row_record('autofuse')), ('gl_net', row_record('gl_net')))
    page = comparison_page(record, 'record.png')
    assert re.findall('## (.*)', page) == [
        'Rows of Tables 1 and 2',
        'Rows of Table 3',
        'Rows of Tables 5 and 6',
        'Rows of Table 7',
    ]
    assert '(record.png)' in page and 'steps 400, grid [64, 64, 16], schedule cosine' in page
    assert 'LKU-Net (8) (no record)' in page and page.count('| AutoFuse |') == 2
    # A table of which there is nothing yet says so of each row.
    assert '| loss fusion only (no record) |' in page


def test_tests_need_the_numbers_of_all_rows():
    old = row_record('voxelmorph', 0.7)
    del old['sdlogj']
    rows = with_tests({'voxelmorph': old, 'autofuse': row_record('autofuse')}, PAIRS)
    assert rows['voxelmorph']['p_dsc_after'] == 2 / 64 and 'p_sdlogj' not in rows['voxelmorph']
    # Of the other way of training there is nothing to compare with.
    assert 'p_dsc_after' not in with_tests({'gl_net': row_record('gl_net')}, PAIRS)['gl_net']
