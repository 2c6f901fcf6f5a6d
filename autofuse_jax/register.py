"""Register two images: `python -m autofuse_jax.register --fixed F.nii.gz --moving M.nii.gz --out DIR`.

Any size, spacing and orientation; the result is on the grid of the fixed image. Without weights: affine alignment, then
optimisation of a velocity field for this pair. With --weights the field of a trained network comes between the two.

Many pairs: `python -m autofuse_jax.register --pairs pairs.csv --out DIR` registers every row of a CSV into a folder of
its own, goes on after a pair that fails, and ends with summary.html and summary.csv, the worst verdict first. The same
command again does only what is missing. Columns: fixed, moving, and where wanted fixed_labels, moving_labels,
fixed_mask, moving_mask, name; paths are relative to the CSV.

Exit status: 0 when everything asked for is registered, whatever the verdict on it; 1 when some pairs of a CSV failed; 2
when nothing was done, because files or options are wrong; 130 after an interrupt.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autofuse_jax.choices import (
    AUTO,
    CONVENTIONS,
    DEVICES,
    GUIDES,
    IMAGE_FORMATS,
    IN_TURN,
    LINEAR_MAPS,
    NIFTI,
    SIMILARITIES,
    STARTS,
)
from autofuse_jax.commands.command_line import add_part_option, background_value, command_parser, run_parsed
from autofuse_jax.errors import NOTHING_WRITTEN

if TYPE_CHECKING:
    from autofuse_jax.registration.images import register_images

__all__ = ['main', 'register_images']

PROGRAM = 'python -m autofuse_jax.register'
# What argparse returns for a group of options, of which it has no public name.
Group = argparse._ArgumentGroup


def main(argv: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.
        program: Name of the program in help and records.

    Returns:
        The exit status: 0, 1 where pairs of a CSV failed, 2 after bad input, 130 after an interrupt.
    """
    return run_parsed(_parser(program), _run, argv, _interrupted)


def _run(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    from autofuse_jax.commands.register import run
    from autofuse_jax.commands.register_pairs import run_pairs

    options.import_seconds = time.perf_counter() - started
    return run(options) if options.pairs is None else run_pairs(options)


def __getattr__(name: str) -> Any:
    # The help of the command needs no jax; the function does.
    if name == 'register_images':
        from autofuse_jax.registration.images import register_images

        return register_images
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def _interrupted(options: argparse.Namespace) -> str:
    if options.pairs is None:
        return NOTHING_WRITTEN
    return 'the pairs that were registered before are kept, run the same command again for the others'


def _parser(program: str) -> argparse.ArgumentParser:
    parser = command_parser(__doc__, PROGRAM, program)
    _add_files(parser.add_argument_group('files'))
    _add_pairs(parser.add_argument_group('many pairs'))
    _add_series(parser.add_argument_group('series'))
    _add_alignment(parser.add_argument_group('alignment'))
    _add_guide(parser.add_argument_group('guide'))
    _add_deformation(parser.add_argument_group('deformation'))
    return parser


def _add_files(group: Group) -> None:
    group.add_argument(
        '--fixed', type=Path, metavar='FILE', help='the image that stays; its grid is that of the result'
    )
    group.add_argument('--moving', type=Path, metavar='FILE', help='the image that is moved')
    group.add_argument('--out', type=Path, metavar='DIR', required=True, help='folder of the results')
    group.add_argument('--fixed-labels', type=Path, metavar='FILE', help='label map of the fixed image')
    group.add_argument('--moving-labels', type=Path, metavar='FILE', help='label map of the moving image; moved too')
    group.add_argument(
        '--fixed-mask', type=Path, metavar='FILE', help='not 0 where the fixed image counts; fractions are weights'
    )
    group.add_argument('--moving-mask', type=Path, metavar='FILE', help='the same of the moving image')
    group.add_argument(
        '--moving-images', type=Path, metavar='FILE', nargs='+', default=[], help='more images that ride along'
    )
    group.add_argument(
        '--background',
        type=background_value,
        default=AUTO,
        metavar='min|VALUE',
        help='value of moved images where the moving one does not reach: its smallest or a number; default: its own '
        'background',
    )
    group.add_argument('--classes', type=Path, metavar='FILE', help='JSON with the names of the labels')
    group.add_argument(
        '--out-format', choices=IMAGE_FORMATS, default=NIFTI, help='format of the moved images; default nii.gz'
    )
    group.add_argument(
        '--composite', action='store_true', help='write both directions as composite transforms of ITK (.h5), too'
    )
    group.add_argument(
        '--gate-maps',
        action='store_true',
        help="write what the network's fusion gates take from the fusion branch, one image a level",
    )
    group.add_argument('--overwrite', action='store_true', help='replace results that are in --out')
    group.add_argument('--no-page', dest='page', action='store_false', help='leave out report.html')


def _add_pairs(group: Group) -> None:
    group.add_argument('--pairs', type=Path, metavar='CSV', help='table of pairs, one a row; see above')
    add_part_option(group, 'pairs; the summary is made anew at the end of each part')
    group.add_argument(
        '--together',
        type=int,
        default=1,
        metavar='N',
        help='pairs that are in work at a time, whose steps an accelerator computes together; default 1',
    )


def _add_series(group: Group) -> None:
    group.add_argument(
        '--reference-frame',
        type=int,
        metavar='N',
        help='register every frame of the 4-D --moving to its frame N, from 0',
    )


def _add_alignment(group: Group) -> None:
    group.add_argument(
        '--align', choices=LINEAR_MAPS, help='linear map that is sought; default affine, none for a series'
    )
    group.add_argument(
        '--similarity',
        choices=(AUTO, *SIMILARITIES),
        default=AUTO,
        help='what is maximised, deformation included: ncc for one contrast; matched, mind or mi for different ones; '
        'auto looks at the images',
    )
    group.add_argument(
        '--start',
        choices=STARTS,
        help='what the alignment starts from; auto tries large rotations where they are promising',
    )
    group.add_argument(
        '--initial',
        nargs='+',
        default=[],
        metavar='T',
        help='transforms of any program to start from, FILE or inverse:FILE, in the order in which an image passes '
        'through them; with --align=none instead of the alignment',
    )
    group.add_argument('--initial-convention', choices=CONVENTIONS, help='convention of --initial, if it is not clear')


def _add_guide(group: Group) -> None:
    group.add_argument(
        '--guide',
        choices=GUIDES,
        default=AUTO,
        help="what guides besides the images where no files do; auto: the network's segmentation where there is one",
    )
    group.add_argument('--fixed-guide', type=Path, metavar='FILE', help='label map of the fixed image that guides')
    group.add_argument('--moving-guide', type=Path, metavar='FILE', help='the same structures in the moving image')
    group.add_argument(
        '--guide-points', type=Path, metavar=('FIXED', 'MOVING'), nargs=2, help='CSV files of points, millimetres'
    )
    group.add_argument('--guide-weight', type=float, metavar='X', help='weight of the overlap of structures; default 3')
    group.add_argument(
        '--guide-points-weight', type=float, metavar='X', help='weight of a millimetre between points; default 0.1'
    )


def _add_deformation(group: Group) -> None:
    group.add_argument(
        '--weights', type=Path, metavar='WEIGHTS', help='npz of a trained network, or the name of one that ships'
    )
    group.add_argument(
        '--device', choices=DEVICES, default=AUTO, help='on cpu the network runs in OpenVINO where that is installed'
    )
    group.add_argument('--no-deform', dest='deform', action='store_false', help='leave out instance optimisation')
    group.add_argument(
        '--spacing',
        type=float,
        metavar='MM',
        help='voxel size in which the deformation is sought; default: that of the fixed image, thick slices refined',
    )
    group.add_argument(
        '--shrink', type=_numbers, metavar='N,..', help='factors of the levels, coarse to fine; default 4,2,1'
    )
    group.add_argument(
        '--steps', type=_numbers, metavar='N,..', help='largest number of steps of each level; default 60,40,20'
    )
    group.add_argument('--smoothness', type=float, metavar='X', help='weight of the velocity gradient; default 0.5')
    group.add_argument(
        '--trust', type=float, metavar='X', help="share of the network's field to start from; default 0.5"
    )
    group.add_argument('--jacobian', type=float, metavar='X', help='weight of folding; default 1')
    group.add_argument(
        '--inverse-weight',
        type=_weight_or_turns,
        metavar='X|turns',
        help='weight of the similarity of the inverse; default 0; turns: steps in both directions in turn, at no cost',
    )
    group.add_argument(
        '--symmetric',
        action='store_true',
        help='exchanging the images turns the result round and changes nothing else; --inverse-weight is 1 then',
    )
    group.add_argument('--ncc-window', type=int, metavar='N', help='window of the correlation, voxels, odd; default 9')
    group.add_argument('--learning-rate', type=float, metavar='X', help='voxels a step; default 0.15')
    group.add_argument(
        '--samples',
        type=int,
        default=0,
        metavar='N',
        help="measure the spread of the deformation over N perturbed restarts; draws from the network's variance with "
        '--no-deform',
    )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(','))


_numbers.__name__ = 'list of whole numbers'


def _weight_or_turns(text: str) -> float | str:
    return text if text == IN_TURN else float(text)


_weight_or_turns.__name__ = f"weight or '{IN_TURN}'"

if __name__ == '__main__':
    sys.exit(main())
