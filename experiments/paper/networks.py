"""Trained networks on prepared data: which is named on the command line, its pairs, and the slice that is shown."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.manifests import Manifest, read_manifest
from autofuse_jax.data.open_dataset import open_dataset
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.data.pairs import Pair
from autofuse_jax.errors import UserError
from autofuse_jax.reports.display import Display, display_of
from autofuse_jax.weights.pretrained import RegistrationModel, load_model
from autofuse_jax.weights.shipped import weights_file

PHANTOM = 'phantom'
# Between the weights and the data that they are run on.
SEPARATOR = '@'
HEARTS, BRAINS = 'ed_es', 'inter_fixed'


@dataclasses.dataclass(frozen=True)
class NamedNetwork:
    """Weights and the data that they are run on.

    Attributes:
        path: Weights: a file or a name that ships; of a run, its folder.
        manifest: The data.
        split: Split that is run.
    """

    path: Path
    manifest: Manifest
    split: str

    @property
    def name(self) -> str:
        """Name in tables."""
        return self.path.stem

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Pairs of the split: both directions of ED and ES, or of brains as the paper does, always the same."""
        everyone = frozenset(subject.id for subject in self.manifest.subjects)
        subjects = self.manifest.subjects_of(self.split)
        hearts = all(subject.frame_of_phase('ED') and subject.frame_of_phase('ES') for subject in subjects)
        return tuple(pair_source(HEARTS if hearts else BRAINS, self.manifest, self.split, everyone).anchors)

    def model(self) -> RegistrationModel:
        """Load the network."""
        return load_model(self.path)


def named_network(text: str, data: Path | None, split: str | None, phantoms: Path) -> NamedNetwork:
    """Open what --networks names.

    Args:
        text: WEIGHTS or WEIGHTS@DATA; DATA is a prepared folder, or 'phantom': that of the training of the weights.
        data: Prepared folder where the text names none.
        split: Split to run; None: test, or validation where there is no test split.
        phantoms: Folder where phantoms are made.

    Raises:
        UserError: There are no such weights or data.
    """
    weights, _, place = text.partition(SEPARATOR)
    if not place and data is None:
        raise UserError(f'--networks {text} names no data', fix=f'write {weights}{SEPARATOR}FOLDER, or add --data')
    if place == PHANTOM:
        config = load_model(weights).description.config or {}
        manifest = open_dataset(PHANTOM, phantoms, dict(config.get('data', {}).get(PHANTOM, {})))
    else:
        manifest = read_manifest(place or data)
    path = Path(weights)
    path = path if path.is_dir() else weights_file(path)
    return NamedNetwork(path, manifest, split or ('test' if manifest.subjects_of('test') else 'validation'))


@dataclasses.dataclass(frozen=True)
class Plane:
    """The plane of a volume that is drawn: across its third axis, turned to the patient's sides.

    Attributes:
        display: How the axes of the volume are turned.
        index: Slice along the display axis across the plane.
    """

    display: Display
    index: int

    @property
    def axis(self) -> int:
        """Display axis across the plane: that of the file's third axis, along which hearts have their slices."""
        return int(self.display.transform[2, 0])

    def cut(self, volume: np.ndarray) -> np.ndarray:
        """Return the plane (rows, columns) of a volume over the same field of view, of any size."""
        turned = self.display.volume(volume)
        depth = turned.shape[self.axis]
        level = min(depth - 1, self.index * depth // self.display.shape[self.axis])
        return self.display.view(self.axis, level).cut(turned)


def plane_of_labels(affine: np.ndarray, labels: np.ndarray) -> Plane:
    """Return the plane in which most voxels have a label.

    Args:
        affine: (4, 4) of the volume.
        labels: Integer (D, H, W), or another volume that is above 0 where there is something to see.
    """
    display = display_of(affine, labels.shape)
    axis = int(display.transform[2, 0])
    counts = (display.volume(labels) > 0).sum(tuple(other for other in range(3) if other != axis))
    return Plane(display, int(np.argmax(counts)))


def chosen_pair(pairs: tuple[Pair, ...], name: str | None) -> int:
    """Return the position of the pair that is drawn.

    Args:
        pairs: The pairs of a split.
        name: Its name; None: the first.

    Raises:
        UserError: There is no such pair.
    """
    names = [pair.name for pair in pairs]
    if name is None:
        return 0
    if name not in names:
        raise UserError(f'there is no pair {name}', expected=f'one of {", ".join(names[:8])}', fix='correct --pair')
    return names.index(name)


def bytes_of(plane: np.ndarray, window: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """Return grey values of a window as 256 steps, small in a file."""
    low, high = window
    return np.clip(np.rint(255 * (plane - low) / max(high - low, 1e-9)), 0, 255).astype(np.uint8)


def data_words(network: NamedNetwork) -> str:
    """Return the data of a network in words."""
    return f'{network.manifest.dataset}, {network.split} split'


def mean_of(values: list[Mapping[str, Any]], name: str) -> float:
    """Return the mean of an entry over dictionaries."""
    return float(np.mean([value[name] for value in values]))
