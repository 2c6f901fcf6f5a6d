"""Damaged heaps that the HDF5 library would read for ever are refused; all others are left to it."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest

from autofuse_jax.errors import UserError
from autofuse_jax.transforms.maps import AffineTransform
from autofuse_jax.transforms_io.hdf5_heaps import FREE, OBJECT, SIGNATURE, check_heaps

itk_hdf5 = pytest.importorskip('h5py') and pytest.importorskip('autofuse_jax.transforms_io.itk_hdf5')
READ = 'import sys, h5py; print(h5py.File(sys.argv[1])["TransformGroup/0/TransformType"][()])'


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'a.h5'
    itk_hdf5.write_itk_hdf5(path, AffineTransform(np.diag([1.1, 1.0, 0.9, 1.0])))
    return path


def free_space(content):
    """Where the free space of the only heap is described."""
    place = content.index(SIGNATURE) + len(SIGNATURE) + 8
    while OBJECT.unpack_from(content, place)[0] != FREE:
        place += OBJECT.size + -(-OBJECT.unpack_from(content, place)[3] // 8) * 8
    return place


def test_a_heap_without_an_end_is_refused_that_the_library_reads_for_ever(path):
    check_heaps(path)
    content = bytearray(path.read_bytes())
    OBJECT.pack_into(content, free_space(content), FREE, 0, 0, 0)
    path.write_bytes(content)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, '-c', READ, path], timeout=5, capture_output=True)
    with pytest.raises(UserError, match=r'a.h5 cannot be read \(the heap at byte \d+ is damaged\)'):
        itk_hdf5.read_itk_hdf5(path)


def test_an_object_beyond_its_heap_is_refused(path):
    content = bytearray(path.read_bytes())
    OBJECT.pack_into(content, free_space(content), 7, 1, 0, 2**64 - 1)
    path.write_bytes(content)
    with pytest.raises(UserError, match='heap at byte'):
        itk_hdf5.read_itk_hdf5(path)


def test_cut_and_empty_files_come_to_an_end(path):
    content = path.read_bytes()
    for length in (0, 1, *range(content.index(SIGNATURE), len(content), 7)):
        path.write_bytes(content[:length])
        with contextlib.suppress(UserError):
            check_heaps(path)
