"""Learning rates by family of methods: which are tried, which of them is best, and those of a record by row."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.configs.comparison.rows import ROWS

from autofuse_jax.errors import UserError

# A learning rate with which more voxels fold than this is not taken.
LARGEST_NJD_PERCENT = 0.5
COMMON_RATES = (3e-4, 1e-3, 3e-3)
# Of networks that begin to register at once, and of transformers.
LOWER_RATES = (1e-4, 3e-4, 1e-3)
# A VoxelMorph that is trained for 120 steps moves nothing at any rate; its steps cost a quarter of others.
LONGER = 4


@dataclasses.dataclass(frozen=True)
class Family:
    """Methods that get the same learning rate.

    Attributes:
        rows: Keys of `autofuse_jax.configs.comparison.rows.ROWS`.
        representative: Row that is trained in the search.
        rates: Learning rates that are tried.
        longer: Factor of the steps of its trainings, because shorter ones do not tell rates apart.
    """

    rows: tuple[str, ...]
    representative: str
    rates: tuple[float, ...] = COMMON_RATES
    longer: int = 1


FAMILIES = {
    'fusion': Family(
        ('early_fuse', 'mid_fuse', 'late_fuse', 'multi_fuse', 'autofuse_no_elk', 'autofuse_disp', 'autofuse')
        + ('autofuse_trans', 'loss_fusion', 'feature_fusion', 'input_fusion', 'feature_input_fusion', 'gated_fusion')
        + ('autofuse_semi', 'autofuse_trans_semi'),
        'autofuse_no_elk',
        LOWER_RATES,
    ),
    'convolutional': Family(
        ('voxelmorph', 'voxelmorph_diff', 'lku_net', 'lku_net_16', 'sen', 'ws_voxelmorph'), 'voxelmorph', longer=LONGER
    ),
    'transformer': Family(('transmorph', 'transmatch', 'xmorpher', 'dtn'), 'transmorph', LOWER_RATES),
    'several networks': Family(('rsegnet', 'jpr_net', 'pc_reg', 'ac_dmir', 'gl_net'), 'jpr_net'),
}


def best_rate(trials: Sequence[Mapping[str, Any]]) -> float | None:
    """Choose among the trials of a family.

    Args:
        trials: Each with 'learning_rate', and 'dsc_after' and 'njd_percent' unless it diverged.

    Returns:
        The learning rate; None where all diverged or there is no trial.
    """
    complete = [trial for trial in trials if not trial['diverged']]
    smooth = [trial for trial in complete if trial['njd_percent'] <= LARGEST_NJD_PERCENT]
    if smooth:
        return max(smooth, key=lambda trial: trial['dsc_after'])['learning_rate']
    return min(complete, key=lambda trial: trial['njd_percent'])['learning_rate'] if complete else None


def is_complete(family: Family, trials: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether all learning rates of a family have been tried."""
    return {trial['learning_rate'] for trial in trials} >= set(family.rates)


def read_rates(path: Path, names: Sequence[str], other: float | None = None) -> dict[str, float]:
    """Read the learning rates of rows.

    Args:
        path: A record of `learning_rates`, or any JSON with 'rates' by name of row.
        names: Rows that are to be trained.
        other: Learning rate of rows that the file does not name; None: it must name all.

    Returns:
        Learning rates by name.

    Raises:
        UserError: It is no such file, names rows that do not exist or lacks some, or a rate is not above zero.
    """
    try:
        rates = {str(name): float(rate) for name, rate in json.loads(path.read_text(encoding='utf-8'))['rates'].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'{path} holds no learning rates ({error})',
            expected='JSON with "rates", a number by name of row',
            fix='make it with python -m experiments.learning_rates, or correct --rates',
        ) from error
    unknown = [name for name in rates if name not in ROWS]
    if unknown:
        raise UserError(
            f'{path} names unknown rows {", ".join(unknown)}',
            expected=f'rows among {", ".join(ROWS)}',
            fix='correct the names',
        )
    wrong = [f'{name} {rate:g}' for name, rate in rates.items() if not 0 < rate < math.inf]
    if wrong:
        raise UserError(f'{path} has learning rates of {", ".join(wrong)}', expected='more than 0', fix='correct them')
    absent = [name for name in names if name not in rates]
    if absent and other is None:
        raise UserError(
            f'{path} has no learning rate of {", ".join(absent)}',
            expected='one of each row that is trained',
            fix='add them, or give the others one with --learning-rate',
        )
    return rates
