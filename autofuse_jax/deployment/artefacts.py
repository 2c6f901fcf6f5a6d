"""Files of exported networks: the program, and beside it a JSON with all that its user must know."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.choices import PLATFORMS
from autofuse_jax.deployment.prediction import check_size, images_of_size, meaning_of, of_named
from autofuse_jax.deployment.runtime import compiled, network_graph, read_graph, runtime_name, write_graph
from autofuse_jax.deployment.stablehlo import of_stablehlo, to_stablehlo
from autofuse_jax.errors import COUNT, UserError
from autofuse_jax.files import write_json
from autofuse_jax.models.field_outputs import SIZE_MULTIPLE
from autofuse_jax.provenance import provenance
from autofuse_jax.records.forms import Entries, Fields, Number, Table, Text
from autofuse_jax.records.reading import check_form, read_json
from autofuse_jax.storage.swaps import replacing_folder
from autofuse_jax.weights.pretrained import Registration, RegistrationModel, register_pair
from autofuse_jax.weights.released import file_hash

FORMAT = 'autofuse_jax exported network'
FORMAT_VERSION = 1
STABLEHLO, OPENVINO = '.stablehlo', '.xml'
# OpenVINO keeps the numbers beside the structure.
NUMBERS = '.bin'
CONVENTIONS = {
    'axes': '(batch, D, H, W, channel); D is the first axis of the image array, which is left to right in training',
    'intensities': 'each image scaled to [0, 1] by its own extremes, then padded with zeros at the far ends',
    'fields': 'pull direction, in voxels: warped(x) = moving(x + displacement(x)), last axis along (D, H, W)',
}

# What is needed of the record beside an exported network; its files lie in the same folder.
EXPORT = Fields(
    {'sha256': Table(Text(), r'[^/\\]+', least=1), 'size': Entries(Number(COUNT), 3, 3)},
    {'multiple': Entries(Number(COUNT), 3, 3)},
)


def record_of(path: Path) -> Path:
    """Return where the JSON of an exported network is."""
    return path.with_name(path.name + '.json')


def check_target(path: Path) -> None:
    """Raise UserError unless the suffix of a file says what to export."""
    if path.suffix not in (STABLEHLO, OPENVINO):
        raise UserError(
            f'{path} has the suffix {path.suffix!r}',
            expected=f'{STABLEHLO} for StableHLO, {OPENVINO} for OpenVINO',
            fix='correct --to',
        )


def export_model(
    model: RegistrationModel, path: Path, size: tuple[int, ...], platforms: Sequence[str] | None = None
) -> dict[str, Any]:
    """Write a network in a form that needs no part of this package to run.

    Args:
        model: The network with its weights.
        path: `NAME.stablehlo`, or `NAME.xml`, beside which `NAME.bin` is written. `NAME.*.json` comes beside both.
        size: (D, H, W) of the images, multiples of what the network takes, usually 16.
        platforms: Platforms that StableHLO is lowered for, some of 'cpu', 'cuda', 'tpu'; None: all of them.

    Returns:
        Content of the JSON.

    Raises:
        UserError: The size is not one of the network, a package is missing, an operation has no counterpart, or
            platforms are given for OpenVINO, which is for processors.
        OSError: The files cannot be written; nothing is left that looks complete.
    """
    check_target(path)
    if platforms is not None and path.suffix == OPENVINO:
        raise UserError(
            f'--platforms={",".join(platforms)} for {path.name}',
            expected=f'platforms for {STABLEHLO} only: OpenVINO runs on processors',
            fix=f'leave out --platforms, or give NAME{STABLEHLO} as --to',
        )
    size = tuple(int(length) for length in size)
    results = check_size(model.method, model.params, size)
    description = model.description
    record = {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'kind': path.suffix.removeprefix('.'),
        'size': list(size),
        'multiple': list(model.method.multiple),
        'inputs': _described(images_of_size(size), lambda name: f'the {name} image, (1, D, H, W, 1)'),
        'outputs': _described(results, meaning_of),
        'conventions': CONVENTIONS,
        'method': description.method,
        'model': description.model,
        'inference': description.inference,
        'normalisation': description.normalisation,
        'spacing_mm': description.spacing_mm,
        'origin': description.origin,
        'parameters': model.num_parameters,
    }
    if path.suffix == STABLEHLO:
        wanted = PLATFORMS if platforms is None else platforms
        program = to_stablehlo(model.method, model.params, size, wanted)
        record['platforms'] = list(wanted)
    else:
        graph = network_graph(model.method, model.params, size)
        record['runtime'] = runtime_name()
    origin = provenance()
    record |= {'versions': origin['versions'], 'commit': origin['commit'], 'date': origin['date']}
    with replacing_folder(path.parent, record_of(path).name, in_place=True) as folder:
        if path.suffix == STABLEHLO:
            (folder / path.name).write_bytes(program)
        else:
            write_graph(folder / path.name, graph)
        record['sha256'] = {file.name: file_hash(file) for file in sorted(folder.iterdir())}
        write_json(folder / record_of(path).name, record)
    return record


class ExportedModel:
    """An exported network, read back.

    Args:
        run: Function from images (1, D, H, W, 1) in [0, 1] to results by name.
        record: Content of its JSON.

    Attributes:
        record: Content of its JSON.
        size: (D, H, W) of its images.
        multiple: Step that images are padded to multiples of.
    """

    def __init__(self, run: Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]], record: dict[str, Any]):
        self.record = record
        self.size: tuple[int, ...] = tuple(record['size'])
        # Records of earlier versions do not say it.
        self.multiple: tuple[int, ...] = tuple(record.get('multiple', (SIZE_MULTIPLE,) * 3))
        self._run = run

    def predict(self, fixed: np.ndarray, moving: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on images that are prepared.

        Args:
            fixed: (1, D, H, W, 1), in [0, 1], of exactly the network's size.
            moving: The same for the moving image.

        Returns:
            Results by name, see the record's `outputs`.

        Raises:
            UserError: An image has another size.
        """
        for name, image in (('fixed', fixed), ('moving', moving)):
            if image.shape != (1, *self.size, 1):
                raise UserError(
                    f'the {name} image has size {image.shape[1:4]} after padding to multiples of {self.multiple}',
                    expected=f'{self.size}, the size that the network was exported for',
                    fix='resample the images, or export the network for their size with --size',
                )
        return dict(self._run(*(np.asarray(image, np.float32) for image in (fixed, moving))))

    def register(self, fixed: np.ndarray, moving: np.ndarray) -> Registration:
        """Register two images; arguments, results and errors see `RegistrationModel.register`.

        Args:
            fixed: (D, H, W), the network's size once padded to multiples of `multiple`.
            moving: (D, H, W), likewise.
        """
        return register_pair(lambda *images: of_named(self.predict(*images)), fixed, moving, self.multiple)


def load_exported(path: str | Path) -> ExportedModel:
    """Read an exported network.

    Args:
        path: `NAME.stablehlo` or `NAME.xml`, with the files that were written beside it.

    Returns:
        Something that registers two arrays of one size.

    Raises:
        UserError: A file is missing, damaged or of another export, or what runs it is not installed.
    """
    path = Path(path)
    check_target(path)
    record = _read_record(record_of(path))
    for name, sha256 in record['sha256'].items():
        file = path.parent / name
        if not file.is_file() or file_hash(file) != sha256:
            raise UserError(
                f'{file} is not the file that {record_of(path).name} describes',
                expected='all files of one export, with their names',
                fix='copy them again, or export the network again',
            )
    run = of_stablehlo(path.read_bytes(), path.name) if path.suffix == STABLEHLO else compiled(read_graph(path))
    return ExportedModel(run, record)


def _described(arrays: Mapping[str, Any], meaning: Callable[[str], str]) -> list[dict[str, Any]]:
    return [
        {'name': name, 'shape': list(array.shape), 'type': np.dtype(array.dtype).name, 'meaning': meaning(name)}
        for name, array in arrays.items()
    ]


def _read_record(path: Path) -> dict[str, Any]:
    record = read_json(
        path,
        expected='the file that was written beside the exported network',
        fix='copy it as well, or export the network again',
    )
    if not isinstance(record, dict) or record.get('format') != FORMAT or record.get('format_version') != FORMAT_VERSION:
        raise UserError(f'{path} does not describe an exported network of this version', fix='export the network again')
    check_form(record, EXPORT, str(path), fix='export the network again')
    return record
