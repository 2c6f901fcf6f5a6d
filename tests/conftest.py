"""Settings of the test session: haste, four simulated devices, a lasting compilation cache, where real data lies."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

# Compiling takes nearly all time of these tests, so that XLA does it without optimisation, in a third of the time.
# The second option, an older way to compile fused loops, was tried with jax 0.10; options of the compiler come and go.
HASTE = ['--xla_backend_optimization_level=0']
if tuple(map(int, version('jax').split('.')[:2])) < (0, 11):
    HASTE.append('--xla_cpu_use_fusion_emitters=false')
# Traces are large and live long: looking through them for garbage at every chance costs more than what it frees.
gc.set_threshold(200_000, 50, 50)
# Read once, by the first import of jax; programs that tests start inherit it. What was set outside comes last and wins.
os.environ['XLA_FLAGS'] = ' '.join([*HASTE, os.environ.get('XLA_FLAGS', '')])

import jax  # noqa: E402
import pytest  # noqa: E402

SIMULATED_DEVICES = 4
DATA_VARIABLE = 'AUTOFUSE_JAX_DATA'
DATA_FOLDER = Path(os.environ.get(DATA_VARIABLE, Path(__file__).resolve().parents[2] / 'shared' / 'data'))
# Complete outputs of the official networks.
REFERENCE_FOLDER = DATA_FOLDER.parent / 'parity'

# Each takes a minute or so of one core. They come first, so that at the end no core waits for one that began last.
LONGEST = (
    'training/test_loop.py',
    'training/test_loop_continued.py',
    'register/test_results_folder.py',
    'experiments/test_compare_methods.py',
    'registration/test_partial_views.py',
    'models/test_autofuse_trans.py',
    'registration/test_alignment.py',
    'registration/test_starts.py',
    'methods/test_autofuse.py',
    'models/test_autofuse.py',
    'test_port_weights.py',
    'models/test_joint_networks.py',
    'losses/test_label_objectives.py',
    'porting/test_architectures.py',
)

jax.config.update('jax_num_cpu_devices', SIMULATED_DEVICES)
jax.config.update('jax_compilation_cache_dir', os.path.expanduser('~/.cache/autofuse_jax/xla'))
# Several tests compile the same program in turn.
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front; `--no-loadscope-reorder` keeps that order."""
    order = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder of the real development data; tests that need it are skipped where it is absent."""
    folder = DATA_FOLDER
    if not folder.is_dir():
        pytest.skip(f'no real data in {folder}; set {DATA_VARIABLE} to its folder')
    return folder
