"""What the cine phantom looks like at the end of diastole: heart, chest, liver, spine, as formulas rather than voxels.

Everything is written in scaled coordinates: (x, y) in units of half the smaller in-plane field of view, z in units of
half the stack, all zero in the middle of the volume. So the same heart fills any volume shape. x grows from the right
ventricle towards the left one, y from back to front, z from apex to base.
"""

import dataclasses

import numpy as np

CLASSES = {0: 'background', 1: 'right ventricle', 2: 'myocardium', 3: 'left ventricle'}
BACKGROUND, RIGHT_VENTRICLE, MYOCARDIUM, LEFT_VENTRICLE = CLASSES

# Brightness of tissues relative to blood, as in balanced steady-state cine sequences.
LUNG, MUSCLE, FAT, LIVER, BONE = 0.06, 0.30, 0.75, 0.42, 0.50
WAVES = 8


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """Shape and brightness of one phantom at the end of diastole, in scaled coordinates.

    Attributes:
        centre: (x, y) of the long axis of the left ventricle at z = 0.
        tilt: Change of that (x, y) per unit of z.
        rotation: Angle of the direction from the left to the right ventricle, in radians; pi points along -x.
        radius: Largest inner radius of the left ventricle.
        wall: Thickness of its wall.
        apex: z of the inner apex.
        base: z of the valve plane, where the labels end.
        right_size: Semi-axes of the ellipse that the right ventricle is cut from: along and across `rotation`.
        right_offset: Distance of that ellipse from the long axis.
        organ_shift: (x, y) offset of chest, liver, spine and aorta.
        blood: Brightness of blood.
        tissue: Brightness of the myocardium.
        wave_vectors: (8, 3) wave vectors of the tissue texture, in radians per unit.
        wave_phases: (8,) phases of the texture, in radians.
    """

    centre: tuple[float, float]
    tilt: tuple[float, float]
    rotation: float
    radius: float
    wall: float
    apex: float
    base: float
    right_size: tuple[float, float]
    right_offset: float
    organ_shift: tuple[float, float]
    blood: float
    tissue: float
    wave_vectors: np.ndarray
    wave_phases: np.ndarray


def random_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one anatomy; the ranges keep the heart inside the volume and a little over half as wide as it.

    Args:
        rng: Source of all randomness.

    Returns:
        The anatomy.
    """
    radius = rng.uniform(0.26, 0.32)
    wall = rng.uniform(0.115, 0.15)
    # Random directions, wavelengths of 0.3 to 0.9 units: coarse enough to see at 48 voxels, fine enough to show twist.
    directions = rng.normal(size=(WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = rng.uniform(0.3, 0.9, size=(WAVES, 1))
    return Anatomy(
        centre=(rng.uniform(0.10, 0.24), rng.uniform(-0.08, 0.08)),
        tilt=(rng.uniform(-0.10, 0.10), rng.uniform(-0.10, 0.10)),
        rotation=np.pi + rng.uniform(-0.45, 0.25),
        radius=radius,
        wall=wall,
        apex=rng.uniform(-0.74, -0.62),
        base=rng.uniform(0.56, 0.68),
        right_size=(radius + wall * rng.uniform(0.8, 1.1), (radius + wall) * rng.uniform(0.95, 1.1)),
        right_offset=(radius + wall) * rng.uniform(0.75, 0.95),
        organ_shift=(rng.uniform(-0.08, 0.08), rng.uniform(-0.08, 0.08)),
        blood=rng.uniform(0.68, 0.82),
        tissue=rng.uniform(0.24, 0.34),
        wave_vectors=2 * np.pi * directions / lengths,
        wave_phases=rng.uniform(0, 2 * np.pi, size=WAVES),
    )


def heart_axes(anatomy: Anatomy, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Express points in the frame of the left ventricle.

    Args:
        anatomy: Anatomy of the subject.
        points: (..., 3) scaled coordinates.

    Returns:
        p (distance from the long axis towards the right ventricle), q (across) and z, each of shape (...).
    """
    z = points[..., 2]
    x = points[..., 0] - anatomy.centre[0] - anatomy.tilt[0] * z
    y = points[..., 1] - anatomy.centre[1] - anatomy.tilt[1] * z
    cosine, sine = np.cos(anatomy.rotation), np.sin(anatomy.rotation)
    return cosine * x + sine * y, -sine * x + cosine * y, z


def left_ellipsoid(anatomy: Anatomy) -> tuple[float, float]:
    """Return z of the centre and the semi-axis along z of the inner ellipsoid of the left ventricle."""
    # Widest at 60 % of the way from apex to base, as ventricles narrow a little towards the valves.
    middle = anatomy.apex + 0.6 * (anatomy.base - anatomy.apex)
    return middle, middle - anatomy.apex


def reference_labels(anatomy: Anatomy, points: np.ndarray) -> np.ndarray:
    """Label points of the reference state.

    Args:
        anatomy: Anatomy of the subject.
        points: (..., 3) scaled coordinates.

    Returns:
        uint8 label map of shape (...), ids as in `CLASSES`. Papillary muscles count as cavity, as in ACDC.
    """
    inner, outer, right, base = _surfaces(anatomy, points)
    labels = np.full(points.shape[:-1], BACKGROUND, np.uint8)
    ventricles = base < 0
    labels[ventricles & (right < 0)] = RIGHT_VENTRICLE
    labels[ventricles & (outer < 0)] = MYOCARDIUM
    labels[ventricles & (inner < 0)] = LEFT_VENTRICLE
    return labels


def reference_image(
    anatomy: Anatomy,
    points: np.ndarray,
    *,
    edge: tuple[float, float],
    blood_gain: float = 1.0,
    tissue_gain: float = 1.0,
) -> np.ndarray:
    """Brightness at points of the reference state, without noise and bias field.

    Organs are painted one over the other. Borders are linear ramps one voxel wide, which is how a voxel that two
    tissues share looks.

    Args:
        anatomy: Shapes and intensities to paint.
        points: (..., 3) scaled coordinates.
        edge: Width of a voxel in plane and through plane, in scaled units.
        blood_gain: Factor on the brightness of blood in this frame.
        tissue_gain: Factor on the brightness of the myocardium in this frame.

    Returns:
        float64 array of shape (...), about 0 (air) to 1 (bright blood).
    """
    in_plane, through = edge
    p, q, z = heart_axes(anatomy, points)
    x = points[..., 0] - anatomy.organ_shift[0]
    y = points[..., 1] - anatomy.organ_shift[1]
    inner, outer, right, base = _surfaces(anatomy, points)
    blood = anatomy.blood * blood_gain
    tissue = anatomy.tissue * tissue_gain
    texture = np.cos(points @ anatomy.wave_vectors.T + anatomy.wave_phases).mean(-1)
    image = np.full(points.shape[:-1], LUNG)

    def paint(distance: np.ndarray, brightness: float | np.ndarray, mask: np.ndarray | float = 1.0) -> None:
        weight = _ramp(distance / in_plane) * mask
        image[...] += weight * (brightness - image)

    # Chest: lungs inside an ellipse, muscle around it, fat under the skin.
    chest = _ellipse((x, 1.10), (y + 0.12, 0.98))
    paint(-chest, MUSCLE + 0.25 * texture)
    paint(0.14 - chest, FAT)
    paint(_ellipse((x + 0.70, 0.80), (y + 0.62, 0.52), (z + 0.85, 0.85)), LIVER + 0.25 * texture)
    paint(_ellipse((x + 0.12, 0.24), (y + 0.98, 0.20)), BONE + 0.4 * texture)
    paint(_ellipse((x - 0.22, 0.115), (y + 0.72, 0.115)), tissue)
    paint(_ellipse((x - 0.22, 0.10), (y + 0.72, 0.10)), blood)

    # Fat around the heart, atria behind the valve plane, then the ventricles.
    whole = np.minimum(outer, right)
    ventricles = _ramp(base / through)
    paint(whole - 0.065, 0.9 * FAT + 0.3 * texture)
    atria = np.minimum(
        _ellipse((p, 0.75 * anatomy.radius), (q + 0.05, 0.9 * anatomy.radius)),
        _ellipse((p - anatomy.right_offset, 0.8 * anatomy.right_size[0]), (q + 0.08, 0.6 * anatomy.right_size[1])),
    )
    paint(atria - 0.04, tissue, 1 - ventricles)
    paint(atria, blood, 1 - ventricles)
    paint(right - 0.035, tissue, ventricles)
    # The right ventricle is a little darker than the left and has a rough inner wall.
    paint(right, blood * (0.92 + 0.25 * texture), ventricles)
    paint(outer, tissue + 0.30 * texture, ventricles)
    paint(inner, blood * (1 + 0.08 * texture), ventricles)
    for angle in (0.35 * np.pi, -0.45 * np.pi):
        middle_p, middle_q = 0.62 * anatomy.radius * np.cos(angle), 0.62 * anatomy.radius * np.sin(angle)
        size = 0.22 * anatomy.radius
        muscle = _ellipse((p - middle_p, size), (q - middle_q, size), (z + 0.10, 0.38))
        paint(np.maximum(muscle, inner), 1.1 * tissue, ventricles)
    return image


def _surfaces(anatomy: Anatomy, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Approximate signed distances, negative inside: left cavity, left outer wall, right cavity, below the base."""
    p, q, z = heart_axes(anatomy, points)
    middle, half = left_ellipsoid(anatomy)
    outer_radius = anatomy.radius + anatomy.wall
    inner = _ellipse((p, anatomy.radius), (q, anatomy.radius), (z - middle, half))
    outer = _ellipse((p, outer_radius), (q, outer_radius), (z - middle, half + anatomy.wall))
    along, across = anatomy.right_size
    # The right ventricle ends above the left apex, hence 0.88 of the left semi-axis.
    right = _ellipse((p - anatomy.right_offset, along), (q, across), (z - middle, 0.88 * half))
    # The right wall of the septum is the left outer wall: cut it out of the right ventricle.
    return inner, outer, np.maximum(right, -outer), z - anatomy.base


def _ellipse(*axes: tuple[np.ndarray, float]) -> np.ndarray:
    """Approximate signed distance to an ellipse or ellipsoid given as (offset, semi-axis) pairs, negative inside."""
    norm = np.sqrt(sum((offset / size) ** 2 for offset, size in axes))
    return (norm - 1) * min(size for _, size in axes)


def _ramp(distance: np.ndarray) -> np.ndarray:
    """Fraction of a voxel that lies inside a border, for signed distances in voxels."""
    return np.clip(0.5 - distance, 0, 1)
