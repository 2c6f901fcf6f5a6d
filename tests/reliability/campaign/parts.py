"""Parts of the campaign, what each is made of, and the record of all."""

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from autofuse_jax.files import json_types, write_json
from autofuse_jax.provenance import provenance
from tests.reliability.campaign import disks, hostile, kills, loops, neighbours, networks
from tests.reliability.campaign.outcomes import FAULTS, Trial, counts, faults_of
from tests.reliability.campaign.processes import ask, import_modules
from tests.reliability.campaign.stage import Stage
from tests.reliability.campaign.trainings import Trainings

COMMAND = 'python -m tests.reliability.campaign.run'
# What the commands import when they run; the packages below them come along.
MODULES = (
    *(f'autofuse_jax.{name}' for name in ('main', 'register', 'prepare', 'evaluate', 'port_weights', 'export')),
    *(f'autofuse_jax.commands.{name}' for name in ('register', 'prepare', 'evaluate', 'port_weights', 'export')),
    *(f'autofuse_jax.training.{name}' for name in ('loop', 'run_parameters', 'network_runs')),
    *('autofuse_jax.apply_transform', 'autofuse_jax.commands.apply_transform', 'autofuse_jax.evaluation.open_run'),
)
# Jobs by what a trial of them costs; how often each is tried at a share of 1.
CHEAP = (
    'evaluate',
    'evaluate --overwrite',
    'prepare',
    'prepare --overwrite',
    'apply',
    'apply --overwrite',
    'port_weights --overwrite',
)
DEAR = ('register', 'register --overwrite', 'port_weights', 'export', 'prepare --workers=2')
CHEAP_KILLS, DEAR_KILLS, TRAINING_KILLS = 12, 6, 24
DISKS, DAMAGED, FLIPPED, FLIPPED_NETWORKS, MEETINGS, READINGS = 2, 24, 24, 48, 2, 1
MEETING = ('evaluate --overwrite', 'prepare', 'register --overwrite', 'port_weights')

# Trials, what was skipped and why, and what was measured beside.
Outcome = tuple[list[Trial], list[str], dict[str, Any]]


class Campaign:
    """All parts of one campaign.

    Args:
        stage: The stage.
        trainings: Makes trainings.
        options: Options of the command line.
    """

    def __init__(self, stage: Stage, options: argparse.Namespace):
        self._stage, self._options, self._trainings = stage, options, Trainings(stage)

    def _times(self, count: int) -> int:
        return max(1, round(count * self._options.share))

    def kills(self, rng: random.Random) -> Outcome:
        """Commands are killed that need no compiling."""
        return kills.kill_commands(self._stage, CHEAP, self._times(CHEAP_KILLS), rng), [], {}

    def dear_kills(self, rng: random.Random) -> Outcome:
        """Commands are killed that compile or start processes of their own."""
        return kills.kill_commands(self._stage, DEAR, self._times(DEAR_KILLS), rng), [], {}

    def training(self, rng: random.Random) -> Outcome:
        """Trainings are killed."""
        return self._trainings.kill(self._times(TRAINING_KILLS), rng), [], {}

    def disks(self, rng: random.Random) -> Outcome:
        """Disks are full, folders cannot be written."""
        trials = disks.fill_disks(self._stage, (*CHEAP, *DEAR[:4]), self._times(DISKS), rng)
        return trials, [] if disks.can_mount() else ['small disks: only root may make them'], {}

    def hostile(self, rng: random.Random) -> Outcome:
        """Files are damaged."""
        return *hostile.read_hostile(self._stage, self._times(DAMAGED), rng), {}

    def flips(self, rng: random.Random) -> Outcome:
        """Single bits are flipped in what has a checksum."""
        trials, skipped = hostile.read_flipped(self._stage, self._times(FLIPPED), rng)
        return trials, skipped, {}

    def networks(self, rng: random.Random) -> Outcome:
        """Single bits are flipped in checkpoints and exports."""
        run = self._trainings.folder()
        self._stage.run(self._trainings.command(run))
        return networks.flip_networks(self._stage, run, self._times(FLIPPED_NETWORKS), rng), [], {}

    def neighbours(self, rng: random.Random) -> Outcome:
        """Two commands meet."""
        return neighbours.meet(self._stage, MEETING, self._times(MEETINGS), rng), [], {}

    def readers(self, rng: random.Random) -> Outcome:
        """A run is read, and trained once more, while it trains."""
        return neighbours.read_while_training(self._trainings, self._times(READINGS), rng), [], {}

    def loops(self, rng: random.Random) -> Outcome:
        """Images of many sizes are registered in one process."""
        del rng
        trials, measured = loops.register_many_sizes(self._stage, self._options.sizes)
        return trials, [], measured


# In the order in which they run: what finds most a minute comes first.
PARTS: dict[str, Callable[[Campaign, random.Random], Outcome]] = {
    'hostile files': Campaign.hostile,
    'flipped bits': Campaign.flips,
    'kills of commands': Campaign.kills,
    'neighbours': Campaign.neighbours,
    'full disks': Campaign.disks,
    'kills of registrations and networks': Campaign.dear_kills,
    'kills of training': Campaign.training,
    'flipped networks': Campaign.networks,
    'readers of a training': Campaign.readers,
    'long loops': Campaign.loops,
}


def run_parts(options: argparse.Namespace, root: Path) -> int:
    """Run parts of the campaign and write their record; see `run.main`."""
    started = time.monotonic()
    import_modules(MODULES)
    # Children inherit where compiled programs are kept: all of them, so that each is compiled once.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    stage = Stage(root)
    about = ask(provenance, log=stage.log()) | {'command': f'{COMMAND} --seed={options.seed}'}
    stage.make()
    stage.make_weights()
    campaign = Campaign(stage, options)
    record = about | {'seed': options.seed, 'parts': {}}
    if options.resume and options.out.is_file():
        record['parts'] = json.loads(options.out.read_text(encoding='utf-8'))['parts']
    for part in options.only:
        if part in record['parts']:
            continue
        begun = time.monotonic()
        trials, skipped, measured = PARTS[part](campaign, random.Random(f'{options.seed} {part}'))
        # Parts may be of several invocations.
        counted = counts(trials) | {'share': options.share, 'commit': about['commit']}
        counted['seconds'] = round(time.monotonic() - begun, 1)
        record['parts'][part] = counted | {'skipped': skipped, 'faults': faults_of(trials), 'measured': measured}
        record['all'] = _total(record['parts'])
        write_json(options.out, json_types(record))
        print(f'{part}: {_words(counted)}', flush=True)
    total = _total(record['parts'])
    print(f'{_words(total)}; {(time.monotonic() - started) / 60:.0f} minutes; {options.out}')
    return int(any(total[fault] for fault in FAULTS))


def _total(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: sum(part[name] for part in parts.values()) for name in ('trials', *FAULTS, 'seconds')}


def _words(counted: dict[str, Any]) -> str:
    faults = ', '.join(f'{counted[fault]} {fault.replace("_", " ")}' for fault in FAULTS)
    return f'{counted["trials"]} trials: {faults}, {counted["seconds"]:.0f} s'
