"""Settings of the test session: four simulated devices, a compilation cache that outlives it, where real data lies."""

import os
from pathlib import Path

import jax
import pytest

SIMULATED_DEVICES = 4
DATA_VARIABLE = 'AUTOFUSE_JAX_DATA'
DATA_FOLDER = Path(os.environ.get(DATA_VARIABLE, Path(__file__).resolve().parents[2] / 'shared' / 'data'))
# Complete outputs of the official networks.
REFERENCE_FOLDER = DATA_FOLDER.parent / 'parity'

jax.config.update('jax_num_cpu_devices', SIMULATED_DEVICES)
jax.config.update('jax_compilation_cache_dir', os.path.expanduser('~/.cache/autofuse_jax/xla'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 1.0)


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder of the real development data; tests that need it are skipped where it is absent."""
    folder = DATA_FOLDER
    if not folder.is_dir():
        pytest.skip(f'no real data in {folder}; set {DATA_VARIABLE} to its folder')
    return folder
