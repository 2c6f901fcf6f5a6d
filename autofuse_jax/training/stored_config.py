"""The config that a run wrote into its folder, read and checked before anything is built from it."""

from pathlib import Path
from typing import Any

from autofuse_jax.errors import COUNT, Range
from autofuse_jax.methods.registry import SECTIONS
from autofuse_jax.records.forms import Anything, Entries, Fields, Number, Table, Text
from autofuse_jax.records.reading import read_json

# Options check themselves; what else a config has is checked by `config_checks.validate`.
OPTIONS = Table(Anything())
SIZE = Entries(Number(Range(least=0, most=100_000, whole=True)), 3, 3)
PHASE = Fields({'steps': Number(Range(least=0, whole=True)), 'pairs': Text()}, {'crop': SIZE})
TRAINING = Fields(
    {'batch_size': Number(COUNT), 'precision': Text(), **dict.fromkeys(('devices', 'depth_devices'), Number())},
    {'compilation_cache': Text()},
)
CONFIG = Fields(
    {'method': Text(), **dict.fromkeys(SECTIONS, OPTIONS)},
    {
        'data': Fields({'root': Text(), 'grid': SIZE}, {'source': Text(), 'teacher': Text(), 'phantom': OPTIONS}),
        'optimizer': OPTIONS,
        'phases': Table(PHASE),
        'training': TRAINING,
        'evaluation': OPTIONS,
        'weights': Text(),
    },
)
# A run can be opened again with these sections only.
SECTIONS_OF_RUN = ('data', 'optimizer', 'phases', 'training', 'evaluation')
RUN_CONFIG = Fields(dict(CONFIG.required) | {name: CONFIG.optional[name] for name in SECTIONS_OF_RUN}, CONFIG.optional)


def read_config(path: Path, *, of_run: bool = False) -> dict[str, Any]:
    """Read a stored config.

    Args:
        path: The config.json of a run.
        of_run: Whether the whole run will be opened, not its network alone. Default False.

    Returns:
        The config, with the fields that its network needs.

    Raises:
        UserError: It cannot be read, or is no config.
    """
    return read_json(
        path,
        RUN_CONFIG if of_run else CONFIG,
        misfit='is no config',
        expected='the config.json that training wrote',
        fix='copy it again from the run',
    )
