"""Maps of what the fusion gates of a network take from where, for two images of any grid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from autofuse_jax.data.volumes import Volume, write_image
from autofuse_jax.registration.working_grid import on_grid, working_grid
from autofuse_jax.transforms.grids import ImageGrid, canonical_grid, resize_grid
from autofuse_jax.transforms.maps import Transform
from autofuse_jax.weights.pretrained import RegistrationModel

# Between the name of a gate and the ending of its file.
FILE_ENDING = '_w_fuse.nii.gz'
# Shares of the weights that lie below what a report names.
PERCENTILES = (5, 50, 95)


class GateMap(NamedTuple):
    """The weights of one gate.

    Attributes:
        name: Name of the gate: 'gate_2' to 'gate_5' lie on the way down to a sixteenth of the resolution, 'gate_6' to
            'gate_8' on the way back.
        weights: float32 (d, h, w, C) in [0, 1], w_fuse of each voxel and channel: 1 takes everything from the fusion
            branch, 0 everything from the branches of the single images.
        grid: Grid of its voxels.
    """

    name: str
    weights: np.ndarray
    grid: ImageGrid

    @property
    def image(self) -> np.ndarray:
        """float32 (d, h, w), the mean over the channels."""
        return self.weights.mean(axis=-1)


def gate_maps(model: RegistrationModel, fixed: Volume, moving: Volume, lead: Transform) -> tuple[GateMap, ...]:
    """Run a network on a pair, as `network.network_field` does, and return the weights of its gates.

    Args:
        model: A network with gates.
        fixed: The fixed image, any grid.
        moving: The moving image, any grid.
        lead: Transform from the fixed to the moving world before the network.

    Returns:
        One a gate, in the order of the network.

    Raises:
        UserError: The network has no gates.
    """
    grid = working_grid(canonical_grid(fixed.grid), spacing=model.description.spacing_mm)
    weights = model.gate_weights(
        on_grid(fixed.image, fixed.affine, grid), on_grid(moving.image, moving.affine, grid, lead)
    )
    # The network pads at the far ends; its gates cover the padded grid.
    multiple = model.method.multiple
    padded = ImageGrid(tuple(size + -size % step for size, step in zip(grid.shape, multiple, strict=True)), grid.affine)
    return tuple(
        GateMap(name, weight, resize_grid(padded, weight.shape[:3])) for name, weight in sorted(weights.items())
    )


def gate_numbers(one: GateMap) -> dict[str, Any]:
    """Return the spread of a gate's weights over its voxels and channels.

    Args:
        one: The gate.

    Returns:
        'mean'; 'deviation_over_voxels', of the means over channels; 'deviation', of all weights; 'percentiles' of all
        weights by their share in percent; 'shape' (d, h, w, C).
    """
    weights = one.weights.astype(np.float64)
    return {
        'mean': float(weights.mean()),
        'deviation_over_voxels': float(weights.mean(axis=-1).std()),
        'deviation': float(weights.std()),
        'percentiles': {str(share): float(np.percentile(weights, share)) for share in PERCENTILES},
        'shape': list(weights.shape),
    }


def write_gate_maps(folder: Path, maps: Sequence[GateMap]) -> dict[str, dict[str, Any]]:
    """Write the mean over channels of each gate as NIfTI on its own grid.

    Args:
        folder: Folder of the results.
        maps: The gates.

    Returns:
        Result of `gate_numbers` of each by name, with 'file'.
    """
    record = {}
    for one in maps:
        name = f'{one.name}{FILE_ENDING}'
        write_image(folder / name, one.image, one.grid.affine)
        record[one.name] = gate_numbers(one) | {'file': name}
    return record
