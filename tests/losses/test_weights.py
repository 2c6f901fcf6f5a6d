"""What every dataclass of weights refuses: each of its fields in turn."""

import dataclasses

import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.losses.autofuse_weights import ObjectiveWeights
from autofuse_jax.methods.registry import METHODS
from autofuse_jax.methods.voxelmorph_family import WeaklySupervisedWeights

KINDS = sorted({kind.loss for kind in METHODS.values()}, key=lambda kind: kind.__name__)
FIELDS = [(kind, field) for kind in KINDS for field in dataclasses.fields(kind)]
# What a field of a type must not be.
WRONG = {bool: (1, 'no'), int: (-1, 2.0), float: (-0.01, float('nan'), float('inf'), '1'), str: ('unheard', 3)}


def made(kind, **options):
    """The weakly supervised weights have no default number of classes."""
    return kind(**{'num_classes': 2} | options) if kind is WeaklySupervisedWeights else kind(**options)


@pytest.mark.parametrize(('kind', 'field'), FIELDS, ids=[f'{kind.__name__}-{field.name}' for kind, field in FIELDS])
def test_each_field_refuses_what_it_cannot_be(kind, field):
    made(kind)
    for value in WRONG.get(field.type, (0, 'phase_1', (1,))):
        with pytest.raises(UserError, match=f'^loss.{field.name} is .* Expected: .* To fix: '):
            made(kind, **{field.name: value})


def test_all_kinds_are_here():
    assert len(KINDS) >= 10 and ObjectiveWeights in KINDS


@pytest.mark.parametrize('kind', [kind for kind in KINDS if 'ncc_window' in kind.__dataclass_fields__])
def test_a_window_has_a_middle_voxel(kind):
    with pytest.raises(
        UserError, match='loss.ncc_window is 8. Expected: an odd number of 1 or more. To fix: set it to 9'
    ):
        made(kind, ncc_window=8)
    assert made(kind, ncc_window=1).ncc_window == 1


def test_weights_may_be_zero_or_whole_numbers():
    assert ObjectiveWeights(kl=0, jacobian=0.0, segmentation=2).segmentation == 2
