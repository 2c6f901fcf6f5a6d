"""Official weights of VoxelMorph, LKU-Net and SEN come over with their names and shapes, and go back bit for bit."""

import numpy as np
import pytest

from autofuse_jax.porting import from_official, to_official
from autofuse_jax.porting.convert import check_shapes
from tests.porting.small import assert_same

CUBE = (3, 3, 3)


def voxelmorph_shapes(c=4):
    encoder = [(c, 2), (2 * c, c), (2 * c, 2 * c), (2 * c, 2 * c)]
    decoder = [(2 * c, 2 * c), (2 * c, 4 * c), (2 * c, 4 * c), (2 * c, 4 * c)]
    remaining = [(2 * c, 3 * c), (c, 2 * c), (c, c)]
    kernels = {f'unet_model.encoder.{n}.0.main': widths for n, widths in enumerate(encoder)}
    kernels |= {f'unet_model.decoder.{n}.0.main': widths for n, widths in enumerate(decoder)}
    kernels |= {f'unet_model.remaining.{n}.main': widths for n, widths in enumerate(remaining)}
    return with_biases({name: (*widths, *CUBE) for name, widths in (kernels | {'flow': (3, c)}).items()})


def lku_net_shapes(c=2):
    same = {'eninput': (c, 2), 'ec1': (c, c), 'ec2': (2 * c, c), 'ec4': (4 * c, 2 * c), 'ec6': (8 * c, 4 * c)}
    same |= {'ec8': (8 * c, 8 * c), 'dc1': (8 * c, 16 * c), 'dc2': (4 * c, 8 * c), 'dc3': (4 * c, 8 * c)}
    same |= {'dc4': (2 * c, 4 * c), 'dc5': (4 * c, 4 * c), 'dc6': (2 * c, 4 * c), 'dc7': (2 * c, 3 * c)}
    same |= {'dc8': (2 * c, 2 * c)}
    shapes = with_biases({f'{name}.0': (*widths, *CUBE) for name, widths in same.items()})
    up = {'up1': 8 * c, 'up2': 4 * c, 'up3': 2 * c, 'up4': 2 * c}
    shapes |= with_biases({f'{name}.0': (width, width, 2, 2, 2) for name, width in up.items()})
    shapes |= {f'{name}.1.weight': (1,) for name in (*same, *up)}
    for name, width in {'ec3': 2 * c, 'ec5': 4 * c, 'ec7': 8 * c, 'ec9': 8 * c}.items():
        for layer, size in {'regularKernel': 3, 'largeKernel': 5, 'oneKernel': 1}.items():
            shapes |= with_biases({f'{name}.layer_{layer}.0': (width, width, size, size, size)})
        shapes[f'{name}.layer_nonlinearity.weight'] = (1,)
    return shapes | {'dc9.0.weight': (3, 2 * c, *CUBE)}


def sen_shapes(c=2):
    kernels, image, pair, joined = {}, 1, 2, 2
    for level, width in enumerate((c, 2 * c, 4 * c, 8 * c, 16 * c), 1):
        wide = 2 * width
        kernels |= {f'l{level}1': (width, image), f'l{level}2': (width, image), f'l{level}': (wide, joined)}
        image, pair, joined = width, wide, 4 * width if level < 5 else wide
        kernels[f'l{level}_'] = (joined, pair + 2 * width)
    kernels |= {'d11': (32 * c, 64 * c), 'd12': (16 * c, 32 * c), 'd21': (16 * c, 32 * c), 'd22': (8 * c, 16 * c)}
    kernels |= {'d31': (16 * c, 16 * c), 'd32': (8 * c, 16 * c), 'd41': (8 * c, 12 * c), 'd42': (4 * c, 8 * c)}
    shapes = with_biases({f'unet_model.{name}.main': (*widths, *CUBE) for name, widths in kernels.items()})
    up = {'d1': 32 * c, 'd2': 16 * c, 'd3': 8 * c, 'd4': 8 * c}
    shapes |= with_biases({f'unet_model.{name}.main': (width, width, 2, 2, 2) for name, width in up.items()})
    return shapes | {f'gen_flow_{name}.weight': (3, 4 * c, *CUBE) for name in ('direction', 'inverse')}


def with_biases(kernels):
    shapes = {}
    for name, shape in kernels.items():
        shapes |= {f'{name}.weight': shape, f'{name}.bias': shape[:1]}
    return shapes


def filled(shapes):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ('architecture', 'shapes', 'expected', 'unused'),
    [
        ('voxelmorph', voxelmorph_shapes(), {'variant': 'current', 'base_channels': 4}, 'transformer.grid'),
        ('lku_net', lku_net_shapes(), {'channels': 2}, 'dc10.0.weight'),
        ('sen', sen_shapes(), {'base_channels': 2}, None),
    ],
)
def test_official_weights_come_and_go(architecture, shapes, expected, unused):
    state = filled(shapes)
    given = state if unused is None else state | {unused: np.zeros((3, 4, 3, 3, 3), np.float32)}
    params, found, options = from_official(given)
    assert found.name == architecture and options == expected
    check_shapes(params, found.method, options)
    back, _ = to_official(params)
    assert_same(dict(sorted(back.items())), dict(sorted(state.items())))


def test_the_order_of_voxelmorphs_tensors_is_the_official_one():
    state = filled(voxelmorph_shapes())
    assert list(to_official(from_official(state)[0])[0]) == list(state)


def test_the_components_of_sens_heads_are_reversed():
    state = filled(sen_shapes())
    params, _, _ = from_official(state)
    for theirs, ours in {'direction': 'flow', 'inverse': 'inverse_flow'}.items():
        for component in range(3):
            np.testing.assert_array_equal(
                params[f'{ours}/kernel'][..., component],
                state[f'gen_flow_{theirs}.weight'][2 - component].transpose(1, 2, 3, 0),
            )
