"""A training of a branch once without an interruption and once with one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autofuse_jax.training.stopping import StopRequest
from autofuse_jax.weights.released import Description, read_released
from tests.quick import hurried

# The step after which the signal comes.
INTERRUPTED = 2


def train_twice(
    main: Callable[[list[str]], int],
    arguments: Callable[..., list[str]],
    folder: Path,
    other_option: str,
    capsys: pytest.CaptureFixture[str],
    *,
    steps: int,
) -> tuple[dict[str, np.ndarray], Description]:
    """Check that a training that is interrupted goes on with the same command only, and ends with the same weights.

    Args:
        main: The command.
        arguments: Maps the path that its folder and its weights share, and further options, to a command line.
        folder: Where both are put.
        other_option: An option with which the training must not go on.
        capsys: Of the test.
        steps: Steps of the whole training.

    Returns:
        The weights of the training without interruption, and their description.
    """
    whole, parts = folder / 'whole', folder / 'parts'
    with hurried(), pytest.MonkeyPatch.context() as patched:
        assert main(arguments(whole)) == 0
        looked = iter(range(100))
        patched.setattr(StopRequest, 'ending', property(lambda stop: next(looked) >= INTERRUPTED))
        assert main(arguments(parts)) == 0
        assert not parts.with_suffix('.npz').exists()
        patched.undo()
        assert main(arguments(parts, other_option)) == 2
        assert main(arguments(parts)) == 0
    said = capsys.readouterr().err
    assert f'from step {INTERRUPTED} of {steps}' in said and 'holds a training with other options' in said
    trained, description = read_released(whole.with_suffix('.npz'))
    again, _ = read_released(parts.with_suffix('.npz'))
    assert set(again) == set(trained)
    for name, array in trained.items():
        np.testing.assert_array_equal(array, again[name])
    return trained, description


def parameters_in(weights: Path) -> dict[str, np.ndarray]:
    """Return the parameters of a file of weights by name."""
    return dict(read_released(weights)[0])


def changed_branches(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> list[str]:
    """Return the branches that are new or have other values, in order of their names."""
    changed = {
        name.split('/')[0]
        for name, array in after.items()
        if name not in before or not np.array_equal(array, before[name])
    }
    return sorted(changed)
