"""Join the branches that segment of one file of weights with the branch that registers of another.

    python -m experiments.weights.join_branches --segmenting=new.npz --registering=old.npz --out=joined.npz

For branches that were trained at the same time, each for itself; both files must belong to networks that differ in
options of the branches that segment at most. A branch that segments planes is taken from the first file where that has
one, and else stays that of the second. What comes out is where training goes on from, so that the branches learn to fit
each other.
"""

import argparse
import sys
from pathlib import Path

from autofuse_jax.errors import run_command
from autofuse_jax.methods.autofuse import PLANE_BRANCH, SINGLE_BRANCH
from autofuse_jax.porting.convert import check_shapes
from autofuse_jax.weights.released import read_released, write_released

# Branches that segment, and the options of the network that say what they are.
SEGMENTING = {
    SINGLE_BRANCH: ('fine_pooling', 'fine_channels', 'thin_levels', 'compare_slices', 'background_in_padding'),
    PLANE_BRANCH: ('plane_channels',),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--segmenting', type=Path, required=True, help='npz whose branches that segment are taken')
    parser.add_argument(
        '--registering', type=Path, required=True, help='npz whose other branches and options are taken'
    )
    parser.add_argument('--out', type=Path, required=True, help='npz to write')
    options = parser.parse_args(arguments)
    return run_command(lambda: join(options.segmenting, options.registering, options.out))


def join(segmenting: Path, registering: Path, out: Path) -> None:
    """Write the joined weights.

    Args:
        segmenting: Whose single branch is taken, and the branch that segments planes if there is one.
        registering: Whose other branches and description are taken.
        out: The npz to write.

    Raises:
        UserError: A file cannot be read, or the branches do not fit.
        OSError: The file cannot be written.
    """
    (of_segmenting, about), (of_registering, description) = read_released(segmenting), read_released(registering)
    params = dict(of_registering)
    for branch, options in SEGMENTING.items():
        taken = {name: array for name, array in of_segmenting.items() if name.startswith(f'{branch}/')}
        if taken:
            params = {name: array for name, array in params.items() if not name.startswith(f'{branch}/')} | taken
            description.model.update({name: about.model[name] for name in options if name in about.model})
    check_shapes(params, description.method, description.model)
    description.origin['segmenting'] = about.origin
    write_released(out, params, description)
    print(f'written: {out}')


if __name__ == '__main__':
    sys.exit(main())
