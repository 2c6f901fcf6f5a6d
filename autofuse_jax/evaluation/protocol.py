"""The evaluation protocol: everything that decides what a score is, as data that goes into every result.

Two Dice values can be compared only if labels, interpolation, the treatment of the border and of missing structures
are the same; the same holds for the other metrics. A protocol file is JSON with the fields of `Protocol`; fields that
it leaves out have the values of the preset 'default', and fields that do not exist are refused.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autofuse_jax.choices import DEFAULT_PROTOCOL, LABEL_INTERPOLATIONS, LEARN2REG_PROTOCOL, LINEAR_PROTOCOL
from autofuse_jax.errors import COUNT, Range, UserError, check_option, check_types
from autofuse_jax.metrics.landmarks import SPLINE_ORDERS
from autofuse_jax.metrics.surface import COMBINATIONS, ELEMENTS

# Section (with a dot; '' for the protocol itself): what its fields may be, besides their type.
KNOWN: dict[str, dict[str, Range | tuple[str, ...]]] = {
    '': {
        'label_interpolation': LABEL_INTERPOLATIONS,
        'outside': ('voxel_edges', 'voxel_centres'),
        'missing_structures': ('zero', 'skip', 'nan'),
    },
    'folding.': {
        'differences': ('forward', 'central'),
        'voxels': ('all', 'interior', 'labelled'),
        'sdlogj': ('plain', 'shifted'),
    },
    'surface.': {
        'elements': ELEMENTS,
        'combine': COMBINATIONS,
        'percentile': Range(above=0, most=100),
        'spacing': ('file', 'unit'),
    },
    'tre.': {'interpolation': tuple(SPLINE_ORDERS), 'spacing': ('fixed', 'moving', 'unit')},
}
NAME = re.compile(r'[\w-]+')
FIX = 'correct the field; the presets in autofuse_jax/evaluation/protocol.py show all of them'


def _check_section(section: str, options: Any) -> None:
    for name, known in KNOWN[section].items():
        check_option(section + name, getattr(options, name), known)
    check_types(options, section)


@dataclasses.dataclass(frozen=True)
class Folding:
    """How folding is counted.

    Attributes:
        differences: 'forward' or 'central' differences for the Jacobian determinant.
        voxels: 'all' where these differences exist, 'interior' (two voxels less at each side of the volume), or
            'labelled': those of 'all' that lie in a scored structure of the fixed image.
        threshold: A voxel is folded where the determinant is at most this.
        ndv: Whether the non-diffeomorphic volume is measured too (`metrics.diffeomorphism`, as LUMIR; slow).
        sdlogj: 'plain': std(log(max(det J, 1e-9))); 'shifted': std(log(clip(det J + 3, 1e-9, 1e9))), as Learn2Reg.
    """

    differences: str = 'forward'
    voxels: str = 'all'
    threshold: float = 0.0
    sdlogj: str = 'plain'
    ndv: bool = False

    def __post_init__(self):
        _check_section('folding.', self)


@dataclasses.dataclass(frozen=True)
class Surface:
    """How surface distances are measured.

    Attributes:
        elements: 'voxels' or 'surfels', see `metrics.surface`.
        combine: 'max' of the two directed percentiles, or percentile of their 'union'.
        percentile: 95 for HD95.
        spacing: 'file': voxel sizes of the fixed image, in millimetres; 'unit': all 1, so the numbers are in voxels.
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
        interpolation: Of the displacement at a landmark: 'linear' or 'cubic'.
        spacing: 'fixed': millimetres along the fixed image's axes (its affine); 'moving': the voxel size of the
            moving image; 'unit': voxels.
    """

    interpolation: str = 'linear'
    spacing: str = 'fixed'

    def __post_init__(self):
        _check_section('tre.', self)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What a score is.

    Attributes:
        name: What reports call it.
        description: One sentence.
        labels: Label id to name of the structures to score; None: those that a prepared data set scores, else all that
            the fixed or moving map of a pair holds. Background (0) is never scored.
        label_interpolation: 'nearest', or 'linear': each label's 0/1 map on its own, the largest value wins.
        outside: Where the moving map ends, beyond which there is background: at the 'voxel_edges', half a voxel beyond
            the outermost centres, or at the outermost 'voxel_centres' (Learn2Reg).
        missing_structures: A structure that only one of the fixed and the warped map holds: 'zero': DSC 0, no HD95;
            'skip': not scored where the fixed or the unwarped moving map lacks it, else as 'zero'; 'nan': no score,
            and none for the mean of that pair. A structure that is in neither is never scored.
        folding: How folding is counted.
        surface: How surface distances are measured.
        tre: How landmark errors are measured.

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

    def __post_init__(self):
        _check_section('', self)
        for label in self.labels or {}:
            check_option('a label of the protocol', label, COUNT)

    def as_record(self) -> dict[str, Any]:
        """Return the protocol in JSON types; `protocol_from_record` reads it back."""
        record = dataclasses.asdict(self)
        if self.labels is not None:
            record['labels'] = {str(label): name for label, name in self.labels.items()}
        return record


PROTOCOLS = {
    DEFAULT_PROTOCOL: Protocol(
        DEFAULT_PROTOCOL, 'The definitions of this package: millimetres, every voxel, structures in either map count.'
    ),
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


def read_protocol(name_or_path: str) -> Protocol:
    """Return a preset by its name, or read a protocol file.

    Args:
        name_or_path: A key of `PROTOCOLS`, or the path of a JSON file.

    Returns:
        The protocol.

    Raises:
        UserError: There is no such preset or file, the file is not JSON, or a field is unknown or has a wrong value.
    """
    if name_or_path in PROTOCOLS:
        return PROTOCOLS[name_or_path]
    path = Path(name_or_path)
    if not path.is_file():
        raise UserError(
            f'there is no protocol {name_or_path}' + (', only a folder of that name' if path.is_dir() else ''),
            expected=f'one of {", ".join(PROTOCOLS)}, or a JSON file',
            fix='correct --protocol',
        )
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise UserError(f'the protocol {path} is no JSON ({error})', fix='correct the file') from error
    return protocol_from_record(record, str(path))


def protocol_from_record(record: Any, where: str) -> Protocol:
    """Build a protocol from JSON types, strictly.

    Args:
        record: Nested dictionary with the fields of `Protocol`; what is left out is as in the preset 'default'.
        where: What messages call its origin.

    Returns:
        The protocol.

    Raises:
        UserError: A field is unknown or has a wrong value, or there is no name.
    """
    fields = _known_fields(record, Protocol, where, '')
    if not NAME.fullmatch(str(fields.get('name', ''))):
        raise _wrong(where, 'name', fields.get('name', ''), 'letters, digits, - and _: it names a folder')
    if fields.get('labels') is not None:
        fields['labels'] = _checked_labels(fields['labels'], where)
    sections = {'folding': Folding, 'surface': Surface, 'tre': Tre}
    for section in sections.keys() & fields.keys():
        fields[section] = _known_fields(fields[section], sections[section], where, f'{section}.')
    try:
        fields |= {section: sections[section](**fields[section]) for section in sections.keys() & fields.keys()}
        return Protocol(**fields)
    except UserError as error:
        raise UserError(f'in the protocol {where}, {error.found}', expected=error.expected, fix=FIX) from error


def _known_fields(record: Any, kind: type, where: str, prefix: str) -> dict[str, Any]:
    known = [field.name for field in dataclasses.fields(kind)]
    if not isinstance(record, dict):
        what = f'the section {prefix.rstrip(".")}' if prefix else 'it'
        raise UserError(f'the protocol {where} is wrong: {what} is no JSON object', expected=', '.join(known), fix=FIX)
    unknown = [prefix + name for name in record if name not in known]
    if unknown:
        raise UserError(
            f'the protocol {where} has unknown fields: {", ".join(unknown)}',
            expected=', '.join(prefix + name for name in known),
            fix='correct or remove them',
        )
    return dict(record)


def _checked_labels(labels: Any, where: str) -> dict[int, str]:
    expected = 'null (all that are present) or an object of label id to name, such as {"3": "left ventricle"}'
    if not isinstance(labels, dict) or not labels:
        raise _wrong(where, 'labels', labels, expected)
    checked = {}
    for label, name in labels.items():
        if not str(label).isdecimal() or not isinstance(name, str):
            raise _wrong(where, f'labels.{label}', name, expected)
        if int(label) != 0:
            checked[int(label)] = name
    return checked


def _wrong(where: str, field: str, value: Any, expected: str) -> UserError:
    return UserError(f'in the protocol {where}, {field} is {value!r}', expected=expected, fix=FIX)
