"""Hold the gates of a trained AutoFuse at constants, to see what it is worth that they depend on the images.

    python -m experiments.weights.hold_gates --weights=cardiac --at=mean --data=DIR --out=held.npz

Held at the mean, each channel of each gate takes from the fusion branch what it takes on average over voxels and
training pairs, and differs no longer between places and pairs; held at a half, it takes as much from either side as
before any training. Nothing else is changed or trained again: what is lost is what the rest has come to rely on.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from autofuse_jax.data.batches import pair_to_arrays
from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.pair_policies import pair_source
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.porting.convert import check_shapes, unflatten
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.training.network_runs import network_grid
from autofuse_jax.weights.released import Description, read_released, write_released
from autofuse_jax.weights.shipped import weights_file

MEAN, HALF = 'mean', 'half'
CACHE_GIB = 1.0
# The two layers whose difference is the logit of what a gate takes from the fusion branch.
OF_FUSION, OF_SINGLE = 'gate_fusion', 'gate_single'


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', required=True, help='npz or name of the trained weights')
    parser.add_argument('--at', choices=(MEAN, HALF), required=True, help='where the gates are held')
    parser.add_argument('--data', type=Path, help='folder that `autofuse-jax prepare` wrote, for the mean')
    parser.add_argument('--pairs', type=int, default=20, help='training pairs of the mean; default 20')
    parser.add_argument('--out', type=Path, required=True, help='npz to write')
    options = parser.parse_args(arguments)
    enable_compilation_cache()
    return run_command(
        lambda: hold(weights_file(options.weights), options.at, options.out, data=options.data, pairs=options.pairs)
    )


def hold(weights: Path, at: str, out: Path, *, data: Path | None = None, pairs: int = 20) -> None:
    """Write weights whose gates are held.

    Args:
        weights: The trained ones.
        at: 'mean' or 'half'.
        out: The npz to write.
        data: Prepared data whose training pairs give the mean.
        pairs: Number of those pairs, spread evenly over all.

    Raises:
        UserError: The network has no gates, or there is no data for a mean.
        OSError: The file cannot be written.
    """
    params, description = read_released(weights)
    check_shapes(params, description.method, description.model)
    gates = gate_names(params)
    if not gates:
        raise UserError(f'{weights} has no gates', expected='weights of a network whose features are fused by gates')
    if at == HALF:
        shares = {gate: np.full(params[f'{gate}/{OF_FUSION}/bias'].shape, 0.5, np.float32) for gate in gates}
    elif data is None:
        raise UserError('the mean of the gates is that of training pairs', fix='add --data')
    else:
        shares = mean_shares(params, description, data, pairs)
    held = held_params(params, shares)
    description.origin['gates'] = f'held at {"a half" if at == HALF else "their mean over training pairs"}'
    write_released(out, held, description)
    print(f'written: {out}, {len(gates)} gates held at {at}')


def gate_names(params: Mapping[str, np.ndarray]) -> list[str]:
    """Return the flat names of the gates, such as 'fusion_branch/gate_2'."""
    end = f'/{OF_FUSION}/bias'
    return sorted(name.removesuffix(end) for name in params if name.endswith(end))


def mean_shares(
    params: Mapping[str, np.ndarray], description: Description, data: Path, count: int
) -> dict[str, np.ndarray]:
    """Measure what each channel of each gate takes from the fusion branch.

    Args:
        params: Parameters by flat name.
        description: What they belong to.
        data: Prepared data.
        count: Number of training pairs.

    Returns:
        (C,), in [0, 1], by the gate's flat name: the mean over voxels and pairs.
    """
    method = predicting_method(description.method, description.model)
    manifest = read_manifest(data)
    store = FrameStore(manifest, network_grid(manifest, description, method.multiple), CACHE_GIB)
    pairs = pair_source('ed_es', manifest, 'train', frozenset()).anchors
    chosen = [pairs[place] for place in np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int)]
    nested = unflatten(params)

    def means(fixed: jax.Array, moving: jax.Array) -> dict[str, jax.Array]:
        weights = method.gate_weights(nested, fixed, moving)
        return {name: weight.mean(axis=(0, 1, 2, 3)) for name, weight in weights.items()}

    measure = jax.jit(means)
    found = []
    for pair in chosen:
        arrays = pair_to_arrays(store, pair)
        found.append(jax.device_get(measure(arrays['fixed'][None], arrays['moving'][None])))
    flat = {gate.rpartition('/')[2]: gate for gate in gate_names(params)}
    return {flat[name]: np.mean([one[name] for one in found], axis=0) for name in found[0]}


def held_params(params: Mapping[str, np.ndarray], shares: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return parameters whose gates take given shares from the fusion branch, whatever they see.

    Args:
        params: Parameters by flat name.
        shares: (C,), above 0 and below 1, by the gate's flat name.
    """
    held = dict(params)
    for gate, share in shares.items():
        for layer in (OF_FUSION, OF_SINGLE):
            for kind in ('kernel', 'bias'):
                held[f'{gate}/{layer}/{kind}'] = np.zeros_like(params[f'{gate}/{layer}/{kind}'])
        held[f'{gate}/{OF_FUSION}/bias'] = np.log(share / (1.0 - share)).astype(np.float32)
    return held


if __name__ == '__main__':
    sys.exit(main())
