"""Make a larger network of trained weights, which gives what the smaller one gave before it learns more.

    python -m experiments.weights.grow --weights=cardiac --model fine_channels=16 compare_slices=True --out=grown.npz

Wider layers keep their trained channels; new channels start at random and reach the trained ones with weight zero.
Larger kernels hold the trained one in their middle, and zeros around it. A branch that was not there starts as it is
drawn: what that of refining_channels=8 adds to the velocity is next to nothing. That of descent_channels=16 is the one
that changes something at once: it begins with the steps that the forces suggest, see `models.descent`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.methods.registry import predicting_method
from autofuse_jax.porting.convert import check_shapes, flatten, parameter_structure
from autofuse_jax.weights.released import read_released, write_released
from autofuse_jax.weights.shipped import weights_file


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', required=True, help='npz or name of the trained weights')
    parser.add_argument('--model', nargs='+', required=True, metavar='OPTION=VALUE', help='options that change')
    parser.add_argument('--seed', type=int, default=0, help='of what starts at random; default 0')
    parser.add_argument('--out', type=Path, required=True, help='npz to write')
    options = parser.parse_args(arguments)
    return run_command(lambda: grow(weights_file(options.weights), options.model, options.out, seed=options.seed))


def grow(weights: Path, changes: Sequence[str], out: Path, *, seed: int = 0) -> None:
    """Write the weights of the larger network.

    Args:
        weights: The trained ones.
        changes: Options of the network that change, 'name=value'.
        out: The npz to write.
        seed: Seed of what starts at random.

    Raises:
        UserError: A file cannot be read, an option is unknown, or the changed network is not larger.
        OSError: The file cannot be written.
    """
    params, description = read_released(weights)
    description.model.update(_values(changes))
    method = predicting_method(description.method, description.model)
    # Before anything is drawn, which takes a while.
    _check_larger(params, {name: leaf.shape for name, leaf in flatten(parameter_structure(method)).items()})
    fresh = flatten(jax.device_get(method.init(jax.random.key(seed), method.size or method.multiple)))
    grown = grown_params(params, fresh)
    check_shapes(grown, description.method, description.model)
    description.origin['grown'] = ' '.join(changes)
    write_released(out, grown, description)
    count = sum(array.size for array in params.values())
    print(f'written: {out}, {count:,} parameters grown to {sum(array.size for array in grown.values()):,}')


def grown_params(params: Mapping[str, np.ndarray], fresh: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Put trained parameters into larger ones.

    Where a layer takes several tensors side by side, only the last of them may have become wider.

    Args:
        params: Trained parameters by flat name: kernels (..., I, O) and vectors (O,).
        fresh: Those of a network that is larger in every layer, drawn at random.

    Returns:
        Parameters of the larger network that give what the trained ones gave.
    """
    grown = {}
    for name, larger in fresh.items():
        value = np.array(larger, np.float32)
        if name in params:
            trained = params[name]
            outputs = trained.shape[-1]
            value[..., :outputs] = 0.0
            value[_place(trained.shape, value.shape)] = trained
        grown[name] = value
    return grown


def _check_larger(params: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a network in which a trained parameter has no place."""
    for name, trained in params.items():
        larger = shapes.get(name)
        if larger is not None and (trained.ndim != len(larger) or any(np.subtract(larger, trained.shape) < 0)):
            raise UserError(
                f'{name} has shape {trained.shape} and would get {larger}',
                expected='a network that is larger in every layer',
                fix='correct --model',
            )
    lost = sorted(set(params) - set(shapes))
    if lost:
        raise UserError(
            f'the other network has no {", ".join(lost[:3])}',
            expected='a network with all layers of the trained one',
            fix='correct --model',
        )


def _place(small: tuple[int, ...], large: tuple[int, ...]) -> tuple[slice, ...]:
    """Where the trained values lie: in the middle of a kernel, and first among channels."""
    channels = min(len(small), 2)
    space = zip(small[:-channels], large[:-channels], strict=True)
    middle = [slice((new - old) // 2, (new - old) // 2 + old) for old, new in space]
    return (*middle, *(slice(size) for size in small[-channels:]))


def _values(changes: Sequence[str]) -> dict[str, Any]:
    """Options by name, of the type that they have."""
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition('=')
        if not equals or not name:
            raise UserError(f'--model has {change!r}', expected='OPTION=VALUE', fix='as in fine_channels=16')
        if text in ('True', 'False'):
            values[name] = text == 'True'
        elif text.isdigit():
            values[name] = int(text)
        else:
            raise UserError(f'--model has {change!r}', expected='a whole number, True or False', fix='correct it')
    return values


if __name__ == '__main__':
    sys.exit(main())
