"""Search the learning rate of each family of methods, in short trainings scored on the validation split.

    python -m experiments.learning_rates --task=cardiac --data=prepared/acdc --grid=64,64,16 --steps=120 \\
        --schedule=cosine --warmup=20 --clip-norm=1 --workdir=runs/learning_rates --out=runs/learning_rates.json

One row of each family, a cheap one, is trained with each of a few learning rates and otherwise as
experiments.compare_methods trains it. The rate with the highest DSC after the last step is taken for the whole family,
among those that fold at most 0.5 % of the voxels; where all fold more, the one that folds least. The record is written
anew after every trial, and the same command goes on where it was interrupted. `compare_methods --rates` reads it.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from autofuse_jax.errors import DivergedError, UserError, run_command
from autofuse_jax.files import json_types, write_json
from autofuse_jax.provenance import provenance
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.config_checks import validate
from autofuse_jax.training.loop import train_and_evaluate
from experiments.comparison.rates import FAMILIES, LARGEST_NJD_PERCENT, Family, best_rate, is_complete
from experiments.comparison.recipe import add_recipe, recipe_differences, recipe_of, row_config
from experiments.comparison.row_runs import STOPPED_STATUS
from experiments.comparison.run_identity import fingerprint
from experiments.record_parser import record_parser

SPLIT = 'validation'
# What is kept of a trial.
SCORES = ('dsc_before', 'dsc_after', 'njd_percent', 'sdlogj')
ORIGIN = ('commit', 'machine', 'date')

Trials = dict[str, list[dict[str, Any]]]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    add_recipe(parser)
    parser.add_argument('--families', nargs='+', choices=tuple(FAMILIES), default=list(FAMILIES))
    parser.add_argument('--workdir', type=Path, required=True, help='keeps the trainings')
    # Validated once, after the last step, and scored on the same pairs.
    parser.set_defaults(validations=1, split=SPLIT)
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    enable_compilation_cache()
    recipe = recipe_of(options)
    families = _earlier_trials(options.out, recipe)
    names = [(name, rate) for name in options.families for rate in FAMILIES[name].rates]
    configs = {(name, rate): _config(FAMILIES[name], rate, options) for name, rate in names}
    for config in configs.values():
        validate(config)
    wanted = {fingerprint(config) for config in configs.values()}
    for name in options.families:
        # Rates and lengths that are not asked for any more do not count.
        families[name] = [trial for trial in families.get(name, []) if trial['config'] in wanted]
    for number, ((name, rate), config) in enumerate(configs.items(), 1):
        row, steps = FAMILIES[name].representative, FAMILIES[name].longer * options.steps
        if any(trial['config'] == fingerprint(config) for trial in families[name]):
            continue
        print(f'[{number}/{len(configs)}] {row} at {rate:g}', file=sys.stderr)
        outcome = _outcome(config, options.workdir / f'{row}_{rate:g}_{steps}')
        if outcome is None:
            return STOPPED_STATUS
        about = {'row': row, 'learning_rate': rate, 'steps': steps, 'config': fingerprint(config)}
        families[name].append(about | outcome)
        _write(options.out, recipe, families)
        # Each trial compiles programs of its own, which nobody needs any more.
        jax.clear_caches()
    rates = _write(options.out, recipe, families)['rates']
    hopeless = [name for name in options.families if FAMILIES[name].representative not in rates]
    if hopeless:
        raise UserError(
            f'every training of {", ".join(hopeless)} diverged',
            fix='try lower learning rates in experiments/comparison/rates.py, a longer --warmup or a smaller '
            '--clip-norm',
        )
    for name in options.families:
        print(f'{name}: {best_rate(families[name]):g}')
    return 0


def _config(family: Family, rate: float, options: argparse.Namespace) -> ConfigDict:
    """Return the config of a trial."""
    longer = argparse.Namespace(**vars(options) | {'steps': family.longer * options.steps})
    return row_config(family.representative, longer, rate)


def _outcome(config: ConfigDict, folder: Path) -> dict[str, Any] | None:
    """Train and score with one learning rate; None where a signal ended it."""
    try:
        means = train_and_evaluate(config, folder)
    except DivergedError as error:
        print(f'diverged: {error}', file=sys.stderr)
        scores = {'diverged': True}
    else:
        if means is None:
            return None
        scores = {'diverged': False} | {score: means[score] for score in SCORES}
    about = provenance()
    return scores | {field: about[field] for field in ORIGIN}


def _earlier_trials(path: Path, recipe: dict[str, Any]) -> Trials:
    """Return the trials of the record by family; none where there is no record.

    Raises:
        UserError: It is no record of a search, or one of another recipe.
    """
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
        trials = {name: family['trials'] for name, family in record['families'].items()}
        differences = recipe_differences(record['recipe'], recipe)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{path} is no record of a search ({error})', fix='correct --out') from error
    if differences:
        raise UserError(f'{path} was made with another recipe: {differences}', fix='use another --out')
    return trials


def _write(path: Path, recipe: dict[str, Any], families: Trials) -> dict[str, Any]:
    """Write and return the record of the trials so far."""
    chosen = {
        name: best_rate(trials) if is_complete(FAMILIES[name], trials) else None for name, trials in families.items()
    }
    record = provenance() | {
        'recipe': recipe,
        'split': SPLIT,
        'largest_njd_percent': LARGEST_NJD_PERCENT,
        'families': {
            name: {'rows': FAMILIES[name].rows, 'learning_rate': chosen[name], 'trials': trials}
            for name, trials in families.items()
        },
        'rates': {row: rate for name, rate in chosen.items() if rate is not None for row in FAMILIES[name].rows},
    }
    write_json(path, json_types(record))
    return record


if __name__ == '__main__':
    sys.exit(main())
