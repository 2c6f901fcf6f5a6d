"""The parameters of the convolutional AutoFuse in the order of the official networks' tensor lists.

Golden numbers are defined for weights that follow a rule in that order and in the official memory layout
(O, I, kD, kH, kW); here they are laid out for our parameter tree.
"""

import jax.numpy as jnp
import numpy as np


def official_order(*, segmentation: bool) -> list[tuple[str, ...]]:
    """Return the path of each layer (its kernel, then its bias) in official order."""
    layers = []
    for number in range(1, 10 if segmentation else 9):
        layers += [('single_branch', f'conv_{number}', f'conv_{half}') for half in (1, 2)]
    if segmentation:
        layers.append(('single_branch', 'segmentation_head', 'conv'))
    for number in range(1, 9):
        layers += [('fusion_branch', f'conv_{number}', f'conv_{half}') for half in (1, 2)]
    for number in range(2, 9):
        gate = ('fusion_branch', f'gate_{number}')
        layers += [(*gate, name) for name in ('single', 'gate_fusion', 'gate_single')]
        layers += [(*gate, 'large_kernel', name) for name in ('conv_1', 'conv_2', 'conv_3', 'conv_4', 'merge')]
    layers += [('fusion_branch', 'registration_head', name) for name in ('conv', 'mean', 'log_variance')]
    return [(*layer, kind) for layer in layers for kind in ('kernel', 'bias')]


def get(tree: dict, path: tuple[str, ...]):
    """Return the leaf at a path."""
    for name in path:
        tree = tree[name]
    return tree


def official_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the official shape of a tensor of ours."""
    return (shape[4], shape[3], *shape[:3]) if len(shape) == 5 else shape


def fill(shapes: dict, rule, *, segmentation: bool, dtype=jnp.float32) -> dict:
    """Build a parameter tree whose n-th tensor in official order is `rule(n, official shape)`.

    Every tensor of `shapes` must be in the order and the other way round.
    """
    order = official_order(segmentation=segmentation)
    tree: dict = {}
    for number, path in enumerate(order):
        ours = get(shapes, path).shape
        value = np.asarray(rule(number, official_shape(ours)))
        if value.ndim == 5:
            value = value.transpose(2, 3, 4, 1, 0)
        assert value.shape == ours, (path, value.shape, ours)
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        node[path[-1]] = jnp.asarray(value, dtype)
    return tree


def sine_rule(number: int, shape: tuple[int, ...]) -> np.ndarray:
    """The rule of golden set G5: sin(0.37 t + 0.11 n), scaled by the fan-in or by 0.02."""
    value = np.sin(0.37 * np.arange(np.prod(shape)) + 0.11 * number).reshape(shape)
    return value / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.02 * value
