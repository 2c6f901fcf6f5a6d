"""Descents of a linear map at levels from coarse to fine, and the records that they leave."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from autofuse_jax.data.intensity import window_normalise
from autofuse_jax.data.volumes import Volume
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.alignment_loss import Frame, alignment_data, alignment_loss
from autofuse_jax.registration.linear_maps import world_matrix
from autofuse_jax.registration.minimise import Schedule, minimise, say_step
from autofuse_jax.registration.pyramid import Level, make_level, pad_alike
from autofuse_jax.registration.quasi_newton import minimise_few

# First step of the exact end, in voxels: Adam has come this near.
EXACT_STEP = 0.015
# Of a map: three numbers each of translation, rotation, scale and shear.
PARAMETERS = 12


class Descents:
    """The levels of a pair, and the descents at them.

    Attributes:
        levels: The fixed and the moving image at each level.
        frame: Centre and radius of the parameters.
        stages: Records of all descents so far: name, seconds, steps, loss_first, loss_last, stopped.
        measure: What is maximised, as given.
        in_plane: Whether planes stay where they are, as given.

    Args:
        volumes: The fixed and the moving image.
        spacings: Voxel sizes of the levels, millimetres.
        steps: Largest number of steps of each level.
        measure: What is maximised, 'ncc' or 'mi'.
        learning_rate: Millimetres of the first step of a level, as a share of its voxel size.
        tolerance: Tolerance of `Schedule`.
        in_plane: Whether planes across the third axis of the world stay where they are.
        on_progress: Callback (stage, steps done, steps at most, loss); None: nobody listens.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        spacings: Sequence[float],
        steps: Sequence[int],
        measure: str,
        *,
        learning_rate: float,
        tolerance: float,
        in_plane: bool,
        on_progress: OnProgress | None,
    ):
        self.measure, self.in_plane = measure, in_plane
        self._spacings, self._steps, self._learning_rate, self._tolerance = spacings, steps, learning_rate, tolerance
        self._say = on_progress or (lambda *_: None)
        normalised = [window_normalise(volume) for volume in volumes]
        self.levels = [[make_level(volume, spacing) for volume in normalised] for spacing in spacings]
        # So that both directions share what is compiled for the coarsest level.
        self.levels[0] = pad_alike(self.levels[0])
        fixed = normalised[0]
        radius = float(np.linalg.norm(np.asarray(fixed.grid.shape) * fixed.spacing) / 4)
        self.frame = Frame(self.levels[0][0].centre_of_mass_mm(), radius)
        self.stages: list[dict[str, Any]] = []

    def at(
        self,
        number: int,
        matrix: np.ndarray,
        kind: str,
        why: str = '',
        *,
        level: Sequence[Level] | None = None,
        frame: Frame | None = None,
    ) -> np.ndarray:
        """Descend from a map at a level by Adam.

        Args:
            number: Number of the level, from 0.
            matrix: (4, 4), map to start from.
            kind: Kind of map.
            why: What the descent is for; begins the name of its record.
            level: The images in another order; default those of the level.
            frame: The frame that belongs to them; default the pair's.

        Returns:
            The map that is reached.
        """
        level, frame = level or self.levels[number], frame or self.frame
        spacing, steps = self._spacings[number], self._steps[number]
        name = f'{why}{kind} at {spacing:.3g} mm'
        size = max(min(level[0].grid.spacing), spacing / 2)
        schedule = Schedule(steps, self._learning_rate * size, self._tolerance)
        minimum = minimise(
            alignment_loss,
            jnp.zeros(PARAMETERS, jnp.float32),
            alignment_data(level, matrix, frame, kind, in_plane=self.in_plane),
            self.measure,
            schedule,
            functools.partial(say_step, self._say, name, schedule.most_steps),
        )
        self.stages.append(minimum.stage(name))
        return world_matrix(np.asarray(minimum.params), frame.radius, frame.centre, matrix)

    def exact_end(self, matrix: np.ndarray, kind: str, steps: int) -> np.ndarray:
        """Go the rest of the way at the finest level by L-BFGS.

        Args:
            matrix: (4, 4), map to start from.
            kind: Kind of map.
            steps: Largest number of evaluations of the loss.

        Returns:
            The map that is reached.
        """
        level, frame = self.levels[-1], self.frame
        name = f'{kind} at {self._spacings[-1]:.3g} mm, exactly'
        minimum = minimise_few(
            alignment_loss,
            np.zeros(PARAMETERS, np.float32),
            alignment_data(level, matrix, frame, kind, in_plane=self.in_plane),
            self.measure,
            steps=steps,
            first_step=EXACT_STEP * min(level[0].grid.spacing),
            on_loss=functools.partial(say_step, self._say, name, steps),
        )
        self.stages.append(minimum.stage(name))
        return world_matrix(minimum.params, frame.radius, frame.centre, matrix)
