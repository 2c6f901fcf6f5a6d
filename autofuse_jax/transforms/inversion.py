"""The inverse of a transform, solved for each point: exact for affine transforms, by iteration for dense ones."""

import dataclasses

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.affine_fit import nearest_affine
from autofuse_jax.transforms.grids import to_world
from autofuse_jax.transforms.maps import AffineTransform, Chain, DenseTransform, Transform

# All lengths hold for voxels of a millimetre or more; of smaller ones, as of microscopes, they are shares of a voxel.
# Points are taken out of the iteration once they are this close.
TARGET_MM = 1e-3
# A point further off than this has not been inverted.
FAILED_MM = 0.1
# More failed points than this share is an error: the transform has no inverse there, or none that can be found.
TOLERATED_SHARE = 0.01
ITERATIONS = 100
# The step of a point whose residual would grow is halved at most so often.
SMALLEST_STEP = 2.0**-6
# Damping of the Levenberg-Marquardt steps, relative to a Jacobian of about 1: nearly a Newton step at first, and no
# visible step at the end.
FIRST_DAMPING, LARGEST_DAMPING, DAMPING_FACTOR = 1e-3, 1e6, 4.0
# Distance over which derivatives are taken: well within a voxel, well above rounding.
DIFFERENCE_MM = 0.02


@dataclasses.dataclass(frozen=True)
class Inversion:
    """How well points were inverted.

    Attributes:
        points: Number of points.
        mean_mm: Mean distance between a point and the transform of its inverse.
        max_mm: Largest such distance.
        failed: Number of points with a distance above `limit_mm`.
        iterations: Number of iterations.
        limit_mm: What `failed_mm` returns for the transform.
    """

    points: int
    mean_mm: float
    max_mm: float
    failed: int
    iterations: int
    limit_mm: float = FAILED_MM

    @property
    def sentence(self) -> str:
        """The numbers in words."""
        text = f'inverse solved for {self.points} points in {self.iterations} iterations: '
        text += f'residual mean {self.mean_mm:.2g} mm, largest {self.max_mm:.2g} mm'
        return text + (f'; {self.failed} points are off by more than {self.limit_mm:.2g} mm' if self.failed else '')


@dataclasses.dataclass(frozen=True, eq=False)
class NumericalInverse:
    """The inverse of a transform, `y -> p` with `T(p) = y`, solved anew for the points it is asked for.

    Attributes:
        transform: T, from the fixed to the moving world; this object goes from the moving to the fixed world.
        start: An approximate inverse that the iteration starts from, such as the field of the negative velocity;
            None starts from the inverse of the affine part of T.
        inversions: Records of the calls of `map_points`.
    """

    transform: Transform
    start: Transform | None = None
    inversions: list[Inversion] = dataclasses.field(default_factory=list)

    def map_points(self, points: np.ndarray) -> np.ndarray:
        """Take points of the moving world to the fixed world, both (..., 3) in RAS millimetres.

        Raises:
            UserError: More than one percent of the points cannot be inverted, as where the transform folds.
        """
        solution, inversion = invert_points(self.transform, points, self.start)
        self.inversions.append(inversion)
        if inversion.failed > TOLERATED_SHARE * inversion.points:
            raise UserError(
                f'the transform cannot be inverted: {inversion.failed} of {inversion.points} points are off by more '
                f'than {inversion.limit_mm:.2g} mm (largest {inversion.max_mm:.3g} mm)',
                expected='a transform without folds, on a grid that covers the points',
                fix='go the other way, which needs no inverse, or register again with more smoothness',
            )
        return solution


def failed_mm(transform: Transform) -> float:
    """Return how far from its target a point may end, `FAILED_MM`, or that share of a voxel where those are smaller.

    Args:
        transform: The transform that is inverted, or an inverse that is solved for; of a chain the finest grid counts.

    Returns:
        Millimetres.
    """
    return FAILED_MM * _fineness(transform)


def _fineness(transform: Transform) -> float:
    """Return the smallest voxel size among the fields of a transform, 1 where that is larger or there are none."""
    if isinstance(transform, DenseTransform):
        return min(1.0, *transform.grid.spacing)
    if isinstance(transform, NumericalInverse):
        return _fineness(transform.transform)
    return min((_fineness(part) for part in transform.transforms), default=1.0) if isinstance(transform, Chain) else 1.0


def inverse_affine(transform: AffineTransform) -> AffineTransform:
    """Return the inverse of an affine transform, exact up to rounding."""
    return AffineTransform(np.linalg.inv(transform.matrix))


def invert_points(
    transform: Transform, points: np.ndarray, start: Transform | None = None
) -> tuple[np.ndarray, Inversion]:
    """Solve `T(p) = y` for every point y.

    `p <- p - s B^-1 (T(p) - y)` in float64, where B is the linear part of the affine map that is nearest to T. With
    B and s equal to 1 this is the fixed-point iteration `p <- y - d(p)` for `T(p) = p + d(p)`; B makes it converge
    where images differ by a rotation or in size too. The step s of a point starts at 1 and is halved wherever its
    residual would grow, so that no point ends further off than it started.

    Points that are not reached in this way, as where space is stretched to the double or more, go on with
    Levenberg-Marquardt steps, `p <- p - (J^T J + m I)^-1 J^T (T(p) - y)` with the Jacobian J of T at p.

    Args:
        transform: T, from the fixed to the moving world.
        points: (..., 3) of the moving world, RAS millimetres, finite.
        start: An approximate inverse to start from; None starts from the inverse of the affine part.

    Returns:
        float64 (..., 3) of the fixed world, and how good they are.
    """
    targets = np.asarray(points, np.float64).reshape(-1, 3)
    inverse = np.linalg.inv(nearest_affine(transform))
    fineness = _fineness(transform)
    target = TARGET_MM * fineness
    first = to_world(inverse, targets) if start is None else np.array(start.map_points(targets), np.float64)
    solution, distance, iterations = _iterate(transform, targets, first, inverse[:3, :3], target)
    remaining = np.flatnonzero(distance > target)
    if remaining.size:
        solution[remaining], distance[remaining], more = _newton(
            transform, targets[remaining], solution[remaining], target, DIFFERENCE_MM * fineness
        )
        iterations += more
    inversion = Inversion(
        points=len(targets),
        mean_mm=float(distance.mean()) if len(targets) else 0.0,
        max_mm=float(distance.max()) if len(targets) else 0.0,
        failed=int(np.count_nonzero(distance > failed_mm(transform))),
        iterations=iterations,
        limit_mm=failed_mm(transform),
    )
    return solution.reshape(np.shape(points)), inversion


def _iterate(
    transform: Transform, targets: np.ndarray, start: np.ndarray, linear: np.ndarray, target_mm: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Iterate from `start` (N, 3) with B^-1 = `linear`; return points, distances (N,) and the number of iterations."""
    solution = np.array(start)
    residual = transform.map_points(solution) - targets
    distance = np.linalg.norm(residual, axis=-1)
    step = np.ones(len(targets))
    iterations = 0
    active = np.flatnonzero(distance > target_mm)
    while active.size and iterations < ITERATIONS:
        iterations += 1
        proposal = solution[active] - step[active, None] * (residual[active] @ linear.T)
        next_residual = transform.map_points(proposal) - targets[active]
        next_distance = np.linalg.norm(next_residual, axis=-1)
        # Each point goes its own way: where the residual would grow the point stays and tries half the step next time;
        # where it falls the point moves and may lengthen its step again.
        better = next_distance < distance[active]
        improved = active[better]
        solution[improved], residual[improved] = proposal[better], next_residual[better]
        distance[improved] = next_distance[better]
        step[improved] = np.minimum(1, 2 * step[improved])
        step[active[~better]] /= 2
        # Points that arrived leave, and so do those whose steps have become useless: `_newton` takes them on.
        active = active[(distance[active] > target_mm) & (step[active] >= SMALLEST_STEP)]
    return solution, distance, iterations


def _newton(
    transform: Transform, targets: np.ndarray, start: np.ndarray, target_mm: float, difference_mm: float
) -> tuple[np.ndarray, np.ndarray, int]:
    """Levenberg-Marquardt steps from `start` (N, 3); return points, distances (N,) and the number of iterations."""
    solution = np.array(start)
    residual = transform.map_points(solution) - targets
    distance = np.linalg.norm(residual, axis=-1)
    damping = np.full(len(targets), FIRST_DAMPING)
    iterations = 0
    active = np.arange(len(targets))
    while active.size and iterations < ITERATIONS:
        iterations += 1
        jacobian = _jacobian(transform, solution[active], difference_mm)
        normal = np.einsum('nki,nkj->nij', jacobian, jacobian) + damping[active, None, None] * np.eye(3)
        gradient = np.einsum('nki,nk->ni', jacobian, residual[active])
        proposal = solution[active] - np.linalg.solve(normal, gradient[..., None])[..., 0]
        next_residual = transform.map_points(proposal) - targets[active]
        next_distance = np.linalg.norm(next_residual, axis=-1)
        better = next_distance < distance[active]
        improved = active[better]
        solution[improved], residual[improved] = proposal[better], next_residual[better]
        distance[improved] = next_distance[better]
        # Little damping is a Newton step, much of it a short step downhill, which always gets closer in the end.
        damping[improved] /= DAMPING_FACTOR
        damping[active[~better]] *= DAMPING_FACTOR
        active = active[(distance[active] > target_mm) & (damping[active] <= LARGEST_DAMPING)]
    return solution, distance, iterations


def _jacobian(transform: Transform, points: np.ndarray, difference_mm: float) -> np.ndarray:
    """Return the derivative of a transform at points (N, 3) by central differences, (N, 3, 3)."""
    columns = []
    for shift in difference_mm * np.eye(3):
        columns.append(transform.map_points(points + shift) - transform.map_points(points - shift))
    return np.stack(columns, axis=-1) / (2 * difference_mm)
