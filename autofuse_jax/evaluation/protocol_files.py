"""Protocols from files: JSON with the fields of `protocol.Protocol`.

Fields that a file leaves out have the values of the preset 'default', and fields that do not exist are refused.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.protocol import KNOWN_QUANTITIES, PROTOCOLS, Folding, Protocol, Surface, Tre
from autofuse_jax.records.forms import LABEL_ID
from autofuse_jax.records.reading import read_json

NAME = re.compile(r'[\w-]+')
FIX = 'correct the field; the presets in autofuse_jax/evaluation/protocol.py show all of them'


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
    return protocol_from_record(read_json(path, kind='the protocol', fix='correct the file'), str(path))


def protocol_from_record(record: Any, where: str) -> Protocol:
    """Build a protocol from JSON types, strictly.

    Args:
        record: Nested dictionary with the fields of `Protocol`; what is left out is as in the preset 'default'.
        where: Name of its origin in messages.

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
    if 'quantities' in fields:
        fields['quantities'] = _checked_quantities(fields['quantities'], where)
    sections = {'folding': Folding, 'surface': Surface, 'tre': Tre}
    for section in sections.keys() & fields.keys():
        fields[section] = _known_fields(fields[section], sections[section], where, f'{section}.')
    try:
        fields |= {section: sections[section](**fields[section]) for section in sections.keys() & fields.keys()}
        return Protocol(**fields)
    except UserError as error:
        raise UserError(f'in the protocol {where}, {error.found}', expected=error.expected, fix=FIX) from error


def _known_fields(record: Any, kind: type, where: str, prefix: str) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(kind)]
    if not isinstance(record, dict):
        what = f'the section {prefix.rstrip(".")}' if prefix else 'it'
        raise UserError(f'the protocol {where} is wrong: {what} is no JSON object', expected=', '.join(names), fix=FIX)
    unknown = [prefix + name for name in record if name not in names]
    if unknown:
        raise UserError(
            f'the protocol {where} has unknown fields: {", ".join(unknown)}',
            expected=', '.join(prefix + name for name in names),
            fix='correct or remove them',
        )
    return dict(record)


def _checked_labels(labels: Any, where: str) -> dict[int, str]:
    expected = 'null (all that are present) or an object of label id to name, such as {"3": "left ventricle"}'
    if not isinstance(labels, dict) or not labels:
        raise _wrong(where, 'labels', labels, expected)
    names = {}
    for label, name in labels.items():
        if not re.fullmatch(LABEL_ID, str(label)) or int(label) < 0 or not isinstance(name, str):
            raise _wrong(where, f'labels.{label}', name, expected)
        if int(label) != 0:
            names[int(label)] = name
    return names


def _checked_quantities(quantities: Any, where: str) -> tuple[str, ...]:
    if not isinstance(quantities, list) or not quantities or not set(map(str, quantities)) <= set(KNOWN_QUANTITIES):
        raise _wrong(where, 'quantities', quantities, f'a list of some of {", ".join(KNOWN_QUANTITIES)}')
    return tuple(quantities)


def _wrong(where: str, field: str, value: Any, expected: str) -> UserError:
    return UserError(f'in the protocol {where}, {field} is {value!r}', expected=expected, fix=FIX)
