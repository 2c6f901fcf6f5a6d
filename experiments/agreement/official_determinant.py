"""What the official code's determinant says of fields whose determinant is known, and write a record.

python -m experiments.agreement.official_determinant --out=experiments/results/official_determinant.json
"""

import sys

import numpy as np
from scipy import ndimage

from autofuse_jax.errors import run_command
from autofuse_jax.files import write_json
from autofuse_jax.metrics.folding import jacobian_determinant, njd_percent, official_njd_percent
from autofuse_jax.provenance import provenance
from experiments.record_parser import record_parser

SIZE = 12
RANDOM_SIZE, RANDOM_SEED, SMOOTHNESS, LARGEST = 64, 0, 4.0, 16.0
# Name: (displacement component, axis along which it grows, factor).
LINEAR_FIELDS = {
    'fold along axis 0: u_0 = -2 x_0': (0, 0, -2.0),
    'fold along axis 1: u_1 = -2 x_1': (1, 1, -2.0),
    'fold along axis 2: u_2 = -2 x_2': (2, 2, -2.0),
    'shear without fold: u_0 = -2 x_1': (0, 1, -2.0),
    'shear without fold: u_0 = -2 x_2': (0, 2, -2.0),
}


def linear_field(component: int, axis: int, factor: float) -> np.ndarray:
    """Return the displacement whose one component grows along one axis."""
    field = np.zeros((SIZE, SIZE, SIZE, 3))
    field[..., component] = factor * np.indices((SIZE,) * 3)[axis]
    return field


def smooth_random_field() -> np.ndarray:
    """Return a smooth random displacement with folds."""
    rng = np.random.default_rng(RANDOM_SEED)
    noise = rng.standard_normal((RANDOM_SIZE,) * 3 + (3,))
    field = np.stack([ndimage.gaussian_filter(noise[..., c], SMOOTHNESS) for c in range(3)], axis=-1)
    return field * (LARGEST / np.abs(field).max())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    options = parser.parse_args(arguments)

    def command() -> None:
        fields = {name: linear_field(*field) for name, field in LINEAR_FIELDS.items()}
        random = smooth_random_field()
        record = provenance() | {
            'linear': {
                name: {kind: float(jacobian_determinant(field, kind).mean()) for kind in ('correct', 'official')}
                for name, field in fields.items()
            },
            'smooth random field, percent folded': {
                'correct': njd_percent(jacobian_determinant(random)),
                'official': official_njd_percent(random),
            },
        }
        write_json(options.out, record)

    return run_command(command)


if __name__ == '__main__':
    sys.exit(main())
