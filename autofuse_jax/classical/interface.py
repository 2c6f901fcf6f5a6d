"""What all classical methods have in common: how they are called, whether they can run here, and what they refuse."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.errors import UserError

# (fixed, moving, settings) -> labels of the moving volume on the fixed grid or None, displacement, seconds.
Register = Callable[[Volume, Volume, Any], tuple[np.ndarray | None, np.ndarray, dict[str, float]]]


@dataclasses.dataclass(frozen=True)
class Availability:
    """Whether a method can run here; true or false as a condition.

    Attributes:
        reason: Sentences on why it cannot run and what to do; empty where it can.
    """

    reason: str = ''

    def __bool__(self) -> bool:
        return not self.reason


@dataclasses.dataclass(frozen=True)
class ClassicalMethod:
    """A registration program without training.

    Attributes:
        title: Its name in sentences and tables.
        settings: Dataclass of its settings, all with defaults.
        register: (fixed, moving, settings) -> labels of the moving volume on the fixed grid, (D, H, W), or None where
            it has none; displacement (D, H, W, 3) in voxels of the fixed grid, pull direction; 'seconds' and
            'processor_seconds' of the registration alone.
        check: (settings) -> None; raises `UserError` where the method cannot run with them.
    """

    title: str
    settings: type
    register: Register
    check: Callable[[Any], object]

    def available(self, settings: Any = None) -> Availability:
        """Tell whether the method can run here, and if not why.

        Args:
            settings: Its settings; default None takes the defaults.
        """
        try:
            self.check(self.settings() if settings is None else settings)
        except UserError as error:
            return Availability(str(error))
        return Availability()


def check_images(fixed: Volume, moving: Volume) -> None:
    """Refuse a series in place of an image.

    Raises:
        UserError: One of the volumes has frames.
    """
    for role, volume in (('fixed', fixed), ('moving', moving)):
        if volume.image.ndim != 3:
            raise UserError(
                f'the {role} volume {volume.name} has shape {volume.image.shape}',
                expected='one image, (D, H, W)',
                fix='choose one frame of the series',
            )
