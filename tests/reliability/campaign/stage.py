"""The stage of the campaign: small images, data sets and results, and the commands that work on them."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autofuse_jax.data.volumes import write_image, write_labels
from tests.evaluation.made_results import write_results
from tests.light import LIGHT, METHOD
from tests.preparation.acdc_trees import make_flat
from tests.reliability.campaign.contents import facts_of
from tests.reliability.campaign.processes import ask, start
from tests.tiny import arguments_of

SHAPE = (24, 20, 16)
AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])
# A registration whose time goes into files, not into compiling.
QUICK = ('--no-deform', '--similarity=ncc', '--start=header')
NETWORK_SIZE = '16,16,16'
SUBJECTS = ('patient001', 'patient002', 'patient003')


@dataclasses.dataclass(frozen=True)
class Job:
    """A command of which a trial is made.

    Attributes:
        name: Name of the command, with what matters of its options.
        command: Function that returns module and arguments of the command for a folder of results.
        earlier: Function that returns the command whose results are there before; None: nothing is there.
        in_place: Whether results that take the place of others move in one by one, and wait complete where one is
            killed meanwhile; default: folders are exchanged as a whole.
        adds: Whether the command adds to what is there, and goes on with what a killed one has done.
    """

    name: str
    command: Callable[[Path], list[str]]
    earlier: Callable[[Path], list[str]] | None = None
    in_place: bool = False
    adds: bool = False


class Stage:
    """Makes inputs once, and starts commands.

    Args:
        root: Folder of the inputs and of everything that commands print.
    """

    def __init__(self, root: Path):
        self.root = root
        self.logs = root / 'logs'
        self.data = root / 'data'
        self._number = 0
        self._facts: dict[str, dict[str, str]] = {}

    def make(self) -> None:
        """Make the inputs of all commands, but weights."""
        for name, shift in (('fixed', 0.0), ('moving', 1.2), ('other', -1.5)):
            image = _ball(shift)
            write_image(self.data / f'{name}.nii.gz', image, AFFINE)
            write_labels(self.data / f'{name}_seg.nii.gz', (image > 60).astype(np.uint8), AFFINE)
        make_flat(self.data / 'acdc', SUBJECTS)
        write_results(self.data / 'ours', {'one': 2.0, 'two': 1.0, 'three': 1.5}, self.data / 'images')
        write_results(self.data / 'other', {'one': 0.0, 'two': 0.5, 'three': 0.0}, self.data / 'images')

    def log(self) -> Path:
        """Return a new file for what a process prints."""
        self._number += 1
        return self.logs / f'{self._number:05d}.txt'

    def start(self, command, before=lambda: None):
        """Start a command, see `processes.start`."""
        return start(command, self.log(), before)

    def make_weights(self) -> None:
        """Make the weights of a small network that some commands work on, unless they are there."""
        if not (self.data / 'weights.npz').exists():
            ask(_write_weights, self.data, log=self.log())

    def folder(self, name: str) -> Path:
        """Return a new folder for a trial."""
        self._number += 1
        folder = self.root / 'trials' / f'{self._number:05d}_{name.replace(" ", "_")}'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def run(self, command: list[str]) -> None:
        """Run a command that must succeed.

        Raises:
            RuntimeError: It does not.
        """
        running = self.start(command)
        if running.end() != 0:
            raise RuntimeError(f'{" ".join(command)} ended with {running.end()}: {running.text[-2000:]}')

    def facts(self, job: Job) -> dict[str, str]:
        """Return what the results of an uninterrupted command hold, see `facts_of`; it is run once."""
        if job.name not in self._facts:
            folder = self.folder(f'reference_{job.name}')
            self.run(job.command(folder / 'out'))
            self._facts[job.name] = facts_of(folder / 'out')
            shutil.rmtree(folder)
        return self._facts[job.name]

    def registration(self, moving: str, *options: str) -> Callable[[Path], list[str]]:
        """Return the command that registers two images; the names of its results are the same for all of them."""
        files = [
            f'--{role}{suffix}={self.data / name}{ending}.nii.gz'
            for role, name in (('fixed', 'fixed'), ('moving', moving))
            for suffix, ending in (('', ''), ('-labels', '_seg'))
        ]
        return lambda out: ['autofuse_jax.register', *files, *QUICK, f'--out={out}', *options]

    def evaluation(self, results: str, *options: str) -> Callable[[Path], list[str]]:
        """Return the command that scores results of registrations."""
        return lambda out: ['autofuse_jax.evaluate', str(self.data / results), f'--out={out}', *options]

    def preparation(self, *options: str) -> Callable[[Path], list[str]]:
        """Return the command that prepares a small data set."""
        source = [f'--source={self.data / "acdc"}', '--shape=16,16,4', '--spacing=1.5,1.5,6.3']
        return lambda out: ['autofuse_jax.prepare', '--dataset=acdc', *source, f'--out={out}', *options]

    def porting(self, weights: str, *options: str) -> Callable[[Path], list[str]]:
        """Return the command that writes weights under another name."""
        source = self.data / f'{weights}.npz'
        return lambda out: [
            'autofuse_jax.port_weights',
            f'--from={source}',
            f'--to={out / "net.npz"}',
            '--naming=ours',
            *options,
        ]

    def exporting(self, weights: str) -> Callable[[Path], list[str]]:
        """Return the command that exports a network."""
        source = [f'--weights={self.data / weights}.npz', f'--size={NETWORK_SIZE}', '--platforms=cpu']
        return lambda out: ['autofuse_jax.export', *source, f'--to={out / "net.stablehlo"}']

    def application(self, image: str, *options: str) -> Callable[[Path], list[str]]:
        """Return the command that applies a transform."""
        transform = self.data / 'ours' / 'one' / 'forward_voxel.nii.gz'
        images = self.data / 'images' / image
        files = [f'--transform={transform}', f'--image={images / "moving.nii.gz"}']
        files.append(f'--labels={images / "moving_seg.nii.gz"}')
        return lambda out: ['autofuse_jax.apply_transform', *files, f'--out={out}', '--convention=voxel', *options]

    def training(self, workdir: Path) -> list[str]:
        """Return the command that trains a small network."""
        values = LIGHT | {
            'data.phantom.shape': (16, 16, 16),
            'training.check_memory': False,
            'training.compilation_cache': str(self.root / 'compiled'),
        }
        return ['autofuse_jax.main', *arguments_of('tests/light.py', values, workdir.parent / 'phantom', workdir, {})]

    def jobs(self) -> dict[str, Job]:
        """Return the commands by name, but training."""
        jobs = [
            Job('register', self.registration('moving', '--align=translation')),
            Job(
                'register --overwrite',
                self.registration('moving', '--align=none', '--overwrite'),
                self.registration('other', '--align=none'),
            ),
            Job('evaluate', self.evaluation('ours')),
            Job('evaluate --overwrite', self.evaluation('ours', '--overwrite'), self.evaluation('other')),
            Job('prepare', self.preparation('--workers=1'), adds=True),
            Job(
                'prepare --overwrite',
                self.preparation('--workers=1', '--overwrite'),
                self.preparation('--workers=1', '--spacing=2,2,6.3'),
                in_place=True,
            ),
            Job('prepare --workers=2', self.preparation('--workers=2'), adds=True),
            Job('port_weights', self.porting('weights'), in_place=True),
            Job(
                'port_weights --overwrite',
                self.porting('weights', '--overwrite'),
                self.porting('other_weights'),
                in_place=True,
            ),
            Job('export', self.exporting('weights'), self.exporting('other_weights'), in_place=True),
            Job('apply', self.application('one'), in_place=True),
            Job('apply --overwrite', self.application('one', '--overwrite'), self.application('three'), in_place=True),
        ]
        return {job.name: job for job in jobs}


def _write_weights(folder: Path) -> None:
    """Write two sets of weights of a small network, which needs jax."""
    from autofuse_jax.weights.released import Description, write_released
    from tests.porting.small import params_of

    options = {'base_channels': 2}
    for seed, name in enumerate(('weights', 'other_weights')):
        write_released(folder / f'{name}.npz', params_of(METHOD, options, seed), Description(METHOD, options))


def _ball(shift: float) -> np.ndarray:
    """An ellipsoid with a texture, moved along the first axis by so many voxels."""
    z, y, x = np.meshgrid(*(np.arange(size, dtype=np.float32) for size in SHAPE), indexing='ij')
    z = z - shift
    distance = ((z - 12) / 8) ** 2 + ((y - 10) / 6) ** 2 + ((x - 8) / 5) ** 2
    return (100 / (1 + np.exp(8 * (distance - 1))) * (1 + 0.3 * np.sin(z) * np.cos(y))).astype(np.float32)
