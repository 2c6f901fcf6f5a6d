"""Words beside the pictures of a page."""

import numpy as np
import pytest

from autofuse_jax.reports.picture_sections import deformation_section, folding_sentence
from tests.reports.example_pair import example_pair, view_of
from tests.reports.parsed_page import ParsedPage


@pytest.mark.parametrize(
    ('values', 'sentence'),
    [
        ([1.0, 0.25, 2.0, 1.0], 'No voxel folds; smallest determinant 0.250 at voxel (0, 1, 0).'),
        (
            [0.0, 1.0, 1.0, np.nan],
            '1 voxel folds (25.0000 % of the grid); smallest determinant 0.000 at voxel (0, 0, 0).',
        ),
        ([1.0, -1, -2, 1.0], '2 voxels fold (50.0000 % of the grid); smallest determinant −2.000 at voxel (0, 2, 0).'),
        ([np.nan] * 4, 'No determinant is known.'),
    ],
)
def test_folds_in_words(values, sentence):
    assert folding_sentence(np.array(values).reshape(1, 4, 1)) == sentence


def test_section_tells_the_affine_part_from_the_rest():
    pair = example_pair()
    text = ParsedPage(deformation_section(view_of(pair), 'folded?')).text
    # 2 and 1 voxels of 2 mm and a part of the local bump.
    assert '(shift 4.5 mm at the middle of the grid, rotation 0.0°, volume × 1.000)' in text
    pair['displacement'] = np.zeros_like(pair['displacement'])
    still = ParsedPage(deformation_section(view_of(pair), 'folded?')).text
    assert 'what is left is 0.00 mm on average and 0.0 mm at most' in still and 'folded?' in still
    # The scale does not blow up rounding.
    assert '0.00 0.05 0.10' in still
