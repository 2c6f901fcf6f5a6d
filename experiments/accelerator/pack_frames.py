"""Make prepared data small enough to be carried to a machine without network.

    python -m experiments.accelerator.pack_frames --data=prepared/acdc --out=prepared/acdc_small

The result is prepared data like any other, to be named as `data.root`. Images are kept as whole numbers of 0 to 255
(or with --type=float16 as those), labels and affines as they are. Files are compressed by bzip2, which needs a quarter
less than what `prepare` uses and takes longer to read, once each. What is lost is printed and noted in the manifest.
"""

import argparse
import dataclasses
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autofuse_jax.data.formats import IMAGE_KEY, load_npz
from autofuse_jax.data.manifests import Frame, Manifest, read_manifest, write_manifest
from autofuse_jax.data.prepared import STORED_ONES, decoded_image, encoded_image
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import claim_folder, replacing

TYPES = tuple(name for name in STORED_ONES if name != 'float32')
MIB = 2**20


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True, help='prepared data')
    parser.add_argument('--out', type=Path, required=True, help='folder to write')
    parser.add_argument('--type', choices=TYPES, default='uint8', help='of images; default uint8')
    options = parser.parse_args(arguments)
    return run_command(lambda: pack(options.data, options.out, options.type))


def pack(data: Path, out: Path, stored_type: str) -> None:
    """Write a smaller copy of prepared data.

    Args:
        data: Folder of the prepared data.
        out: Folder of the copy; new or empty.
        stored_type: Of images, a key of `STORED_ONES`.

    Raises:
        UserError: The data is damaged, or the folder holds something.
        OSError: The folder cannot be written.
    """
    claim_folder(out)
    manifest = read_manifest(data)
    frames = [frame for subject in manifest.subjects for frame in subject.frames]
    errors = [_pack_frame(manifest, frame, out / frame.file, stored_type) for frame in frames]
    largest, root_mean_square = max(error for error, _ in errors), np.sqrt(np.mean([square for _, square in errors]))
    lost = f'{stored_type}, off by {largest:.2g} at most and {root_mean_square:.2g} on average (root mean square)'
    settings = manifest.settings | {'images_stored_as': lost}
    # Written last: without it the folder is no data.
    write_manifest(dataclasses.replace(manifest, root=out, settings=settings))
    size = sum(path.stat().st_size for path in out.rglob('*') if path.is_file())
    print(f'{len(manifest.subjects)} subjects, {len(frames)} frames, {size / MIB:.1f} MiB in {out}; images are {lost}')


def _pack_frame(manifest: Manifest, frame: Frame, path: Path, stored_type: str) -> tuple[float, float]:
    """Write a frame; returns the largest absolute and the mean squared error of its image."""
    arrays = load_npz(manifest.root / frame.file, fix='prepare the data again; finished files are kept')
    if IMAGE_KEY not in arrays or arrays[IMAGE_KEY].dtype != np.float32:
        found = f'{manifest.root / frame.file} holds no float32 image'
        raise UserError(found, expected='data as `prepare` wrote it', fix='name that folder by --data')
    image = arrays[IMAGE_KEY]
    arrays[IMAGE_KEY] = encoded_image(image, stored_type)
    _store_small(path, arrays)
    error = decoded_image(arrays[IMAGE_KEY]) - image
    return float(np.abs(error).max()), float(np.mean(error**2))


def _store_small(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with replacing(path) as temporary, zipfile.ZipFile(temporary, 'w', zipfile.ZIP_BZIP2) as archive:
        for name, array in arrays.items():
            with archive.open(f'{name}.npy', 'w') as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


if __name__ == '__main__':
    sys.exit(main())
