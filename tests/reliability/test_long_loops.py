"""Many registrations in one process: neither mapped pieces of memory nor the memory itself grow without end."""

import itertools
import subprocess
import sys

import pytest

from autofuse_jax import runtime

PROGRAM = """
import sys
import numpy as np
from pathlib import Path
from autofuse_jax import AlignmentSettings, InstanceSettings, PipelineSettings, register_images, runtime

sizes, runtime.MOST_MAPS = int(sys.argv[1]), Path(sys.argv[2])
settings = PipelineSettings(
    AlignmentSettings(kind='rigid', start='header', spacings=(2.0,), steps=(5,), exact_steps=0),
    InstanceSettings(shrink=(1,), steps=(5,)),
)
random = np.random.default_rng(0)

def ball(shape, shift):
    places = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    places[0] -= shift
    return np.exp(-(places**2 / (np.array(shape)[:, None, None, None] * 0.2) ** 2).sum(axis=0)).astype(np.float32)

def resident_mb():
    words = Path('/proc/self/status').read_text().split()
    return int(words[words.index('VmRSS:') + 1]) // 1024

for _ in range(sizes):
    shape, other = (tuple(random.integers(20, 120, 3) // (1, 1, 3)) for _ in range(2))
    result = register_images(ball(shape, 0), ball(other, 1), settings)
    assert np.isfinite(result.transform.displacement).all()
    print(len(runtime.PROCESS_MAPS.read_text().splitlines()), resident_mb(), flush=True)
"""


def loop(sizes, most):
    """Maps and megabytes after each of so many registrations, each of another size; `most`: file of what is allowed."""
    command = [sys.executable, '-c', PROGRAM, str(sizes), str(most)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [[int(number) for number in line.split()] for line in done.stdout.splitlines()]


def test_programs_are_dropped_above_the_share_of_what_is_allowed(tmp_path, monkeypatch):
    for name, text in (('PROCESS_MAPS', 'a map\n' * 50), ('MOST_MAPS', '100\n')):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(runtime, name, tmp_path / name)
    assert not runtime.drop_programs_if_many()
    (tmp_path / 'MOST_MAPS').write_text('99\n')
    dropped = []
    monkeypatch.setattr('jax.clear_caches', lambda: dropped.append(True))
    assert runtime.drop_programs_if_many() and dropped
    monkeypatch.setattr(runtime, 'MOST_MAPS', tmp_path / 'absent')
    assert not runtime.drop_programs_if_many()


@pytest.mark.slow
@pytest.mark.skipif(not runtime.PROCESS_MAPS.is_file(), reason='only Linux limits and tells the maps')
def test_sixty_sizes_in_one_process(tmp_path):
    """A sixth of what systems allow, so that programs are dropped again and again."""
    allowed = 10_000
    (tmp_path / 'most').write_text(str(allowed))
    maps, megabytes = zip(*loop(60, tmp_path / 'most'), strict=True)
    # A registration begins below the share of what is allowed, and maps two thousand or so.
    assert max(maps) < runtime.LARGEST_SHARE_OF_MAPS * allowed + 4000, maps
    assert sum(after < before for before, after in itertools.pairwise(maps)) > 3, maps
    assert max(megabytes) < 2048, megabytes
