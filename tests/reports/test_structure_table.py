"""The table of the structures."""

import numpy as np

from autofuse_jax.metrics.structures import label_ids, structure_names
from autofuse_jax.reports.structure_table import structures_section
from tests.reports.parsed_page import ParsedPage


def maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    fixed, before, after = (np.zeros((2, 4, 5), np.uint16) for _ in range(3))
    fixed[0], before[0, :2], after[0] = 1, 1, 1
    after[0, 3] = 0
    fixed[1, 0], before[1, 0] = 7, 7
    return fixed, before, after


def rows(scores, labels, names=None) -> list[list[str]]:
    names = names or structure_names(label_ids(*labels), {1: 'one <1>'})
    return ParsedPage(structures_section(names, scores, labels, voxel_mm3=500.0)).rows()


def test_volumes_and_overlaps_are_counted_worst_first():
    # Structure 1: 20 voxels of half a millilitre fixed, 10 before, 15 after; 2 * 10 / 30 and 2 * 15 / 35.
    assert rows({}, maps())[1:] == [
        ['label 7', '2.50', '2.50', '0.00', '−100.0', '100.0', '0.0', '–', '–'],
        ['one <1>', '10.00', '5.00', '7.50', '−25.0', '66.7', '85.7', '–', '–'],
    ]


def test_reported_scores_count_and_none_is_a_dash_at_the_end():
    scores = {
        'dsc_before_per_label': {'1': 0.25, '7': 0.5},
        'dsc_after_per_label': {'1': None, '7': 0.4},
        'hd95_mm_after_per_label': {'1': float('nan'), '7': 3.0},
    }
    found = rows(scores, (None, None, None), {1: 'a', 7: 'b'})
    assert found[1:] == [
        ['b', '–', '–', '–', '–', '50.0', '40.0', '–', '3.0'],
        ['a', '–', '–', '–', '–', '25.0', '–', '–', '–'],
    ]


def test_worse_is_marked_and_colours_are_for_few_structures():
    scores = {'dsc_before_per_label': {'1': 0.5}, 'dsc_after_per_label': {'1': 0.4}}
    few = ParsedPage(structures_section({1: 'a'}, scores, (None, None, None), 1.0))
    assert few.find('td', class_='number share worse')[0]['style'] == '--share: 40.0%'
    assert few.count('span', class_='chip') == 1
    many = ParsedPage(structures_section({i: f'{i}' for i in range(1, 151)}, {}, (None, None, None), 1.0))
    assert many.count('span', class_='chip') == 0 and len(many.rows()) == 151
    assert structures_section({}, {}, (None, None, None), 1.0) is None
