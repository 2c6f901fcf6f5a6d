"""Join the branch that segments of one file of weights with the branch that registers of another.

    python -m experiments.weights.join_branches --segmenting=new.npz --registering=old.npz --out=joined.npz

For branches that were trained at the same time, each for itself; both files must belong to networks that differ in
options of the single branch at most. What comes out is where training goes on from, so that the branches learn to fit
each other.
"""

import argparse
import sys
from pathlib import Path

from autofuse_jax.errors import run_command
from autofuse_jax.porting.convert import check_shapes
from autofuse_jax.weights.released import read_released, write_released

SEGMENTING = 'single_branch/'
# Options of the network that say what its single branch is.
OF_THE_BRANCH = ('fine_channels', 'thin_levels', 'compare_slices', 'background_in_padding')


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--segmenting', type=Path, required=True, help='npz whose single branch is taken')
    parser.add_argument('--registering', type=Path, required=True, help='npz whose other branch and options are taken')
    parser.add_argument('--out', type=Path, required=True, help='npz to write')
    options = parser.parse_args(arguments)
    return run_command(lambda: join(options.segmenting, options.registering, options.out))


def join(segmenting: Path, registering: Path, out: Path) -> None:
    """Write the joined weights.

    Args:
        segmenting: Whose single branch is taken.
        registering: Whose fusion branch and description are taken.
        out: The npz to write.

    Raises:
        UserError: A file cannot be read, or the branches do not fit.
        OSError: The file cannot be written.
    """
    (of_segmenting, about), (of_registering, description) = read_released(segmenting), read_released(registering)
    params = {name: array for name, array in of_registering.items() if not name.startswith(SEGMENTING)}
    params |= {name: array for name, array in of_segmenting.items() if name.startswith(SEGMENTING)}
    description.model.update({name: about.model[name] for name in OF_THE_BRANCH if name in about.model})
    check_shapes(params, description.method, description.model)
    description.origin['segmenting'] = about.origin
    write_released(out, params, description)
    print(f'written: {out}')


if __name__ == '__main__':
    sys.exit(main())
