"""One subject of the cine phantom: its frames with exact labels, and the known motion between any two of them.

Coordinates and shapes live in `phantom_anatomy`, the heart beat in `phantom_motion`.
"""

import dataclasses

import numpy as np

from autofuse_jax.data.phantom_anatomy import Anatomy, random_anatomy, reference_image, reference_labels
from autofuse_jax.data.phantom_motion import Motion, from_reference, random_motion, to_reference
from autofuse_jax.errors import UserError

# Systole takes about two fifths of a heart beat at rest.
SYSTOLE_FRACTION = 0.4
SMALLEST_SIZE = 8


@dataclasses.dataclass(frozen=True)
class Phantom:
    """One phantom subject.

    Attributes:
        anatomy: Shape and brightness at the end of diastole.
        motion: Strength of the heart beat.
        frames: Number of frames in the cycle, at least 2. Frame 1 is the end of diastole.
        shape: (D, H, W) in voxels.
        spacing: Voxel size along (D, H, W), in millimetres.
        blood_gains: (frames,) factors on the brightness of blood.
        tissue_gains: (frames,) factors on the brightness of the myocardium.
        bias: (3, 3) logarithm of the bias field: rows are slope, curvature and change of slope per frame, columns axes.
        noise: Standard deviation of the noise, relative to a brightness of 1.
        noise_seed: Seed of the noise.
    """

    anatomy: Anatomy
    motion: Motion
    frames: int
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    blood_gains: np.ndarray
    tissue_gains: np.ndarray
    bias: np.ndarray
    noise: float
    noise_seed: int

    @property
    def systole(self) -> int:
        """Number of the frame of largest contraction, counted from 1."""
        return 1 + max(1, round(SYSTOLE_FRACTION * self.frames))

    def contraction(self, frame: int) -> float:
        """Contraction of a frame: sin^2 up to the end of systole, cos^2 back; 0 in frame 1, 1 at the end of systole.

        Args:
            frame: Frame number, 1 to `frames`.

        Returns:
            A value in [0, 1].
        """
        if not 1 <= frame <= self.frames:
            raise ValueError(f'frame {frame} is outside 1 .. {self.frames}')
        if frame <= self.systole:
            phase = (frame - 1) / (self.systole - 1)
        else:
            phase = 1 + (frame - self.systole) / (self.frames + 1 - self.systole)
        return float(np.sin(np.pi / 2 * phase) ** 2)


def random_phantom(
    rng: np.random.Generator,
    *,
    frames: int = 6,
    shape: tuple[int, int, int] = (48, 48, 16),
    spacing: tuple[float, float, float] = (3.0, 3.0, 6.0),
) -> Phantom:
    """Draw one phantom subject.

    Args:
        rng: Source of all randomness.
        frames: Number of frames, at least 2.
        shape: (D, H, W) in voxels, each at least 8.
        spacing: Voxel size along (D, H, W), in millimetres.

    Returns:
        The subject; `render_frame` and `true_displacement` work on it.

    Raises:
        UserError: A size is out of range.
    """
    if frames < 2:
        raise UserError(f'a phantom of {frames} frames', expected='at least 2', fix='ask for more frames')
    if len(shape) != 3 or min(shape) < SMALLEST_SIZE:
        raise UserError(
            f'phantom shape {tuple(shape)}',
            expected=f'three sizes of at least {SMALLEST_SIZE}',
            fix='enlarge the shape',
        )
    if len(spacing) != 3 or not min(spacing) > 0:
        raise UserError(
            f'phantom spacing {tuple(spacing)}', expected='three positive millimetre values', fix='correct the spacing'
        )
    anatomy = random_anatomy(rng)
    return Phantom(
        anatomy=anatomy,
        motion=random_motion(rng, anatomy),
        frames=frames,
        shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        blood_gains=rng.uniform(0.85, 1.10, size=frames),
        tissue_gains=rng.uniform(0.85, 1.20, size=frames),
        bias=rng.uniform(-0.12, 0.12, size=(3, 3)) * np.array([[1.0], [1.0], [0.2]]),
        noise=rng.uniform(0.015, 0.03),
        noise_seed=int(rng.integers(2**31)),
    )


def render_frame(phantom: Phantom, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one frame; image and labels are evaluated from formulas, never resampled.

    Args:
        phantom: The subject.
        frame: Frame number, 1 to `phantom.frames`.

    Returns:
        The image, float32 (D, H, W), smallest value 0 and largest 1; the labels, uint8 (D, H, W), 0 background,
        1 right ventricle cavity, 2 myocardium, 3 left ventricle cavity.
    """
    points, scale, extent = _grid(phantom)
    reference = to_reference(phantom.anatomy, phantom.motion, points, phantom.contraction(frame), extent)
    image = reference_image(
        phantom.anatomy,
        reference,
        edge=(max(phantom.spacing[:2]) / scale[0], phantom.spacing[2] / scale[2]),
        blood_gain=phantom.blood_gains[frame - 1],
        tissue_gain=phantom.tissue_gains[frame - 1],
    )
    slopes, curvatures, drifts = phantom.bias
    position = points / np.asarray(extent)
    image *= np.exp(position @ (slopes + (frame - 1) * drifts) + position**2 @ curvatures)
    # The magnitude of a complex signal with Gaussian noise in both parts is what a scanner stores.
    noise = np.random.default_rng([phantom.noise_seed, frame]).normal(scale=phantom.noise, size=(2, *phantom.shape))
    image = np.hypot(image + noise[0], noise[1])
    image = (image - image.min()) / (image.max() - image.min())
    return image.astype(np.float32), reference_labels(phantom.anatomy, reference)


def true_displacement(phantom: Phantom, fixed_frame: int, moving_frame: int) -> np.ndarray:
    """The displacement that carries the fixed frame's grid to the same tissue in the moving frame.

    With R_t the map from frame t to the reference state, u(x) = R_moving^-1(R_fixed(x)) - x.

    Args:
        phantom: The subject.
        fixed_frame: Frame number, 1 to `phantom.frames`.
        moving_frame: Frame number, 1 to `phantom.frames`.

    Returns:
        float64 (D, H, W, 3), in voxels; warped(x) = moving(x + u(x)) shows the tissue of the fixed frame. Zero on
        the faces of the volume.
    """
    points, scale, extent = _grid(phantom)
    anatomy, motion = phantom.anatomy, phantom.motion
    reference = to_reference(anatomy, motion, points, phantom.contraction(fixed_frame), extent)
    counterparts = from_reference(anatomy, motion, reference, phantom.contraction(moving_frame), extent)
    return (counterparts - points) * scale / np.asarray(phantom.spacing)


def _grid(phantom: Phantom) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Scaled coordinates (D, H, W, 3) of the voxel centres, millimetres per unit (3,), largest coordinate per axis."""
    reach = (np.asarray(phantom.shape) - 1) / 2 * np.asarray(phantom.spacing)
    in_plane = reach[:2].min()
    scale = np.array([in_plane, in_plane, reach[2]])
    extent = tuple(reach / scale)
    axes = [np.linspace(-limit, limit, size) for limit, size in zip(extent, phantom.shape, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1), scale, extent
