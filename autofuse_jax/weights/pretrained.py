"""A trained network ready to use: weights in, arrays in, deformation out."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.data.intensity import min_max_normalise
from autofuse_jax.errors import UserError
from autofuse_jax.methods.base import Method, Params, Prediction
from autofuse_jax.methods.registry import predicting_method, section_options
from autofuse_jax.metrics.warping import warp_image
from autofuse_jax.models.field_outputs import SIZE_MULTIPLE
from autofuse_jax.porting.convert import check_shapes, flatten, unflatten
from autofuse_jax.weights.released import MIN_MAX, Description, read_released
from autofuse_jax.weights.shipped import weights_file

# What the layer of a network is called that predicts a variance, and the option of a prediction that draws with it.
VARIANCE, SAMPLING = 'log_variance', 'sample_velocity'


@dataclasses.dataclass(frozen=True)
class Registration:
    """The result of registering a moving to a fixed image, as NumPy arrays on the fixed grid.

    Attributes:
        displacement: (D, H, W, 3) float32, voxels, pull direction: `warped(x) = moving(x + displacement(x))`.
        velocity: (d, h, w, 3) float32, the stationary velocity behind it, in voxels of half resolution, over the field
            of view of the padded images; None for a network that predicts a displacement.
        warped: (D, H, W) float32, the moving image, with its own intensities, on the fixed image.
        fixed_labels: (D, H, W) uint8, predicted classes of the fixed image; None without segmentation.
        moving_labels: (D, H, W) uint8, predicted classes of the moving image; None without segmentation.
        gate_means: Mean weight of the fusion branch by gate, 0 .. 1.
        fixed_probabilities: (D, H, W, C) float32, of the classes of the fixed image, background first; None without
            segmentation, and from an exported network, which gives classes only.
        moving_probabilities: (D, H, W, C) float32, likewise of the moving image.
    """

    displacement: np.ndarray
    velocity: np.ndarray | None
    warped: np.ndarray
    fixed_labels: np.ndarray | None
    moving_labels: np.ndarray | None
    gate_means: dict[str, float]
    fixed_probabilities: np.ndarray | None = None
    moving_probabilities: np.ndarray | None = None


class RegistrationModel:
    """A network with its weights.

    Args:
        params: Parameters by flat name.
        description: Description of the weights.

    Raises:
        UserError: The parameters are not those of the described network, or its normalisation is unknown.
    """

    def __init__(self, params: Mapping[str, np.ndarray], description: Description):
        if description.normalisation != MIN_MAX:
            raise UserError(
                f'the weights want images normalised by {description.normalisation!r}',
                expected=repr(MIN_MAX),
                fix='use the version of autofuse_jax that wrote them, or a newer one',
            )
        check_shapes(params, description.method, description.model)
        self.description = description
        self._method = predicting_method(description.method, description.model, description.inference)
        self._has_variance = any(VARIANCE in name for name in params)
        self._params = jax.tree.map(jnp.asarray, unflatten(params))
        self._predict = jax.jit(self._method.predict)
        self._gate_weights = None if self._method.gate_weights is None else jax.jit(self._method.gate_weights)

    @property
    def params(self) -> Params:
        """The parameters, nested."""
        return self._params

    @property
    def method(self) -> Method:
        """What the parameters belong to."""
        return self._method

    @property
    def runtime(self) -> str:
        """What runs the network, in words."""
        return f'JAX {jax.__version__} on {jax.default_backend()}'

    @property
    def num_parameters(self) -> int:
        """Number of learned values."""
        return sum(leaf.size for leaf in jax.tree.leaves(self._params))

    def sampling(self) -> 'RegistrationModel | None':
        """Return the same network predicting from drawn velocities; None where it has no variance to draw with."""
        name = self.description.method
        if not self._has_variance or SAMPLING not in section_options(name, 'inference'):
            return None
        inference = {**self.description.inference, SAMPLING: True}
        # The difference of both orders of the images has no variance of its own.
        inference.pop('symmetric', None)
        return RegistrationModel(
            flatten(jax.device_get(self._params)), dataclasses.replace(self.description, inference=inference)
        )

    def register(self, fixed: np.ndarray, moving: np.ndarray, *, seed: int = 0) -> Registration:
        """Register two images; the first call for a size compiles.

        Intensities are scaled to [0, 1] by each image's own extremes. Sizes that the network does not take are padded
        with zeros at their far ends. Voxels should be about as large as in training, and the images roughly aligned.

        Args:
            fixed: (D, H, W), real numbers.
            moving: (D, H, W), real numbers, the same shape.
            seed: Seed of the draws of a method that samples; without effect otherwise.

        Returns:
            The registration.

        Raises:
            UserError: Shapes differ or are not 3-D, or an image holds NaN, infinities or a single value.
        """

        def predict(fixed: np.ndarray, moving: np.ndarray) -> Prediction:
            return self._predict(self._params, jnp.asarray(fixed), jnp.asarray(moving), jax.random.key(seed))

        return register_pair(predict, fixed, moving, self._method.multiple)

    def check_gates(self) -> None:
        """Check that the network has fusion gates.

        Raises:
            UserError: It has none.
        """
        self._gates()

    def gate_weights(self, fixed: np.ndarray, moving: np.ndarray) -> dict[str, np.ndarray]:
        """Return how much each fusion gate takes from the fusion branch, for two images as in `register`.

        Args:
            fixed: (D, H, W), real numbers.
            moving: (D, H, W), real numbers, the same shape.

        Returns:
            float32 (d, h, w, C) in [0, 1] by name of the gate, over the field of view of the padded images.

        Raises:
            UserError: The network has no gates, or the images are wrong as in `register`.
        """
        weights = self._gates()(self._params, *map(jnp.asarray, padded_pair(fixed, moving, self._method.multiple)))
        return {name: np.asarray(weight[0], np.float32) for name, weight in jax.device_get(weights).items()}

    def _gates(self) -> Callable[..., dict[str, jax.Array]]:
        """Return the function of the gates' weights; see `check_gates`."""
        if self._gate_weights is None:
            raise UserError(
                f'the weights of {self.description.method} have no fusion gates',
                expected="weights of AutoFuse, convolutional or Trans, with model.fusion = 'gate'",
                fix='use such weights, or leave out the maps of the gates',
            )
        return self._gate_weights


def padded_pair(fixed: np.ndarray, moving: np.ndarray, multiple: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return two images as a network takes them: scaled to [0, 1], padded with zeros at their far ends.

    Args:
        fixed: (D, H, W), real numbers.
        moving: (D, H, W), real numbers, the same shape.
        multiple: Step that the padded sizes are multiples of.

    Returns:
        Both, (1, D', H', W', 1).

    Raises:
        UserError: Shapes differ or are not 3-D, or an image holds NaN, infinities or a single value.
    """
    fixed, moving = np.asarray(fixed), np.asarray(moving)
    if fixed.ndim != 3 or fixed.shape != moving.shape:
        raise UserError(
            f'fixed has shape {fixed.shape} and moving {moving.shape}',
            expected='two volumes (D, H, W) on the same grid',
            fix='resample them to one grid first',
        )
    padding = [(0, -size % step) for size, step in zip(fixed.shape, multiple, strict=True)]
    first, second = (
        np.pad(min_max_normalise(image, role), padding)[None, ..., None]
        for image, role in ((fixed, 'fixed'), (moving, 'moving'))
    )
    return first, second


def register_pair(
    predict: Callable[[np.ndarray, np.ndarray], Prediction],
    fixed: np.ndarray,
    moving: np.ndarray,
    multiple: tuple[int, ...] = (SIZE_MULTIPLE,) * 3,
) -> Registration:
    """Register two images with whatever runs the network.

    Args:
        predict: Function from padded images (1, D', H', W', 1) in [0, 1] to a prediction, which may have classes
            (1, D', H', W') in the place of class probabilities.
        fixed: (D, H, W), real numbers.
        moving: (D, H, W), real numbers, the same shape.
        multiple: Step that the padded sizes are multiples of; default 16.

    Returns:
        The registration.

    Raises:
        UserError: Shapes differ or are not 3-D, or an image holds NaN, infinities or a single value.
    """
    prediction = jax.device_get(predict(*padded_pair(fixed, moving, multiple)))
    fixed, moving = np.asarray(fixed), np.asarray(moving)
    inside = tuple(slice(size) for size in fixed.shape)
    displacement = prediction.displacement[0][inside]
    segmentations = [
        None if segmentation is None else segmentation[0][inside]
        for segmentation in (prediction.fixed_segmentation, prediction.moving_segmentation)
    ]
    fixed_labels, moving_labels = (_labels_of(segmentation) for segmentation in segmentations)
    fixed_probabilities, moving_probabilities = (_probabilities_of(segmentation) for segmentation in segmentations)
    return Registration(
        displacement=displacement,
        velocity=None if prediction.velocity is None else prediction.velocity[0],
        warped=warp_image(moving, displacement).astype(np.float32),
        fixed_labels=fixed_labels,
        moving_labels=moving_labels,
        gate_means={name: float(value[0]) for name, value in prediction.gate_means.items()},
        fixed_probabilities=fixed_probabilities,
        moving_probabilities=moving_probabilities,
    )


def load_model(path: str | Path) -> RegistrationModel:
    """Load a network in the released format.

    Args:
        path: The npz that autofuse_jax.port_weights wrote, with its JSON beside it, or the name of weights that come
            with the package, such as 'cardiac'.

    Returns:
        Something that registers two arrays.

    Raises:
        UserError: A file is missing or damaged, or the weights are not those of the network it names.

    Example:
        >>> from autofuse_jax.methods.registry import predicting_method
        >>> from autofuse_jax.porting.convert import flatten
        >>> from autofuse_jax.weights.released import Description, write_released
        >>> options = {'base_channels': 2}
        >>> method = predicting_method('voxelmorph', options)
        >>> params = method.init(jax.random.key(0), (16, 16, 16))
        >>> arrays = {name: np.asarray(array) for name, array in flatten(params).items()}
        >>> write_released(Path('params.npz'), arrays, Description('voxelmorph', options))
        >>> model = load_model('params.npz')
        >>> fixed, moving = np.random.default_rng(0).uniform(size=(2, 16, 16, 16))
        >>> model.register(fixed, moving).displacement.shape
        (16, 16, 16, 3)
    """
    path = weights_file(path)
    if path.is_dir():
        raise UserError(
            f'{path} is a folder',
            expected='an npz in the released format',
            fix=f'python -m autofuse_jax.port_weights --from={path} --to=params.npz --naming=ours',
        )
    return RegistrationModel(*read_released(path))


def _labels_of(segmentation: np.ndarray | None) -> np.ndarray | None:
    """Classes (D, H, W) of a segmentation that may be of probabilities (D, H, W, C)."""
    if segmentation is None or segmentation.ndim == 3:
        return segmentation
    return segmentation.argmax(axis=-1).astype(np.uint8)


def _probabilities_of(segmentation: np.ndarray | None) -> np.ndarray | None:
    return None if segmentation is None or segmentation.ndim == 3 else segmentation
