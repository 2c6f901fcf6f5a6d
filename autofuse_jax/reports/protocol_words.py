"""A protocol in words, and the units that follow from it."""

from collections.abc import Mapping
from typing import Any

from autofuse_jax.reports.evaluation_quantities import Quantity

MILLIMETRES, VOXELS = ' mm', ' voxels'
# The section of a protocol that says in what unit a quantity is measured.
SECTIONS = {'HD95': 'surface', 'ASSD': 'surface', 'TRE': 'tre'}


def heading(quantity: Quantity, protocol: Mapping[str, Any] | None) -> str:
    """Return the title with the unit; where the protocol sets all voxel sizes to 1, distances are in voxels."""
    section = SECTIONS.get(quantity.title)
    in_voxels = bool(protocol) and section is not None and protocol[section]['spacing'] == 'unit'
    return quantity.heading.replace(MILLIMETRES, VOXELS) if in_voxels else quantity.heading


def protocol_words(protocol: Mapping[str, Any] | None) -> list[str]:
    """Say in sentences what a protocol means, as far as it measures something."""
    if protocol is None:
        return ['The protocol of these scores was not recorded.']
    # A protocol of an earlier version does not say what it measures: everything.
    quantities = set(protocol.get('quantities') or (name for names in WORDS for name in names))
    sentences = [f'Protocol {protocol["name"]}. {protocol["description"]}']
    for names, words in WORDS.items():
        if quantities & set(names):
            sentences += words(protocol)
    return [*sentences, '`±` is the standard deviation over pairs (divisor n - 1).']


def _structures(protocol: Mapping[str, Any]) -> list[str]:
    rule = {
        'zero': 'a structure in only one of the two maps scores DSC 0 and has no surface distance',
        'skip': 'a structure that the fixed or the unwarped moving map lacks is not scored',
        'nan': 'a pair in which a structure is in only one of the two maps has no mean',
    }[protocol['missing_structures']]
    structures = 'those listed' if protocol['labels'] else 'those of the data set, else all in a label map of the pair'
    edge = (
        'half a voxel beyond its outermost centres'
        if protocol['outside'] == 'voxel_edges'
        else 'at its outermost centres'
    )
    return [
        f'Structures: {structures}, background left out; {rule}; one that is in neither is skipped. A mean is over '
        'structures, then over pairs.',
        f'Moving labels are warped with {protocol["label_interpolation"]} sampling; the moving map ends {edge}.',
    ]


def _surface(protocol: Mapping[str, Any]) -> list[str]:
    surface = protocol['surface']
    weight = 'surface voxels' if surface['elements'] == 'voxels' else 'surface elements weighted by area'
    sides = 'the larger of both directions' if surface['combine'] == 'max' else 'both directions together'
    unit = 'in millimetres' if surface['spacing'] == 'file' else 'with voxels of size 1'
    return [
        f'HD95: {surface["percentile"]:g}th percentile of the distances between {weight}, {sides}, {unit}. ASSD: mean '
        'of the distances of both directions together.'
    ]


def _folding(protocol: Mapping[str, Any]) -> list[str]:
    folding = protocol['folding']
    voxels = {'all': 'all voxels', 'interior': 'the voxels two away from the border', 'labelled': 'labelled voxels'}
    where = f'{folding["differences"]} differences, {voxels[folding["voxels"]]}'
    logarithm = 'max(det J, 1e-9)' if folding['sdlogj'] == 'plain' else 'clip(det J + 3, 1e-9, 1e9)'
    folded = f'Jacobian determinant is at most {folding["threshold"]:g}'
    if folding.get('determinant') == 'official':
        folded = 'determinant as the official code computes it, which does not see all folds, is below 0'
    sentences = [
        f'NJD: percentage of voxels whose {folded}; {where}. SDlogJ: standard deviation of log({logarithm}) on the '
        'same voxels.'
    ]
    if folding.get('ndv'):
        sentences.append('NDV: non-diffeomorphic volume, in percent of the interior voxels.')
    return sentences


def _tre(protocol: Mapping[str, Any]) -> list[str]:
    tre = protocol['tre']
    unit = 'in voxels' if tre['spacing'] == 'unit' else f'in millimetres of the {tre["spacing"]} image'
    return [f'TRE: {tre["interpolation"]} sampling of the displacement at the fixed landmarks, {unit}.']


# What describes the quantities.
WORDS = {
    ('dsc', 'hd95', 'assd'): _structures,
    ('hd95', 'assd'): _surface,
    ('njd', 'sdlogj', 'jacobian_range'): _folding,
    ('tre',): _tre,
}
