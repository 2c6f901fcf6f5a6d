"""Register two images of 512 x 512 x 400 voxels by the command, and record memory, time and the true error.

    python -m experiments.speed.large_pair --out=experiments/results/large_pair_cpu.json

A trunk made of ellipsoids and waves, in the values of CT with air around it, and the same after a rotation, a shift and
a smooth bending that are known everywhere. The most memory that the command ever has is what the system counts for it.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from autofuse_jax.errors import run_command
from autofuse_jax.files import write_json
from autofuse_jax.provenance import provenance
from autofuse_jax.reports.markdown import markdown_table
from autofuse_jax.transforms_io.files import read_transform
from experiments.record_parser import record_parser

SHAPE, SPACING = (512, 512, 400), (0.8, 0.8, 1.0)
# Centre and radii in millimetres and value of the body and what is in it.
ORGANS = (
    ((0, 0, 0), (170, 125, 230), 40),
    ((-70, 10, 90), (55, 70, 85), -800),
    ((75, 10, 90), (50, 70, 85), -800),
    ((15, 30, 60), (45, 40, 50), 90),
    ((-60, 10, -60), (75, 70, 60), 110),
    ((70, -20, -70), (35, 40, 50), 70),
    ((0, -95, 0), (18, 20, 220), 450),
)
AIR, NOISE = -1000, 15.0
EDGE_MM, WAVE_MM, WAVE = 2.0, 9.0, 35.0
# The true transform from the fixed to the moving world: degrees about z, shift, bending by sines of this amplitude.
DEGREES, SHIFT_MM, BEND_MM, BEND_LENGTH_MM = 3.0, (9.0, -6.0, 8.0), 6.0, 120.0
POINTS, SEED = 20_000, 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    parser.add_argument('--shape', type=int, nargs=3, default=SHAPE, help='voxels over the same field of view')
    options = parser.parse_args(arguments)
    return run_command(lambda: write_json(options.out, provenance() | {'pair': measure(tuple(options.shape))}))


def measure(shape: tuple[int, int, int]) -> dict[str, Any]:
    """Make the pair, register it in a process of its own and return what was measured.

    Args:
        shape: Voxels of both images.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        affine = np.diag([*(size * step / voxels for size, step, voxels in zip(SHAPE, SPACING, shape, strict=True)), 1])
        affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
        for seed, (name, to_scene) in enumerate((('fixed', true_transform), ('moving', lambda points: points))):
            nib.save(nib.Nifti1Image(_image(shape, affine, to_scene, seed), affine), place / f'{name}.nii')
        command = [sys.executable, '-m', 'autofuse_jax.register', f'--out={place / "out"}']
        command += [f'--{name}={place / name}.nii' for name in ('fixed', 'moving')]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        transform, _ = read_transform(place / 'out' / 'forward_itk.nii.gz')
        points = _points_inside()
        errors = np.linalg.norm(transform.map_points(points) - true_transform(points), axis=-1)
        before = np.linalg.norm(points - true_transform(points), axis=-1)
    return {
        'shape': list(shape),
        # Linux counts in KiB.
        'peak_gib': round(used.ru_maxrss / 2**20, 2),
        'seconds': round(seconds, 1),
        'processor_seconds': round(used.ru_utime + used.ru_stime, 1),
        'before_mm': _spread(before),
        'error_mm': _spread(errors),
    }


def table(record: dict[str, Any]) -> str:
    """Return what a record says of the pair in Markdown."""
    pair = record['pair']
    row = [
        ' x '.join(map(str, pair['shape'])),
        f'{pair["peak_gib"]:.1f}',
        f'{pair["processor_seconds"] / 60:.0f}',
        *(f'{pair[name][of]:.2f}' for of in ('mean', 'p95') for name in ('before_mm', 'error_mm')),
    ]
    head = ['voxels', 'most memory, GiB', 'processor minutes']
    errors = [f'{what}, {of}, mm' for of in ('mean', '95 %') for what in ('misplaced before', 'error after')]
    return markdown_table([*head, *errors], [row])


def true_transform(points: np.ndarray) -> np.ndarray:
    """Return where points (..., 3) of the fixed world are in the moving world, millimetres."""
    angle = np.radians(DEGREES)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    bent = points + BEND_MM * np.sin(2 * np.pi * points[..., [1, 2, 0]] / BEND_LENGTH_MM)
    return bent @ turn.T + np.array(SHIFT_MM)


def _image(shape: tuple[int, int, int], affine: np.ndarray, to_scene: Any, seed: int) -> np.ndarray:
    """int16 values, made slice by slice because all coordinates at once would need more memory than registering."""
    random = np.random.default_rng(seed)
    image = np.empty(shape, np.int16)
    plane = np.stack(np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing='ij'), axis=-1)
    for index in range(shape[2]):
        voxels = np.concatenate([plane, np.full((*shape[:2], 1), index)], axis=-1)
        values = _scene(to_scene(voxels @ affine[:3, :3].T + affine[:3, 3]))
        image[..., index] = np.rint(values + NOISE * random.standard_normal(values.shape))
    return image


def _scene(points: np.ndarray) -> np.ndarray:
    values = np.full(points.shape[:-1], float(AIR))
    for centre, radii, brightness in ORGANS:
        distance = (np.linalg.norm((points - centre) / np.array(radii, float), axis=-1) - 1) * min(radii)
        share = 1 / (1 + np.exp(np.clip(2 * distance / EDGE_MM, -50, 50)))
        texture = WAVE * np.sin(points / WAVE_MM).sum(axis=-1) / 3
        values = values * (1 - share) + (brightness + texture) * share
    return values


def _points_inside() -> np.ndarray:
    """Random points of the fixed world whose counterpart lies in the body."""
    random = np.random.default_rng(SEED)
    centre, radii, _ = ORGANS[0]
    points = (2 * random.random((POINTS, 3)) - 1) * radii + np.array(centre)
    return points[(((true_transform(points) - centre) / np.array(radii)) ** 2).sum(axis=-1) < 1]


def _spread(values: np.ndarray) -> dict[str, float]:
    return {'mean': round(float(values.mean()), 3), 'p95': round(float(np.percentile(values, 95)), 3)}


if __name__ == '__main__':
    sys.exit(main())
