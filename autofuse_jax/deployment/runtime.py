"""Running networks on CPU with OpenVINO, which has the fast 3-D convolutions that XLA lacks there."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from autofuse_jax.deployment.prediction import images_of_size, named_prediction, of_named
from autofuse_jax.deployment.unsupported import first_line
from autofuse_jax.errors import UserError
from autofuse_jax.methods.base import Method, Params, Prediction
from autofuse_jax.weights.pretrained import Registration, RegistrationModel, register_pair
from autofuse_jax.weights.released import Description

DEVICE = 'CPU'
# Left to itself it computes in bfloat16 where the processor can, in which a field is off by whole voxels.
SETTINGS = {'INFERENCE_PRECISION_HINT': 'f32', 'PERFORMANCE_HINT': 'LATENCY'}
Graph = Any


def openvino_runtime() -> ModuleType:
    """Return the package openvino.

    Raises:
        UserError: It is not installed, or broken.
    """
    try:
        return importlib.import_module('autofuse_jax.deployment.openvino_package').openvino
    except ImportError as error:
        raise UserError(
            f'running or writing a network for CPU needs the package openvino, which cannot be imported ({error})',
            fix="pip install 'autofuse_jax[deploy]', or use --to=NAME.stablehlo, or run the network in JAX",
        ) from error


def has_runtime() -> bool:
    """Return whether OpenVINO is installed."""
    try:
        openvino_runtime()
    except UserError:
        return False
    return True


def runtime_name() -> str:
    """Return the runtime in words; it is installed."""
    version = openvino_runtime().__version__.split('-')[0]
    return f'OpenVINO {version} on CPU, float32'


def network_graph(method: Method, params: Params, size: tuple[int, ...], *, probabilities: bool = False) -> Graph:
    """Convert the prediction of a method to a graph of OpenVINO.

    Args:
        method: The method.
        params: Its parameters, which become constants of the graph.
        size: (D, H, W) of the images.
        probabilities: Whether labels are probabilities, see `prediction.named_prediction`.

    Returns:
        The graph, from 'fixed' and 'moving' (1, D, H, W, 1) to the results of `prediction.named_prediction`.

    Raises:
        UserError: OpenVINO is not installed, or an operation has no counterpart there.
    """
    openvino_runtime()
    from autofuse_jax.deployment.graph import to_graph

    return to_graph(named_prediction(method, params, probabilities=probabilities), images_of_size(size))


def write_graph(path: Path, graph: Graph) -> None:
    """Write a graph as NAME.xml and NAME.bin, in full precision."""
    openvino_runtime().save_model(graph, path, compress_to_fp16=False)


def read_graph(path: Path) -> Graph:
    """Read a graph.

    Raises:
        UserError: OpenVINO is not installed or cannot read the file.
    """
    openvino = openvino_runtime()
    try:
        return openvino.Core().read_model(path)
    except RuntimeError as error:
        raise UserError(f'{path} cannot be read by OpenVINO ({first_line(error)})', fix='export it again') from error


def compiled(graph: Graph) -> Callable[..., dict[str, np.ndarray]]:
    """Prepare a graph for this processor.

    Args:
        graph: Graph from `network_graph` or `read_graph`.

    Returns:
        Function from the graph's inputs, in their order, to its results by name.

    Raises:
        UserError: OpenVINO cannot run the graph here.
    """
    names = [result.get_friendly_name() for result in graph.get_results()]
    try:
        model = openvino_runtime().compile_model(graph, DEVICE, SETTINGS)
    except RuntimeError as error:
        raise UserError(
            f'OpenVINO cannot run the network on this processor ({first_line(error)})', fix='run the network in JAX'
        ) from error

    def run(*inputs: np.ndarray) -> dict[str, np.ndarray]:
        # Copies, because the runtime writes the next results to the same memory.
        return {name: np.array(array) for name, array in zip(names, model(inputs).values(), strict=True)}

    return run


class RuntimeModel:
    """A network that runs in OpenVINO, and in JAX where that cannot hold it.

    Args:
        model: The network with its weights.

    Attributes:
        description: Description of the weights.
        runtime: Name of what runs the network.
    """

    def __init__(self, model: RegistrationModel):
        self.description: Description = model.description
        self.runtime = runtime_name()
        self._model = model
        self._by_size: dict[tuple[int, ...], Callable] = {}

    @property
    def method(self) -> Method:
        """What the parameters belong to."""
        return self._model.method

    @property
    def network(self) -> RegistrationModel:
        """The same network in JAX."""
        return self._model

    def sampling(self) -> RegistrationModel | None:
        """Return the network predicting from drawn velocities, in JAX. See `RegistrationModel.sampling`."""
        return self._model.sampling()

    def register(self, fixed: np.ndarray, moving: np.ndarray, *, seed: int = 0) -> Registration:
        """Register two images; the first call for a size converts. Arguments see `RegistrationModel.register`."""
        if self.runtime == self._model.runtime:
            return self._model.register(fixed, moving, seed=seed)
        try:
            return register_pair(self._predict, fixed, moving, self._model.method.multiple)
        except _NotConverted as error:
            print(f'JAX runs the network: {error}', file=sys.stderr)
            self.runtime = self._model.runtime
            return self._model.register(fixed, moving, seed=seed)

    def _predict(self, fixed: np.ndarray, moving: np.ndarray) -> Prediction:
        size = fixed.shape[1:4]
        if size not in self._by_size:
            try:
                graph = network_graph(self._model.method, self._model.params, size, probabilities=True)
                self._by_size[size] = compiled(graph)
            except UserError as error:
                raise _NotConverted(error.found) from error
        return of_named(self._by_size[size](fixed, moving))


class _NotConverted(Exception):
    """The runtime cannot hold this network."""
