"""Measure how closely our networks agree with stored outputs of the official PyTorch networks, and write a record.

    python -m experiments.agreement.parity --references=parity --out=experiments/results/parity.json

A reference is an npz with inputs, outputs, losses and gradient norms of an official network whose weights follow a
rule, so that they need not be stored: tensor n of shape s is drawn as `default_rng([seed, n]).standard_normal(s)`,
divided by the root of its fan-in or multiplied by 0.1, and adjusted for norms and heads (`reference_weights`). Samples
of four references, every few voxels of each output, are in tests/golden; the tests compare with those.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from autofuse_jax.errors import run_command
from autofuse_jax.fields import warp_linear
from autofuse_jax.files import write_json
from autofuse_jax.losses.autofuse import autofuse_objective
from autofuse_jax.losses.autofuse_weights import ObjectiveWeights
from autofuse_jax.methods.registry import METHODS
from autofuse_jax.models.pair_network import PairNetwork
from autofuse_jax.outputs import RegistrationOutput
from autofuse_jax.porting.architectures import Architecture
from autofuse_jax.porting.convert import flatten, from_official, unflatten
from autofuse_jax.provenance import provenance

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCES = ('autofuse_uns', 'autofuse_semi', 'autofuse_trans_uns', 'autofuse_trans_semi')
# The objective of the official code.
OFFICIAL = ObjectiveWeights(
    jacobian_determinant='official',
    consistency_grad='seg_only',
    label_warp='nearest',
    missing_labels='zeros',
    ignore_absent=False,
)
NORM_ENDINGS = ('norm.weight', 'norm1.weight', 'norm2.weight')
ADAM_STEPS = 3
OPTIMIZER = optax.adam(1e-4)
# About half a unit in the last place of float32: what storing weights in float32 does to them.
PERTURBATION = 1e-7
PERTURBED_RUNS = 8
# Name in a reference: ours, and how it is brought to our axes.
OUTPUTS: dict[str, Callable[[RegistrationOutput], jax.Array]] = {
    'velocity_mean': lambda output: output.velocity_mean[0],
    'log_variance': lambda output: output.log_variance[0],
    'flow': lambda output: output.displacement[0],
    'warped': lambda output: output.warped[0, ..., 0],
    'fixed_seg': lambda output: output.fixed_segmentation[0],
    'moving_seg': lambda output: output.moving_segmentation[0],
    'warped_moving_seg': lambda output: warp_linear(output.moving_segmentation[0], output.displacement[0]),
}
# Place in `loss_focaldice_terms`: our name of the term.
FOCAL_DICE_TERMS = (
    'segmentation_fixed',
    'segmentation_moving',
    'fusion_warped_labels',
    'fusion_warped_segmentation',
    'fusion_fixed_segmentation',
)
# Samples keep every so many voxels of outputs at full and at half resolution; no stride divides a window or a size.
FULL_STRIDE, HALF_STRIDE = (5, 7, 5), (3, 5, 3)


class Reference(NamedTuple):
    """A stored reference, and our network with its weights."""

    arrays: dict[str, np.ndarray]
    names: tuple[str, ...]
    network: PairNetwork
    params: dict[str, Any]
    architecture: Architecture


def reference_weights(names: list[str], shapes: list[tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Return the weights of a reference by official name, float32."""
    weights = {}
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        values = np.random.default_rng([seed, number]).standard_normal(shape)
        values = values / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1 * values
        if name.endswith(NORM_ENDINGS):
            values += 1
        elif name.endswith('reghead.mean_head.weight'):
            values *= 2
        elif name.endswith('reghead.sigma_head.weight'):
            values *= 0.1
        elif name.endswith('reghead.sigma_head.bias'):
            values -= 5
        weights[name] = values.astype(np.float32)
    return weights


def read_reference(path: Path) -> Reference:
    """Read a reference or a sample of one, and build our network."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    names = [str(name) for name in arrays['tensor_names']]
    shapes = [tuple(json.loads(str(shape))) for shape in arrays['tensor_shapes']]
    params, architecture, options = from_official(reference_weights(names, shapes, int(arrays['seed'])))
    network = METHODS[architecture.method].network(**options)
    return Reference(arrays, tuple(names), network, unflatten(params), architecture)


def sample(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a reference with a few voxels of each output, small enough to keep."""
    small = {}
    for name, array in arrays.items():
        if name in ('fixed', 'moving', 'epsilon') or array.ndim < 3:
            small[name] = array
        elif name in ('fixed_labels', 'moving_labels'):
            small[name] = array.astype(np.uint8)
        else:
            small[name] = array[_sampled_voxels(array.shape, arrays['fixed'].shape)]
    return small


def _sampled_voxels(shape: tuple[int, ...], full: tuple[int, ...]) -> tuple[slice, ...]:
    strides = FULL_STRIDE if shape[-3:] == full else HALF_STRIDE
    return (..., *(slice(stride // 2, None, stride) for stride in strides))


def inputs_of(reference: Reference, dtype: Any) -> tuple[dict[str, jax.Array], jax.Array]:
    """Return the batch of a reference and its noise."""
    arrays = reference.arrays
    batch = {name: jnp.asarray(arrays[name], dtype)[None, ..., None] for name in ('fixed', 'moving')}
    if 'fixed_labels' in arrays:
        for role in ('fixed', 'moving'):
            batch[f'{role}_labels'] = jnp.asarray(arrays[f'{role}_labels'], jnp.int32)[None]
            batch[f'{role}_has_labels'] = jnp.ones(1, dtype)
    return batch, jnp.asarray(arrays['epsilon'].transpose(1, 2, 3, 0), dtype)[None]


def loss_function(
    reference: Reference, dtype: Any
) -> Callable[[Any], tuple[jax.Array, tuple[dict, RegistrationOutput]]]:
    """Return params -> (loss, (terms, output)) at zero noise with the official objective."""
    batch, noise = inputs_of(reference, dtype)

    def loss(params: Any) -> tuple[jax.Array, tuple[dict, RegistrationOutput]]:
        output = reference.network.apply({'params': params}, batch['fixed'], batch['moving'], jnp.zeros_like(noise))
        value, terms = autofuse_objective(output, batch, OFFICIAL)
        return value, (terms, output)

    return loss


def output_errors(reference: Reference, output: RegistrationOutput) -> dict[str, float]:
    """Return the largest absolute difference of each output and of the gate means."""
    errors = {}
    for name, output_of in OUTPUTS.items():
        if name in reference.arrays:
            errors[name] = _largest(_like(reference, name, output_of(output)), reference.arrays[name])
    means = [float(jnp.mean(weights)) for weights in output.gate_weights.values()]
    return errors | {'gate_means': _largest(np.array(means), reference.arrays['gate_means'])}


def _like(reference: Reference, name: str, ours: jax.Array) -> np.ndarray:
    """Bring an output of ours to the axes and voxels of a stored one."""
    array = np.asarray(ours)
    array = np.moveaxis(array, -1, 0) if array.ndim == 4 else array
    target = reference.arrays[name]
    return (
        array if array.shape == target.shape else array[_sampled_voxels(array.shape, reference.arrays['fixed'].shape)]
    )


def _largest(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        raise ValueError(f'shape {ours.shape} is compared with {theirs.shape}.')
    return float(np.max(np.abs(ours.astype(np.float64) - theirs)))


def loss_errors(reference: Reference, value: float, terms: dict[str, Any]) -> dict[str, float]:
    """Return the relative difference of each loss."""
    arrays = reference.arrays
    pairs = {
        'ncc': (terms['term/negative_ncc'], arrays['loss_ncc']),
        'kl': (terms['term/kl'], arrays['loss_kl_lambda50']),
        'jacobian': (terms['weighted/jacobian'], arrays['loss_jd_official']),
        'total': (value, arrays['loss_total_official']),
    }
    if 'loss_focaldice_terms' in arrays:
        for name, theirs in zip(FOCAL_DICE_TERMS, arrays['loss_focaldice_terms'], strict=True):
            pairs[name] = (terms[f'term/{name}'], theirs)
    return {name: abs(float(ours) / float(theirs) - 1) for name, (ours, theirs) in pairs.items()}


def gradient_errors(reference: Reference, gradient: Any) -> dict[str, float]:
    """Return the relative difference of the norm of each tensor's gradient; infinite where only one is zero."""
    flat = flatten(gradient)
    ours = {
        t.official: float(np.linalg.norm(np.asarray(flat[t.ours], np.float64))) for t in reference.architecture.tensors
    }
    theirs = dict(zip(reference.names, reference.arrays['grad_l2_per_tensor'].tolist(), strict=True))
    return {
        name: abs(ours[name] / theirs[name] - 1) if theirs[name] else (0.0 if ours[name] == 0 else float('inf'))
        for name in theirs
    }


def sampled_flow(reference: Reference, dtype: Any) -> Callable[[Any], jax.Array]:
    """Return params -> displacement with the stored noise."""
    batch, noise = inputs_of(reference, dtype)
    return lambda params: reference.network.apply(
        {'params': params}, batch['fixed'], batch['moving'], noise
    ).displacement[0]


def flow_error(reference: Reference, flow: jax.Array) -> float:
    """Return the largest difference of the displacement with the stored noise."""
    return _largest(_like(reference, 'flow_with_epsilon', flow), reference.arrays['flow_with_epsilon'])


def adam_step(reference: Reference, dtype: Any) -> Callable[[Any, Any], tuple[Any, Any, Any]]:
    """Return (params, state) -> (params, state, what this step saw), to be compiled."""
    value_and_grad = jax.value_and_grad(loss_function(reference, dtype), has_aux=True)

    def step(params: Any, state: Any) -> tuple[Any, Any, Any]:
        (value, (terms, output)), gradient = value_and_grad(params)
        updates, state = OPTIMIZER.update(gradient, state)
        return optax.apply_updates(params, updates), state, (value, terms, output, gradient)

    return step


def adam_losses(step: Callable, params: Any) -> list[float]:
    """Return the loss before each of three Adam steps."""
    state, losses = OPTIMIZER.init(params), []
    for _ in range(ADAM_STEPS):
        params, state, (value, *_) = step(params, state)
        losses.append(float(value))
    return losses


def measure(path: Path) -> dict[str, Any]:
    """Measure everything about one reference, in float32 and in float64."""
    reference, record = read_reference(path), {}
    for precision in ('float32', 'float64'):
        with jax.enable_x64(precision == 'float64'):
            dtype = jnp.dtype(precision)
            params = jax.tree.map(lambda leaf, dtype=dtype: jnp.asarray(leaf, dtype), reference.params)
            step = jax.jit(adam_step(reference, dtype))
            _, _, (value, terms, output, gradient) = step(params, OPTIMIZER.init(params))
            gradients = gradient_errors(reference, gradient)
            flow = jax.jit(sampled_flow(reference, dtype))(params)
            record[precision] = {
                'outputs_largest_difference': output_errors(reference, output)
                | {'flow_with_epsilon': flow_error(reference, flow)},
                'losses_relative': loss_errors(reference, value, terms),
                'gradient_norms_relative': {
                    'largest': max(gradients.values()),
                    'median': float(np.median(list(gradients.values()))),
                    'above_1e-3': sum(error > 1e-3 for error in gradients.values()),
                    'tensors': len(gradients),
                },
            }
            if 'loss_over_3_adam_steps' in reference.arrays:
                record[precision]['adam'] = _measure_adam(reference, step, params, precision == 'float64')
    return record


def _measure_adam(reference: Reference, step: Callable, params: Any, perturb: bool) -> dict[str, Any]:
    losses, official = adam_losses(step, params), reference.arrays['loss_over_3_adam_steps']
    record = {
        'losses': losses,
        'official': official.tolist(),
        'relative': [abs(ours / theirs - 1) for ours, theirs in zip(losses, official, strict=True)],
    }
    if perturb:
        runs = [adam_losses(step, _perturbed(params, seed)) for seed in range(PERTURBED_RUNS)]
        record['perturbed'] = {'relative_change_of_weights': PERTURBATION, 'losses': runs}
    return record


def _perturbed(params: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf * (1 + PERTURBATION * rng.standard_normal(leaf.shape)), params)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--references', type=Path, required=True, help=f'folder with {", ".join(REFERENCES)} (.npz)')
    parser.add_argument('--out', type=Path, help='JSON file to write')
    parser.add_argument('--samples', type=Path, help='write samples of the references to this folder instead')
    options = parser.parse_args(arguments)
    paths = {name: options.references / f'{name}.npz' for name in REFERENCES}

    def command() -> int:
        if options.samples:
            for name, path in paths.items():
                np.savez_compressed(options.samples / f'parity_{name}.npz', **sample(read_reference(path).arrays))
            return 0
        record = provenance() | {
            'networks': {},
        }
        for name, path in paths.items():
            record['networks'][name] = measure(path)
            print(name, json.dumps(record['networks'][name], indent=1), flush=True)
        if options.out:
            write_json(options.out, record)
        return 0

    return run_command(command)


if __name__ == '__main__':
    sys.exit(main())
