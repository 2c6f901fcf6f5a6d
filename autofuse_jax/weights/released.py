"""The released format: weights as a plain npz of flat names, beside it a JSON that says which network they belong to.

`NAME.npz` holds float32 or float16 arrays under names such as 'single_branch/conv_1/conv_1/kernel'; `NAME.json` holds
the method, the options of its network, the resolved config of the run where there was one, how images are normalised,
and the SHA-256 of the npz. NumPy is enough to read both.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.formats import DAMAGED_FILE_ERRORS
from autofuse_jax.errors import POSITIVE, UserError
from autofuse_jax.files import replacing, write_json
from autofuse_jax.records.forms import Anything, Entries, Fields, Number, OrNull, Table, Text
from autofuse_jax.records.reading import check_form, read_json
from autofuse_jax.storage.swaps import replacing_folder

FORMAT = 'autofuse_jax weights'
FORMAT_VERSION = 1
MIN_MAX = 'min-max to [0, 1] per volume'
REQUIRED = ('format', 'format_version', 'method', 'model', 'inference', 'normalisation', 'sha256')
HASH_BLOCK = 1 << 20
OPTIONS = Table(Anything())
DESCRIPTION = Fields(
    {'method': Text(), 'model': OPTIONS, 'inference': OPTIONS, 'normalisation': Text(), 'sha256': Text()},
    {'spacing_mm': OrNull(Entries(Number(POSITIVE), 3, 3)), 'config': OrNull(OPTIONS), 'origin': OPTIONS},
)


@dataclasses.dataclass(frozen=True)
class Description:
    """What a file of weights is.

    Attributes:
        method: Name of the method, a key of `autofuse_jax.methods.registry.METHODS`.
        model: Options of its network.
        inference: Options of its prediction.
        normalisation: Change of the intensities of an image before it enters the network.
        spacing_mm: Voxel size of the images that the network was trained on, along (left-right, posterior-anterior,
            inferior-superior); None where it is not known.
        config: Resolved config of the training run; None where the weights come from elsewhere.
        origin: Origin in words and numbers: file, commit, date.
    """

    method: str
    model: dict[str, Any]
    inference: dict[str, Any] = dataclasses.field(default_factory=dict)
    normalisation: str = MIN_MAX
    spacing_mm: list[float] | None = None
    config: dict[str, Any] | None = None
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)


def json_beside(path: Path) -> Path:
    """Return where the description of an npz is."""
    return Path(path).with_suffix('.json')


def is_description(path: Path) -> bool:
    """Tell whether a JSON is the description of a file of weights."""
    try:
        record = read_json(path)
    except UserError:
        return False
    return isinstance(record, dict) and record.get('format') == FORMAT


def write_released(
    path: Path, params: Mapping[str, np.ndarray], description: Description, dtype: type | None = None
) -> None:
    """Write weights and their description.

    Args:
        path: The npz; its JSON is written beside it.
        params: Parameters by flat name.
        description: Description of the weights.
        dtype: Type of the file's arrays, such as float16 for half the size; default that of the parameters.

    Raises:
        OSError: The folder cannot be written.
    """
    arrays = params if dtype is None else {name: array.astype(dtype) for name, array in params.items()}
    record = {'format': FORMAT, 'format_version': FORMAT_VERSION} | dataclasses.asdict(description)
    sizes = {'parameters': sum(int(array.size) for array in params.values())}
    # Both or none: each of the two belongs to the other.
    beside = json_beside(path)
    with replacing_folder(path.parent, beside.name, in_place=True) as folder:
        write_arrays(folder / path.name, arrays)
        write_json(folder / beside.name, record | sizes | {'sha256': file_hash(folder / path.name)})


def read_released(path: Path) -> tuple[dict[str, np.ndarray], Description]:
    """Read weights and their description.

    Args:
        path: The npz, with its JSON beside it.

    Returns:
        Parameters by flat name, in float32 at least, and what they are.

    Raises:
        UserError: A file is missing, damaged, or does not belong to the other.
    """
    params = {name: _widened(array) for name, array in read_arrays(path).items()}
    beside = json_beside(path)
    if not beside.is_file():
        raise UserError(
            f'{path} has no description {beside.name} beside it',
            expected='both files that autofuse_jax.port_weights wrote',
            fix='copy the JSON as well, or port the weights again',
        )
    record = read_json(beside, misfit='is no description of weights', fix='port the weights again')
    absent = [name for name in REQUIRED if not isinstance(record, dict) or name not in record]
    if absent or record['format'] != FORMAT:
        raise UserError(
            f'{beside} is no description of weights' + (f': {", ".join(absent)} missing' if absent else ''),
            expected='the JSON that autofuse_jax.port_weights wrote',
            fix='port the weights again',
        )
    if record['format_version'] != FORMAT_VERSION:
        raise UserError(
            f'{beside} has format version {record["format_version"]}',
            expected=f'version {FORMAT_VERSION}',
            fix='use the version of autofuse_jax that wrote it, or a newer one',
        )
    check_form(record, DESCRIPTION, str(beside), fix='port the weights again')
    if record['sha256'] != file_hash(path):
        raise UserError(
            f'{path} is not the file that {beside.name} describes (its SHA-256 differs)',
            fix='copy both files again, or port the weights again',
        )
    fields = [field.name for field in dataclasses.fields(Description)]
    return params, Description(**{name: record[name] for name in fields if name in record})


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an npz, never unpickling anything.

    Args:
        path: The npz.

    Returns:
        Arrays by name.

    Raises:
        UserError: The file is missing, damaged or no npz, or holds pickled objects.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'there is no file {path}', fix='correct the path')
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError('it holds a single array')
        with archive:
            return {name: archive[name] for name in archive.files}
    except DAMAGED_FILE_ERRORS as error:
        raise UserError(
            f'{path} cannot be read as npz ({error})',
            expected='an npz of named arrays, without pickled objects',
            fix='check that it was copied completely',
        ) from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as an npz, through a temporary name.

    Args:
        path: The npz.
        arrays: Arrays by name.

    Raises:
        OSError: The folder cannot be written.
    """
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]  # no parameter is called allow_pickle


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
