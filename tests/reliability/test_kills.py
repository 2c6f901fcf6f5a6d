"""Results that are replaced, killed at every moment at which a name changes: nothing is lost, nothing is mixed."""

import subprocess
import sys

import pytest

# A child for each moment, without the libraries that make starting slow: the n-th change of a name kills it.
PROGRAM = """
import itertools, os, sys
from pathlib import Path
from autofuse_jax.files import results_folder
from autofuse_jax.storage import swaps
from tests.reliability.campaign.moments import kill_at

way, root = sys.argv[1], Path(sys.argv[2])
OLD = {'a': 'old', 'gone': 'old', 'report.json': '{"files": ["a", "gone", "report.json"]}', 'note': 'mine'}
NEW = {'a': 'new', 'sub/b': 'new', 'report.json': '{"files": ["a", "sub/b", "report.json"]}'}
if way == 'two renames':
    swaps._rename_both = lambda *_: False
if way == 'in place':
    swaps._can_be_exchanged = lambda _: False

def content(folder):
    names = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in names}

def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

def replace(folder):
    with results_folder(folder, overwrite=True, record='report.json', only_own=True):
        earlier = [folder / 'a', folder / 'gone', folder / 'report.json']
        with swaps.replacing_folder(folder, 'report.json', earlier=earlier) as place:
            write(place, NEW)

whole = (OLD, {**NEW, 'note': 'mine'})
for moment in itertools.count():
    folder = root / str(moment) / 'results'
    write(folder, OLD)
    child = os.fork()
    if not child:
        kill_at(moment)
        replace(folder)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if way == 'exchange':
        assert {k: v for k, v in content(folder).items() if not k.startswith('.')} in whole, content(folder)
    # The same command again.
    with results_folder(folder, overwrite=True, record='report.json', only_own=True):
        assert content(folder) in whole, (moment, content(folder))
    replace(folder)
    assert content(folder) == whole[1]
    assert os.listdir(folder.parent) == ['results'], os.listdir(folder.parent)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        break
print(moment)
"""


# Files that appear together, and a command that refuses to replace them.
STAGED = """
import itertools, os, sys
from pathlib import Path
from autofuse_jax.errors import UserError
from autofuse_jax.transforms_io.staging import staging
from tests.reliability.campaign.moments import kill_at

NAMES = ('out/a', 'out/b', 'second/c', 'third/d')

def write(root, names=NAMES):
    with staging(overwrite=False) as stage:
        for name in names:
            stage.claim(root / name, name)
        for name in names:
            stage.temporary(root / name).write_text(name)

def files_in(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob('*') if not path.is_dir())

for moment in itertools.count():
    root = Path(sys.argv[1], str(moment))
    root.mkdir()
    child = os.fork()
    if not child:
        kill_at(moment)
        write(root)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if moment % 2:
        # Another command comes first, which knows one of the folders only.
        (root / 'second').mkdir(exist_ok=True)
        write(root, ['second/other'])
        (root / 'second' / 'other').unlink()
    # What is there by now is there to the last file, or will be.
    begun = [name for name in NAMES if (root / name).exists()]
    try:
        write(root)
    except UserError as error:
        assert 'exists' in str(error)
    else:
        assert not begun, (moment, begun)
    assert files_in(root) == sorted(NAMES), (moment, files_in(root))
    if os.WIFEXITED(status):
        break
print(moment)
"""


def test_files_that_appear_together_do_so_after_a_kill_at_any_moment(tmp_path):
    done = subprocess.run([sys.executable, '-c', STAGED, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20


@pytest.mark.parametrize('way', ['exchange', 'two renames', 'in place'])
def test_results_survive_a_kill_at_any_moment_of_their_replacement(tmp_path, way):
    done = subprocess.run([sys.executable, '-c', PROGRAM, way, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # So many moments there were.
    assert int(done.stdout) >= 8


def test_a_full_disk_leaves_earlier_results_and_the_command_usable(tmp_path):
    """A limit on the size of files stands for the disk."""
    program = """
import resource, signal, sys
from pathlib import Path
from autofuse_jax.errors import run_command
from autofuse_jax.files import results_folder
from autofuse_jax.storage.swaps import replacing_folder
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
def command():
    with results_folder(folder, overwrite=True, record='report.json', only_own=True):
        with replacing_folder(folder, 'report.json', earlier=[folder / 'report.json']) as place:
            (place / 'image').write_bytes(bytes(100_000))
            (place / 'report.json').write_text('{"files": ["image", "report.json"]}')
sys.exit(run_command(command))
"""
    folder = tmp_path / 'results'
    folder.mkdir()
    (folder / 'report.json').write_text('{"files": ["report.json"]}')
    for limit, status, files in ((10_000, 2, ['report.json']), (200_000, 0, ['image', 'report.json'])):
        command = [sys.executable, '-c', program, folder, str(limit)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert sorted(path.name for path in folder.iterdir()) == files
        assert [path.name for path in tmp_path.iterdir()] == ['results']
        assert 'Traceback' not in done.stderr
