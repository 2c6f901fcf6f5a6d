"""Say what a report of a problem needs: versions, devices, and what the headers of images and transforms hold.

    autofuse-jax describe
    autofuse-jax describe fixed.nii.gz moving.nii.gz forward_itk.nii.gz

The text is made to be pasted into an issue. It holds no voxel values, no free text of headers and no folders; names of
files it does hold, so rename files that are called after patients.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.commands.command_line import command_parser, run_parsed
from autofuse_jax.commands.environment import facts, without_folders
from autofuse_jax.errors import UserError

PROGRAM = 'autofuse-jax describe'
GIB = 2**30
# A field of displacements has three numbers a voxel, in front or behind.
COMPONENTS = 3


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        program: Name of the program in the help.

    Returns:
        The exit status: 0, also where something cannot be described, which is then said.
    """
    return run_parsed(_parser(program), _describe, argv)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = command_parser(__doc__, PROGRAM, program)
    parser.add_argument('files', nargs='*', type=Path, metavar='FILE', help='images, label maps or transforms')
    parser.add_argument('--json', action='store_true', help='print JSON instead of text')
    return parser


def _describe(options: argparse.Namespace) -> None:
    record = facts() | {'files': [describe_file(path) for path in options.files]}
    print(json.dumps(record, indent=2, allow_nan=False) if options.json else as_text(record))


def describe_file(path: Path) -> dict[str, Any]:
    """Describe one file.

    Args:
        path: Any file.

    Returns:
        JSON types: its name, the fields of its header, what it is where it may be a transform, and 'problem' in words
        where it cannot be read.
    """
    # Only here are NumPy and nibabel needed.
    from autofuse_jax.data.formats import KNOWN_SUFFIXES
    from autofuse_jax.data.header_fields import header_fields

    fields: dict[str, Any] = {'file': path.name}
    try:
        if not path.is_file():
            raise UserError(f'{path.name} is a folder' if path.is_dir() else f'there is no file {path.name}')
        if path.name.lower().endswith(KNOWN_SUFFIXES):
            fields |= header_fields(path)
        if _may_be_transform(fields):
            fields['transform'] = _transform(path)
    except UserError as error:
        fields['problem'] = error.found
    return _anonymous(fields, path)


def as_text(record: Mapping[str, Any]) -> str:
    """Return a description as lines of text."""
    packages = dict(record['versions'])
    commit = f' (commit {record["commit"]})' if record['commit'] else ''
    lines = [f'autofuse_jax {packages.pop("autofuse_jax")}{commit}, Python {packages.pop("python")}']
    lines.append(', '.join(f'{name} {version or "not installed"}' for name, version in packages.items()))
    lines.append(_extras_line(record['missing_of_extras']))
    machine = record['machine']
    memory = f'{machine["memory"] / GIB:.1f} GiB' if machine['memory'] else 'memory unknown'
    lines.append(f'{machine["system"]}, {machine["processor"]}, {machine["cores"]} cores, {memory}')
    lines += _jax_lines(record['jax'])
    for fields in record['files']:
        lines += ['', fields['file']]
        lines += [f'  {name}: {_words(value)}' for name, value in fields.items() if name != 'file']
    return '\n'.join(lines)


def _may_be_transform(fields: Mapping[str, Any]) -> bool:
    # Without a shape it is no image: an affine as text, or an npz of another program.
    shape = fields.get('shape')
    return shape is None or len(shape) > 3 and COMPONENTS in (shape[0], shape[-1])


def _transform(path: Path) -> str:
    from autofuse_jax.transforms_io.explain import explain

    try:
        return explain(path).removeprefix(f'{path.name}: ')
    except UserError as error:
        return error.found


def _anonymous(value: Any, path: Path) -> Any:
    """Take the folders out of all texts of a description."""
    if isinstance(value, str):
        return without_folders(value.replace(str(path), path.name))
    if isinstance(value, list):
        return [_anonymous(item, path) for item in value]
    if isinstance(value, dict):
        return {name: _anonymous(item, path) for name, item in value.items()}
    return value


def _extras_line(missing: Mapping[str, Sequence[str]] | None) -> str:
    if missing is None:
        return 'extras: unknown, the package is not installed'
    words = [name if not absent else f'{name} without {", ".join(absent)}' for name, absent in missing.items()]
    return f'extras: {"; ".join(words)}'


def _jax_lines(answer: Mapping[str, Any]) -> list[str]:
    if 'problem' in answer:
        lines = [answer['problem']]
    else:
        kinds = [device['kind'] for device in answer['devices']]
        memory = answer['devices'][0]['memory']
        counts = ', '.join(f'{kinds.count(kind)} x {kind}' for kind in dict.fromkeys(kinds))
        each = f', {memory / GIB:.1f} GiB each' if memory else ''
        lines = [f'devices: {counts} ({answer["backend"]}{each})']
    return lines + [f'{name}={value}' for name, value in answer.get('variables', {}).items()]


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ', '.join(f'{name} {item}' for name, item in value.items())
    return str(value)
