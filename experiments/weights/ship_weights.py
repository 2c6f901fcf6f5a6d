"""Put a run's weights where the package finds them by name, with a card that says what they are.

    python -m experiments.weights.ship_weights --run=runs/semi --name=cardiac --processor-hours=0.9 --before=...

The run must have been evaluated (`--mode=evaluate`), as a training or with a file of weights (`--config.weights`), such
as one of joined branches: every number of the card comes from its record, but for the processor hours, which no run
knows of itself. Written are weights/NAME.npz (float16), NAME.json and NAME.md.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import replacing
from autofuse_jax.training.run_parameters import read_run
from autofuse_jax.weights.released import Description, file_hash, read_released, write_released
from autofuse_jax.weights.shipped import weights_file

WEIGHTS = Path(__file__).resolve().parents[2] / 'weights'
RESULT = 'evaluation_{split}/result.json'

# Dataset: what the weights were made from and what follows from that.
DATA = {
    'acdc': {
        'data': 'ACDC (Bernard et al., IEEE TMI 37, 2018): ED and ES frames of cardiac cine MRI with manual labels',
        'licence': 'CC BY-NC-SA 4.0, as the data: for research only, not for commerce. The code is Apache-2.0',
        'use': 'Research on the registration of short-axis cardiac cine MRI: deformation between two frames of a '
        'person, and where the network segments, both ventricles and the myocardium',
        'cannot': 'It cannot be relied on for diagnosis or treatment, was not tested on other scanners, views, organs '
        'or between persons, and does not move papillary muscles or valves on their own. Slices thicker than 10 mm or '
        'shifted between breath-holds are beyond it',
    },
    'phantom': {
        'data': 'Synthetic beating hearts that the package draws itself; no person was imaged',
        'licence': 'Apache-2.0, as the code',
        'use': 'Tests, tutorials, and a start for training on real images',
        'cannot': 'It cannot register real images: it has never seen any',
    },
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--run', type=Path, required=True, help='folder of an evaluated run')
    parser.add_argument('--name', required=True, help='what the weights are called')
    parser.add_argument('--split', default='validation', help='which evaluation the card quotes; default validation')
    parser.add_argument(
        '--processor-hours', type=float, help='of all training; those of an accelerator on one; default: not measured'
    )
    parser.add_argument('--before', nargs='*', default=[], help='commands whose results the run started from')
    parser.add_argument('--kind', choices=('best', 'latest'), help='which checkpoint; default as in evaluation')
    parser.add_argument('--out', type=Path, default=WEIGHTS, help='folder; default weights/')
    options = parser.parse_args(arguments)
    return run_command(
        lambda: ship(
            options.run,
            options.out / f'{options.name}.npz',
            split=options.split,
            hours=options.processor_hours,
            before=options.before,
            kind=options.kind,
        )
    )


def ship(
    run: Path, target: Path, *, split: str, hours: float | None, before: Sequence[str] = (), kind: str | None = None
) -> None:
    """Write weights, description and card.

    Args:
        run: Folder of an evaluated run.
        target: The npz.
        split: Whose evaluation the card quotes.
        hours: Processor hours of training, or hours of the accelerator that it ran on; None: not measured.
        before: Commands whose results the run started from.
        kind: 'best' or 'latest' checkpoint; default the best, or the latest where nothing was validated.

    Raises:
        UserError: The run was not evaluated, or other weights than those that are there now, or its data is not known.
        OSError: The folder cannot be written.
    """
    path = run / RESULT.format(split=split)
    if not path.is_file():
        raise UserError(f'{run} has no {path.relative_to(run)}', fix='evaluate the run with --mode=evaluate first')
    record: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
    if record['data']['dataset'] not in DATA:
        raise UserError(
            f'nothing is known of the data {record["data"]["dataset"]}', expected=f'one of {", ".join(DATA)}'
        )
    params, description = _evaluated(run, path, record, kind)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_released(target, params, description, np.float16)
    with replacing(target.with_suffix('.md')) as temporary:
        temporary.write_text(
            card(target, description, record, split=split, hours=hours, before=before), encoding='utf-8'
        )
    print(f'written: {target}, its description and its card')


def _evaluated(
    run: Path, path: Path, record: dict[str, Any], kind: str | None
) -> tuple[Mapping[str, np.ndarray], Description]:
    """The weights that the record is about, and what they are."""
    if record['steps'] is None:
        file = weights_file(record['weights']['file'])
        if not file.is_file() or file_hash(file) != record['weights']['sha256']:
            raise UserError(f'{file} is not the file that the evaluation in {path} is about', fix='evaluate it again')
        params, description = read_released(file)
        # Whoever took the weights out of a run may not have had its data, and they predict as they were evaluated.
        return params, dataclasses.replace(
            description,
            spacing_mm=description.spacing_mm or record['data']['spacing_mm'],
            inference=record['config']['inference'],
        )
    params, description = read_run(run / 'checkpoints' / kind if kind else run)
    if description.origin['step'] != record['steps']:
        raise UserError(
            f'the evaluation in {path} is one of step {record["steps"]}, the weights are those of '
            f'{description.origin["step"]}',
            fix='evaluate again',
        )
    return params, description


def card(
    target: Path,
    description: Description,
    record: dict[str, Any],
    *,
    split: str,
    hours: float | None,
    before: Sequence[str] = (),
) -> str:
    """Return the card of weights as Markdown.

    Args:
        target: The npz, written already.
        description: What the weights are.
        record: Of the run's evaluation.
        split: Which.
        hours: See `ship`.
        before: Commands whose results the run started from.
    """
    config, data = record['config'], record['data']
    about = DATA[data['dataset']]
    # Who evaluates a file does not know how many labels its training used.
    labels = 'with labels'
    if data.get('labelled_train_subjects') is not None:
        labels += ' of {labelled_train_subjects} of them'.format(**data)
    trained = labels if config['model'].get('num_classes') else 'without labels'
    model, inference = (
        ', '.join(f'{name}={value}' for name, value in config[part].items()) for part in ('model', 'inference')
    )
    # Weights that were evaluated as a file are the work of the commands before.
    trainings = (*before, *([] if record['steps'] is None else [_training_command(record)]))
    commands = '\n'.join(f'    {command}' for command in trainings)
    steps = '' if record['steps'] is None else f'{record["steps"]:,} steps of the last, '
    # That of the network's grid, which may be coarser than that of the data.
    spacing = description.spacing_mm or data['spacing_mm']
    # Cores are counted one by one, accelerators are named.
    devices = record['machine']['devices']
    unit = 'processor hours' if devices.endswith('x cpu') else f'hours on {devices}'
    time = f'about {hours:g} {unit} in all' if hours is not None else f'{unit} were not measured'
    return f"""# Weights `{target.stem}`

**Architecture.** `{config['method']}` with {record['parameters']:,} parameters, kept as float16, computed in float32;
{model}.
Prediction: {inference or 'without options'}. Images are scaled to [0, 1] by their own extremes; voxels should be about
{' x '.join(f'{size:g}' for size in spacing)} mm.

**Training data.** {about['data']}; {data['train_subjects']} subjects, {trained}.

**Licence.** {about['licence']}.

**Command.** Commit {record['commit']}, {steps}{time}:

{commands}

The resolved config is in `{target.stem}.json`.

**Scores.** {split} split, {len(data['evaluated_subjects'])} subjects that no training saw
({', '.join(data['evaluated_subjects'])}), network alone:

{_scores(record['scores'])}

**Intended use.** {about['use']}.

**What it cannot do.** {about['cannot']}.

**SHA-256** of `{target.name}`: `{file_hash(target)}`
"""


def _training_command(record: dict[str, Any]) -> str:
    return record['command'].replace(' --mode=evaluate', '')


def _scores(scores: dict[str, Any]) -> str:
    rows = [
        ('pairs', scores['pairs'], '{:d}'),
        ('DSC before, %', scores['dsc_before'], '{:.1f}'),
        ('DSC after, %', scores['dsc_after'], '{:.1f}'),
        ('NJD, %', scores['njd_percent'], '{:.4f}'),
        ('SDlogJ', scores['sdlogj'], '{:.3f}'),
    ]
    lines = ['| | mean |', '|:---|---:|']
    for name, value, form in rows:
        lines.append(f'| {name} | {form.format(_mean(value, percent="DSC" in name))} |')
    segmented = [about['segmentation_dsc'] for about in scores['structures'].values() if 'segmentation_dsc' in about]
    if segmented:
        mean = sum(_mean(value, percent=True) for value in segmented) / len(segmented)
        lines.append(f'| DSC of the segmentation, % | {mean:.1f} |')
    for name, about in scores['structures'].items():
        lines.append(f'| DSC after, {name}, % | {_mean(about["dsc_after"], percent=True):.1f} |')
    gates = scores.get('gate_means') or {}
    lines += [f'| {name}, weight of the fusion branch | {_mean(value):.3f} |' for name, value in gates.items()]
    return '\n'.join(lines)


def _mean(value: Any, *, percent: bool = False) -> Any:
    """Return the mean of a summary, in percent where the record has a share."""
    value = value['mean'] if isinstance(value, dict) else value
    return 100 * value if percent else value


if __name__ == '__main__':
    sys.exit(main())
