"""Flipped bits in what holds a trained network: checkpoints and exports."""

import json
import random
import shutil
from pathlib import Path

from autofuse_jax.deployment.artefacts import load_exported
from tests.reliability.campaign.damage import flipped_bit
from tests.reliability.campaign.hostile import FLIPS, check_reading, in_a_process, try_reading
from tests.reliability.campaign.outcomes import Trial, trial
from tests.reliability.campaign.stage import Stage

CHECKPOINTS, EXPORTS = 'checkpoints', 'exports'


def flip_networks(stage: Stage, run: Path, each: int, rng: random.Random) -> list[Trial]:
    """Flip single bits in the checkpoints of a run and in an exported network, so many in each.

    Args:
        stage: The stage.
        run: A run that has ended; it stays as it is.
        each: Number of bits of each kind.
        rng: Source of the places.

    Returns:
        The trials.
    """
    out = stage.folder('export') / 'out'
    stage.run(stage.jobs()['export'].command(out))
    seeds = [rng.randrange(2**32) for _ in range(2)]
    trials = in_a_process(stage, FLIPS, CHECKPOINTS, each, (run, each, seeds[0]), flip_checkpoints)
    return trials + in_a_process(stage, FLIPS, EXPORTS, each, (out, each, seeds[1]), flip_exports)


def flip_checkpoints(folder: Path, run: Path, each: int, seed: int) -> list[Trial]:
    """Flip bits in any file of a run's checkpoints, and load the state and the best parameters."""
    import jax

    from autofuse_jax.training import checkpoints
    from autofuse_jax.training.checksums import leaf_names
    from autofuse_jax.training.experiment import Experiment
    from tests.reliability.campaign.trainings import config_of

    copied = folder / 'run'
    shutil.copytree(run, copied)
    structure = Experiment(config_of(run), run).state_structure()
    layout = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def read():
        state, record = checkpoints.restore(copied, structure, layout)
        best, best_record, step = checkpoints.load_params(copied, structure.params, layout)
        arrays = leaf_names({'state': state, 'best': best})
        facts = json.dumps([record, best_record, step], sort_keys=True)
        return [facts, [(name, jax.device_get(leaf)) for name, leaf in sorted(arrays.items())]]

    files = [path for path in sorted((copied / 'checkpoints').rglob('*')) if path.is_file() and path.stat().st_size]
    return _flip(CHECKPOINTS, files, read, each, seed)


def flip_exports(folder: Path, out: Path, each: int, seed: int) -> list[Trial]:
    """Flip bits in the program of an exported network, and load it."""
    shutil.copytree(out, folder / 'out')
    network = folder / 'out' / 'net.stablehlo'
    return _flip(EXPORTS, [network], lambda: json.dumps(load_exported(network).record), each, seed)


def _flip(name: str, files: list[Path], read, each: int, seed: int) -> list[Trial]:
    rng, trials = random.Random(seed), []
    original = try_reading(read)
    for _ in range(each):
        # Large files have more bits to flip.
        path = (
            rng.choices(files, [file.stat().st_size for file in files])[0] if rng.random() < 0.5 else rng.choice(files)
        )
        content = path.read_bytes()
        with trial(trials, FLIPS, name, f'{path.name} of seed {seed}') as one:
            path.write_bytes(flipped_bit(content, rng))
            check_reading(one, read, original)
        path.write_bytes(content)
    return trials
