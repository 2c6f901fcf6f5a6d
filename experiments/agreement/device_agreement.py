"""How far an accelerator's result is from the CPU's: displacement, loss and derivatives of AutoFuse, in each precision.

    python -m experiments.agreement.device_agreement --out=experiments/results/agreement_gpu.json

The network has random weights whose fields are several voxels large, and two smooth random images. The reference is
float32 on the CPU of the same machine. Of displacements the largest and the mean difference are given, in voxels; of
the loss the relative difference; of its derivatives the relative distance over all parameters.
"""

import argparse
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from autofuse_jax.errors import run_command
from autofuse_jax.files import write_json
from autofuse_jax.methods.registry import make_method
from autofuse_jax.provenance import provenance
from autofuse_jax.training.precision import FLOAT32, PRECISIONS, compute_dtype, has_bfloat16, products_in
from experiments.record_parser import record_parser

SIZE = (48, 48, 16)
# Of the images before they are made larger, and of the head's weights: smooth fields of several voxels.
COARSE = (6, 6, 4)
HEAD_WEIGHT = 0.03
SEED = 0


def images() -> dict[str, jax.Array]:
    """Return a batch of two smooth images, (1, D, H, W, 1) in 0 .. 1."""
    coarse = np.random.default_rng(SEED).random((2, *COARSE), np.float32)
    fixed, moving = (np.asarray(jax.image.resize(image, SIZE, 'cubic')).clip(0, 1) for image in coarse)
    return {'fixed': jnp.asarray(fixed)[None, ..., None], 'moving': jnp.asarray(moving)[None, ..., None]}


def weights(method: Any) -> Any:
    """Return random weights of AutoFuse that move voxels."""
    params = jax.jit(lambda key: method.init(key, SIZE))(jax.random.key(SEED))
    kernel = params['fusion_branch']['registration_head']['mean']['kernel']
    random_kernel = HEAD_WEIGHT * jax.random.normal(jax.random.key(SEED + 1), kernel.shape)
    params['fusion_branch']['registration_head']['mean']['kernel'] = random_kernel
    return params


def compute(arguments: Any, device: jax.Device, precision: str, **model: Any) -> tuple[np.ndarray, float, np.ndarray]:
    """Return displacement, loss and all derivatives in a row for weights and images, computed on a device."""
    method = make_method('autofuse', model, {}, compute_dtype=compute_dtype(precision))
    (objective,) = method.objectives('phase_1')
    key = jax.random.key(SEED)

    def both(params: Any, batch: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
        displacement = method.predict(params, batch['fixed'], batch['moving'], key).displacement
        return displacement, jax.value_and_grad(lambda p: objective.loss(p, batch, key)[0])(params)

    with products_in(precision), jax.default_device(device):
        displacement, (loss, gradient) = jax.jit(both)(*jax.device_put(arguments, device))
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(gradient)]
    return np.asarray(displacement, np.float64), float(loss), np.concatenate(leaves)


def compare(device: jax.Device, **model: Any) -> dict[str, Any]:
    """Return the largest displacement, and the differences by precision."""
    cpu = jax.devices('cpu')[0]
    with jax.default_device(cpu):
        arguments = weights(make_method('autofuse', model, {})), images()
    reference, loss, gradient = compute(arguments, cpu, FLOAT32, **model)
    differences: dict[str, Any] = {'largest_displacement': float(np.abs(reference).max()), 'precisions': {}}
    for precision in PRECISIONS:
        if precision == 'bfloat16' and not has_bfloat16(device):
            continue
        other, other_loss, other_gradient = compute(arguments, device, precision, **model)
        differences['precisions'][precision] = {
            'displacement_largest': float(np.abs(other - reference).max()),
            'displacement_mean': float(np.abs(other - reference).mean()),
            'loss_relative': abs(other_loss - loss) / abs(loss),
            'gradient_relative': float(np.linalg.norm(other_gradient - gradient) / np.linalg.norm(gradient)),
        }
    return differences


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    device = jax.devices()[0]
    record = provenance() | {'size': list(SIZE)} | compare(device)
    write_json(options.out, record)
    print(record['precisions'])
    return 0


if __name__ == '__main__':
    sys.exit(main())
