"""What one image says of the grey values of another at each voxel, learned from the pair itself."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

# Standard deviations, in voxels, of the Gaussians through which the surroundings of a voxel are seen: a grey value that
# two tissues share says little, where they lie says which one it is.
SURROUNDINGS = (0.0, 1.0, 2.0, 4.0)
# Standard deviation of the Gaussian whose gradient and Laplacian tell edges, voxels.
EDGE_SCALE = 1.0
# Cosines by which the function is made, and the standard deviation of a feature within which it changes.
COSINES = 512
LENGTH = 1.0
# Weight of the squared coefficients, as a share of a voxel each.
RIDGE = 1e-4
# Voxels that the function is learned from.
SAMPLES = 60_000
# Voxels that are worked on at a time: the cosines of a whole image would fill the memory.
ROWS = 16_384
# Features that vary less are constant.
SMALLEST_DEVIATION = 1e-6
SEED = 0


def appearance_features(image: np.ndarray) -> np.ndarray:
    """Return what an image shows at and around each voxel.

    Args:
        image: (D, H, W).

    Returns:
        float32 (D H W, 6): the image itself, smoothed by 1, 2 and 4 voxels, the length of its gradient, its Laplacian.
    """
    seen = [ndimage.gaussian_filter(image, scale) if scale else image for scale in SURROUNDINGS]
    edges = [edge(image, EDGE_SCALE) for edge in (ndimage.gaussian_gradient_magnitude, ndimage.gaussian_laplace)]
    return np.stack([np.asarray(array, np.float32) for array in (*seen, *edges)], axis=-1).reshape(image.size, -1)


def learn_appearance(features: np.ndarray, values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Learn grey values from features: `y(x) = b + sum_j a_j cos(w_j . z(x) + p_j)`, z being standardised features.

    The w_j are drawn from a normal distribution and the p_j from 0 .. 2 pi, so that the sum stands for the regression
    by a Gaussian kernel; a and b minimise the squared error and a small share of a^2.

    Args:
        features: float32 (N, K), of voxels at which the values are known.
        values: (N,).

    Returns:
        A function from (M, K) features to float32 (M,).

    Reference:
        Rahimi and Recht, Random features for large-scale kernel machines, NIPS 2007.
    """
    random = np.random.default_rng(SEED)
    if len(values) > SAMPLES:
        chosen = random.choice(len(values), SAMPLES, replace=False)
        features, values = features[chosen], values[chosen]
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), np.float32(SMALLEST_DEVIATION))
    frequencies = (random.normal(size=(features.shape[1], COSINES)) / LENGTH).astype(np.float32)
    phases = random.uniform(0, 2 * np.pi, COSINES).astype(np.float32)

    def terms(of: np.ndarray) -> np.ndarray:
        cosines = np.cos((of - mean) / deviation @ frequencies + phases)
        return np.concatenate([cosines, np.ones((len(of), 1), np.float32)], axis=1)

    known = terms(np.asarray(features, np.float32))
    normal = (known.T @ known).astype(np.float64)
    normal[np.arange(COSINES), np.arange(COSINES)] += RIDGE * len(values)
    coefficients = np.linalg.solve(normal, (known.T @ values).astype(np.float64)).astype(np.float32)

    def grey_values(of: np.ndarray) -> np.ndarray:
        return np.concatenate([terms(of[row : row + ROWS]) @ coefficients for row in range(0, len(of), ROWS)])

    return grey_values
