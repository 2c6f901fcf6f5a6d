"""Velocity fields of training pairs that a network may be taught with, and the record of what they were made of."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.formats import load_npz
from autofuse_jax.data.manifests import MANIFEST_NAME, Manifest
from autofuse_jax.data.pairs import Pair
from autofuse_jax.errors import COUNT, UserError
from autofuse_jax.files import replacing, write_json
from autofuse_jax.records.forms import Entries, Fields, Number, Text
from autofuse_jax.records.reading import check_form, read_json

RECORD_NAME = 'teacher.json'
FORMAT = 'autofuse_jax teacher'
FORMAT_VERSION = 1
VELOCITY = 'velocity'
FIX = 'make the teacher again'
RECORD = Fields(
    {'data': Text(), 'velocity_shape': Entries(Number(COUNT), 3, 3), 'labelled_subjects': Entries(Text())},
)


@dataclasses.dataclass(frozen=True)
class TeacherFields:
    """Velocities of pairs, each of which also serves the exchanged pair, with the opposite sign.

    Attributes:
        root: Folder that holds the record and one npz a pair.
        record: 'data' (hash of the manifest they were made of), 'velocity_shape', 'labelled_subjects' (whose labels
            took part), 'settings'.
    """

    root: Path
    record: dict[str, Any]

    @property
    def velocity_shape(self) -> tuple[int, int, int]:
        """Size of the velocities."""
        return tuple(self.record['velocity_shape'])

    @property
    def labelled_subjects(self) -> frozenset[str]:
        """Ids of the subjects whose labels took part; empty where images alone did."""
        return frozenset(self.record['labelled_subjects'])

    def load(self, pair: Pair) -> np.ndarray:
        """Return the velocity of a pair, float32 (d, h, w, 3), in voxels of its own grid.

        Raises:
            UserError: There is no such field, or it is damaged.
        """
        exchanged = dataclasses.replace(
            pair,
            fixed=pair.moving,
            moving=pair.fixed,
            fixed_subject=pair.moving_subject,
            moving_subject=pair.fixed_subject,
        )
        for name, sign in ((pair.name, 1.0), (exchanged.name, -1.0)):
            path = self.root / f'{name}.npz'
            if path.is_file():
                return np.float32(sign) * _read_velocity(path, self.velocity_shape)
        raise UserError(
            f'the teacher in {self.root} has no field of {pair.name}',
            expected='a field of every training pair, in one of its directions',
            fix='run `autofuse-jax teach` again, or choose pairs that it was made for',
        )


def open_teacher(root: Path, manifest: Manifest) -> TeacherFields:
    """Open the fields in a folder.

    Args:
        root: The folder that `autofuse-jax teach` wrote.
        manifest: The data that a network will be trained on.

    Raises:
        UserError: The folder holds no teacher, or one that was made of other data.
    """
    path = root / RECORD_NAME
    if not path.is_file():
        raise UserError(
            f'{root} holds no {RECORD_NAME}',
            expected='the folder that `autofuse-jax teach` wrote, completely',
            fix='correct data.teacher, or run that command again',
        )
    record = read_json(path, fix=FIX)
    if not isinstance(record, dict) or record.get('format') != FORMAT or record.get('version') != FORMAT_VERSION:
        raise UserError(f'{path} is no record of a teacher of this version', fix=FIX)
    check_form(record, RECORD, str(path), fix=FIX)
    if record['data'] != data_hash(manifest):
        raise UserError(
            f'the teacher in {root} was made of other data than {manifest.root}',
            expected='fields of the very frames that the network is trained on',
            fix=f'autofuse-jax teach --data={manifest.root} --out=FOLDER',
        )
    return TeacherFields(root, record)


def write_field(root: Path, name: str, velocity: np.ndarray) -> None:
    """Write the velocity of the pair of a name as float16."""
    with replacing(root / f'{name}.npz') as temporary:
        np.savez_compressed(temporary, **{VELOCITY: velocity.astype(np.float16)})  # type: ignore[arg-type]  # As in formats.


def field_shape(root: Path, name: str) -> tuple[int, ...]:
    """Return the size of the written velocity of a pair.

    Raises:
        UserError: The file is damaged, or holds no velocity.
    """
    path = root / f'{name}.npz'
    velocity = load_npz(path, (VELOCITY,), fix=f'remove it and {FIX}').get(VELOCITY)
    if velocity is None or velocity.ndim != 4:
        raise UserError(f'{path} holds no velocity', fix=f'remove it and {FIX}')
    return velocity.shape[:3]


def write_record(root: Path, manifest: Manifest, record: dict[str, Any]) -> None:
    """Write the record, which makes the folder a teacher; see `TeacherFields`."""
    write_json(root / RECORD_NAME, {'format': FORMAT, 'version': FORMAT_VERSION, 'data': data_hash(manifest)} | record)


def data_hash(manifest: Manifest) -> str:
    """Return the SHA-256 of a manifest's file, which names every frame and how it was prepared."""
    return hashlib.sha256((manifest.root / MANIFEST_NAME).read_bytes()).hexdigest()


def _read_velocity(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    velocity = load_npz(path, (VELOCITY,), fix=f'remove it and {FIX}').get(VELOCITY)
    if velocity is None or velocity.shape != (*shape, 3) or velocity.dtype.kind != 'f':
        contents = 'no velocity' if velocity is None else f'{velocity.dtype} {velocity.shape}'
        raise UserError(f'{path} holds {contents}', expected=f'float16 {(*shape, 3)}', fix=FIX)
    if not np.isfinite(velocity).all():
        raise UserError(f'{path} holds NaN or infinite values', fix=FIX)
    return velocity.astype(np.float32)
