"""The evaluation protocol: everything that decides what a score is, as data that goes into every result.

Two Dice values can be compared only if labels, interpolation, the treatment of the border and of missing structures
are the same; the same holds for the other metrics.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from autofuse_jax.choices import DEFAULT_PROTOCOL, LABEL_INTERPOLATIONS, LEARN2REG_PROTOCOL, LINEAR_PROTOCOL
from autofuse_jax.errors import COUNT, Range, UserError, check_option, check_types
from autofuse_jax.files import json_types
from autofuse_jax.metrics.determinants import DETERMINANTS
from autofuse_jax.metrics.landmarks import SPLINE_ORDERS
from autofuse_jax.metrics.surface import COMBINATIONS, ELEMENTS

# What can be measured, and of these what is measured unless a protocol says otherwise.
DSC, HD95, ASSD, NJD, SDLOGJ, JACOBIAN_RANGE, TRE = 'dsc', 'hd95', 'assd', 'njd', 'sdlogj', 'jacobian_range', 'tre'
KNOWN_QUANTITIES = (DSC, HD95, ASSD, NJD, SDLOGJ, JACOBIAN_RANGE, TRE)
USUAL_QUANTITIES = (DSC, HD95, ASSD, NJD, SDLOGJ, TRE)
# Fields of a protocol that do not change what a number means.
FREE_FIELDS = ('name', 'description', 'quantities')
# Section (with a dot; '' for the protocol itself): what its fields may be, besides their type.
DOMAINS: dict[str, dict[str, Range | tuple[str, ...]]] = {
    '': {
        'label_interpolation': LABEL_INTERPOLATIONS,
        'outside': ('voxel_edges', 'voxel_centres'),
        'missing_structures': ('zero', 'skip', 'nan'),
    },
    'folding.': {
        'differences': ('forward', 'central'),
        'voxels': ('all', 'interior', 'labelled'),
        'sdlogj': ('plain', 'shifted'),
        'determinant': tuple(DETERMINANTS),
    },
    'surface.': {
        'elements': ELEMENTS,
        'combine': COMBINATIONS,
        'percentile': Range(above=0, most=100),
        'spacing': ('file', 'unit'),
    },
    'tre.': {'interpolation': tuple(SPLINE_ORDERS), 'spacing': ('fixed', 'moving', 'unit')},
}


def _check_section(section: str, options: Any) -> None:
    for name, domain in DOMAINS[section].items():
        check_option(section + name, getattr(options, name), domain)
    check_types(options, section)


@dataclasses.dataclass(frozen=True)
class Folding:
    """How folding is counted.

    Attributes:
        differences: 'forward' or 'central' differences for the Jacobian determinant.
        voxels: 'all' where these differences exist, 'interior' (two voxels less at each side of the volume), or
            'labelled': those of 'all' that lie in a scored structure of the fixed image.
        threshold: A voxel is folded where the determinant is at most this.
        sdlogj: 'plain': std(log(max(det J, 1e-9))); 'shifted': std(log(clip(det J + 3, 1e-9, 1e9))), as Learn2Reg.
        ndv: Whether the non-diffeomorphic volume is measured too (`metrics.diffeomorphism`, as LUMIR; slow).
        determinant: 'correct', or 'official' to replay the NJD of the official AutoFuse code: the share of voxels where
            what it computes is below 0 (`metrics.folding.official_njd_percent`), on all voxels with forward
            differences. SDlogJ is that of the correct determinant.

    Raises:
        UserError: An option is unknown or of a wrong type, or the official determinant is asked for with other
            differences, voxels or another threshold.
    """

    differences: str = 'forward'
    voxels: str = 'all'
    threshold: float = 0.0
    sdlogj: str = 'plain'
    ndv: bool = False
    determinant: str = 'correct'

    def __post_init__(self):
        _check_section('folding.', self)
        if self.determinant == 'official' and (self.differences, self.voxels, self.threshold) != ('forward', 'all', 0):
            raise UserError(
                'the official determinant goes with forward differences, all voxels and threshold 0 only',
                fix="set folding.determinant to 'correct', or leave out the other fields of folding",
            )


@dataclasses.dataclass(frozen=True)
class Surface:
    """How surface distances are measured.

    Attributes:
        elements: 'voxels' or 'surfels', see `metrics.surface`.
        combine: 'max' of the two directed percentiles, or percentile of their 'union'.
        percentile: Percentile of the distances: 95 for HD95.
        spacing: Voxel sizes: 'file': those of the fixed image, in millimetres; 'unit': all 1, so the numbers are in
            voxels.
    """

    elements: str = 'voxels'
    combine: str = 'max'
    percentile: float = 95.0
    spacing: str = 'file'

    def __post_init__(self):
        _check_section('surface.', self)


@dataclasses.dataclass(frozen=True)
class Tre:
    """How landmark errors are measured.

    Attributes:
        interpolation: Interpolation of the displacement at a landmark: 'linear' or 'cubic'.
        spacing: Unit of length: 'fixed': millimetres along the fixed image's axes (its affine); 'moving': the voxel
            size of the moving image; 'unit': voxels.
    """

    interpolation: str = 'linear'
    spacing: str = 'fixed'

    def __post_init__(self):
        _check_section('tre.', self)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What a score is.

    Attributes:
        name: Name in reports.
        description: One sentence.
        labels: Label id to name of the structures to score; None: those that a prepared data set scores, else all that
            the fixed or moving map of a pair holds. Background (0) is never scored.
        label_interpolation: 'nearest', or 'linear': each label's 0/1 map on its own, the largest value wins.
        outside: Edge of the moving map, beyond which there is background: at the 'voxel_edges', half a voxel beyond
            the outermost centres, or at the outermost 'voxel_centres' (Learn2Reg).
        missing_structures: Score of a structure that only one of the fixed and the warped map holds: 'zero': DSC 0, no
            surface distance; 'skip': none where the fixed or the unwarped moving map lacks it, else as 'zero'; 'nan':
            none, and none for the mean of that pair. A structure that is in neither is never scored.
        folding: Definition of folding.
        surface: Definition of surface distances.
        tre: Definition of landmark errors.
        quantities: Quantities to measure where a pair allows it, of 'dsc' (with that of a predicted segmentation),
            'hd95', 'assd', 'njd', 'sdlogj', 'jacobian_range' (smallest and largest determinant) and 'tre'.

    Raises:
        UserError: An option is unknown or of a wrong type; the sections check theirs likewise.
    """

    name: str
    description: str = ''
    labels: Mapping[int, str] | None = None
    label_interpolation: str = 'nearest'
    outside: str = 'voxel_edges'
    missing_structures: str = 'zero'
    folding: Folding = Folding()
    surface: Surface = Surface()
    tre: Tre = Tre()
    quantities: tuple[str, ...] = USUAL_QUANTITIES

    def __post_init__(self):
        _check_section('', self)
        for label in self.labels or {}:
            check_option('a label of the protocol', label, COUNT)
        for quantity in self.quantities:
            check_option('a quantity of the protocol', quantity, KNOWN_QUANTITIES)

    def as_record(self) -> dict[str, Any]:
        """Return the protocol in JSON types; `protocol_files.protocol_from_record` reads it back."""
        record = dataclasses.asdict(self)
        if self.labels is not None:
            record['labels'] = {str(label): name for label, name in self.labels.items()}
        return record | {'quantities': list(self.quantities)}


DEFAULT = Protocol(
    DEFAULT_PROTOCOL, 'The definitions of this package: millimetres, every voxel, structures in either map count.'
)
PROTOCOLS = {
    DEFAULT_PROTOCOL: DEFAULT,
    LEARN2REG_PROTOCOL: Protocol(
        LEARN2REG_PROTOCOL,
        'The numbers of the Learn2Reg challenge; NJD, which its code always reports as 0, is of the same determinants.',
        outside='voxel_centres',
        missing_structures='skip',
        folding=Folding(differences='central', voxels='interior', sdlogj='shifted'),
        surface=Surface(elements='surfels', spacing='unit'),
        tre=Tre(interpolation='cubic', spacing='moving'),
    ),
    LINEAR_PROTOCOL: Protocol(
        LINEAR_PROTOCOL, 'As default, but labels are warped by linear interpolation.', label_interpolation='linear'
    ),
}


def same_definitions(first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> bool:
    """Tell whether two recorded protocols say the same of what both measure; not where one was not recorded.

    Args:
        first: Record of `Protocol.as_record`, perhaps of an earlier version, which had fewer fields.
        second: Likewise.

    Returns:
        Whether names, descriptions and the choice of quantities are all that differs.
    """
    if first is None or second is None:
        return False
    defaults = DEFAULT.as_record()
    definitions = []
    for record in (first, second):
        whole = {
            field: {**value, **(record.get(field) or {})} if isinstance(value, dict) else record.get(field, value)
            for field, value in defaults.items()
        }
        definitions.append({field: value for field, value in whole.items() if field not in FREE_FIELDS})
    return json_types(definitions[0]) == json_types(definitions[1])
