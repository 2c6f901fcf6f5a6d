"""Protocols in words, and units that follow from them."""

from autofuse_jax.evaluation.protocol import PROTOCOLS, Folding, Protocol
from autofuse_jax.reports.evaluation_quantities import QUANTITIES
from autofuse_jax.reports.protocol_words import heading, protocol_words

DEFAULT, LEARN2REG = (PROTOCOLS[name].as_record() for name in ('default', 'learn2reg'))


def test_distances_without_millimetres_are_in_voxels():
    by_title = {quantity.title: quantity for quantity in QUANTITIES}
    for title in ('HD95', 'ASSD'):
        assert heading(by_title[title], LEARN2REG) == f'{title} voxels'
        assert heading(by_title[title], DEFAULT) == heading(by_title[title], None) == f'{title} mm'
    assert heading(by_title['TRE'], LEARN2REG) == 'TRE mm'


def test_words_of_protocols():
    default, other = (' '.join(protocol_words(protocol)) for protocol in (DEFAULT, LEARN2REG))
    assert 'half a voxel beyond' in default and 'in millimetres' in default and 'max(det J, 1e-9)' in default
    assert 'at its outermost centres' in other and 'voxels of size 1' in other and 'clip(det J + 3' in other
    assert 'lacks is not scored' in other and 'cubic sampling' in other
    assert 'ASSD: mean of the distances' in default and 'NDV' not in default
    assert protocol_words(None) == ['The protocol of these scores was not recorded.']


def test_only_what_is_measured_is_explained():
    text = ' '.join(protocol_words(Protocol('mine', quantities=('dsc', 'njd'), folding=Folding(ndv=True)).as_record()))
    assert 'Structures' in text and 'NJD' in text and 'NDV' in text
    assert 'HD95' not in text and 'TRE' not in text
    # Records of an earlier version do not say what they measure.
    earlier = {key: value for key, value in DEFAULT.items() if key != 'quantities'}
    assert protocol_words(earlier) == protocol_words(DEFAULT)


def test_the_official_determinant_is_named():
    text = ' '.join(protocol_words(Protocol('mine', folding=Folding(determinant='official')).as_record()))
    assert 'as the official code computes it' in text and 'at most 0' not in text
