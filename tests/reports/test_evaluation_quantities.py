"""How numbers stand in tables."""

import math

from autofuse_jax.reports.evaluation_quantities import QUANTITIES

BY_TITLE = {quantity.title: quantity for quantity in QUANTITIES}


def test_factor_decimals_and_sign():
    assert BY_TITLE['DSC'].write(0.8764) == '87.6'
    assert BY_TITLE['DSC'].write(0.0123, signed=True) == '+1.2'
    assert BY_TITLE['HD95'].write(-3.14159, signed=True) == '-3.14'
    assert BY_TITLE['NJD'].write(math.nan) == BY_TITLE['NJD'].write(None) == '–'


def test_headings():
    assert [quantity.heading for quantity in QUANTITIES] == [
        *('DSC %', 'HD95 mm', 'ASSD mm', 'TRE mm', 'NJD %', 'NDV %', 'SDlogJ'),
        'segmentation DSC %',
    ]
