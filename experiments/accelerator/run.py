"""Train, evaluate and time AutoFuse on a machine with an accelerator that is at hand for a quarter of an hour.

    sh experiments/accelerator_run.sh OUT --data=prepared/acdc_small --wheels=wheels
    sh experiments/accelerator_run.sh OUT --rehearse

In this order: the batch size is chosen by a short measurement; the semi-supervised network is trained at full size for
some minutes, in bfloat16; it is evaluated on the validation split; its weights are written; forward pass and training
step are timed beside eager PyTorch and torch.compile at two sizes, with peak memory; eight pairs are registered one by
one and together. Each part has a budget and leaves its results in OUT at once; one that fails or runs out of time (its
results begin with `partial_`) does not stop the next. The same command goes on with what is not done. OUT/run.json says
how each ended, OUT/logs what it printed.

Paths are relative to the project's folder. Further arguments --config.FIELD=VALUE go to the training.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from autofuse_jax.data.manifests import MANIFEST_NAME
from autofuse_jax.errors import POSITIVE, UserError, check_option, run_command
from autofuse_jax.files import claim_folder
from autofuse_jax.provenance import COMMIT_VARIABLE, commit
from autofuse_jax.runtime import command_line
from experiments.accelerator.packages import install_missing
from experiments.accelerator.parts import carry_out
from experiments.accelerator.plan import FULL, REHEARSAL, parts_of

INCOMPLETE_STATUS, STOPPED_STATUS = 1, 143
FIELD = '--config.'


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 where all parts are done, 1 where some are not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, metavar='OUT', help='folder of the results')
    parser.add_argument('--data', type=Path, help='prepared data, such as pack_frames writes; a rehearsal needs none')
    parser.add_argument('--wheels', type=Path, help='folder of wheels, for packages that the machine lacks')
    parser.add_argument('--work', type=Path, help='folder of checkpoints and compiled programs; default OUT/work')
    parser.add_argument('--minutes', type=float, default=14.0, help='of everything; default %(default)s')
    parser.add_argument('--training-minutes', type=float, default=8.0, help='of training; default %(default)s')
    parser.add_argument('--only', nargs='+', metavar='PART', help='these parts; default all')
    parser.add_argument('--rehearse', action='store_true', help='everything tiny, on any machine')
    options, training = parser.parse_known_args(arguments)
    return run_command(lambda: _run(options, training))


def _run(options: argparse.Namespace, training: list[str]) -> int:
    for name in ('minutes', 'training_minutes'):
        check_option(f'--{name.replace("_", "-")}', getattr(options, name), POSITIVE)
    if unknown := [argument for argument in training if not argument.startswith(FIELD)]:
        raise UserError(f'unknown arguments {" ".join(unknown)}', expected=f'{FIELD}FIELD=VALUE', fix='see --help')
    if options.data is None and not options.rehearse:
        raise UserError('no data is named', fix='add --data=DIR, or --rehearse')
    if options.data is not None and not (options.data / MANIFEST_NAME).is_file():
        raise UserError(f'{options.data} has no {MANIFEST_NAME}', expected='prepared data', fix='correct --data')
    if options.wheels is not None and not options.wheels.is_dir():
        raise UserError(f'{options.wheels} is no folder', fix='correct --wheels')
    claim_folder(options.out, continues=True)
    work = options.work or options.out / 'work'
    parts = parts_of(
        REHEARSAL if options.rehearse else FULL,
        options.out,
        work,
        data=options.data,
        training_minutes=options.training_minutes,
        more=training,
    )
    known = [part.name for part in parts]
    for name in options.only or ():
        check_option('--only', name, known)
    if commit() is None:
        print(f'records will name no commit: {COMMIT_VARIABLE} can tell it to a copy without git', file=sys.stderr)
    packages = work / 'packages'
    install_missing(options.wheels, packages)
    path = os.pathsep.join(filter(None, (str(packages.resolve()), os.environ.get('PYTHONPATH'))))
    # Commands of parts are ended before this one is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED_STATUS))
    complete = carry_out(
        [part for part in parts if part.name in (options.only or known)],
        options.out,
        options.minutes,
        environment=os.environ | {'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1'},
        about={'command': command_line(), 'commit': commit()},
    )
    return 0 if complete else INCOMPLETE_STATUS


if __name__ == '__main__':
    sys.exit(main())
