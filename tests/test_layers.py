"""Which part may use which library, what every part must say about itself, and how long a file may be."""

import ast
import functools
from pathlib import Path

import pytest

import autofuse_jax

PACKAGE = Path(autofuse_jax.__file__).resolve().parent
FILES = sorted(PACKAGE.rglob('*.py'))
LONGEST_FILE = 400
MOST_LOOSE_MODULES = 20
WITHOUT_JAX = ('classical', 'data', 'evaluation', 'metrics', 'records', 'reports', 'transforms', 'transforms_io')


# Rooms and loose files of the package from the ground up: an import may only lead to a lower line.
FLOORS = (
    ('choices', 'configs', 'errors', 'outputs', 'progress', 'runtime', 'version'),
    ('records',),
    ('storage',),
    ('cli', 'files', 'provenance', 'sharding', 'transforms'),
    ('data', 'metrics'),
    ('classical', 'fields', 'reports', 'transforms_io'),
    ('applying', 'evaluation', 'losses', 'models'),
    ('methods',),
    ('porting',),
    ('weights',),
    ('deployment', 'training'),
    ('main', 'registration'),
    ('preparation', 'train'),
    ('commands',),
    ('apply_transform', 'evaluate', 'export', 'port_weights', 'prepare', 'register'),
)


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


@functools.cache
def imports_of(path):
    """Dotted names that a file imports anywhere, relative imports resolved."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            folder = ['autofuse_jax', *path.relative_to(PACKAGE).parts[:-1]]
            base = folder[: len(folder) - node.level + 1] if node.level else []
            module = '.'.join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f'{module}.{alias.name}' for alias in node.names}
    return names


def importers(module, files=FILES):
    """Files that import a module or something inside it."""
    return {
        name_of(path)
        for path in files
        if any(name == module or name.startswith(f'{module}.') for name in imports_of(path))
    }


def files_below(*folders):
    files = [path for path in FILES if path.relative_to(PACKAGE).parts[0] in folders]
    assert files
    return files


def public_definitions(tree):
    """(name, node) of public functions and classes and of their public methods."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith('_'):
            yield node.name, node
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, kinds) and not inner.name.startswith('_'):
                    yield f'{node.name}.{inner.name}', inner


def test_the_search_for_imports_finds_them(tmp_path):
    path = PACKAGE / 'models' / 'pair_network.py'
    assert {'flax.linen', 'jax', 'jax.numpy', 'autofuse_jax.fields.upsample_displacement'} <= imports_of(path)
    assert 'training/loop.py' in importers('jax')


@pytest.mark.parametrize('module', ['jax', 'flax', 'optax', 'orbax'])
def test_data_metrics_evaluation_and_reports_work_without_jax(module):
    assert importers(module, files_below(*WITHOUT_JAX)) == set()


def test_data_metrics_evaluation_and_reports_do_not_reach_jax_through_the_package():
    # Data may use the files and errors of the package; the others stand on data's level or below.
    allowed = {*WITHOUT_JAX, 'choices', 'determinants', 'errors', 'files', 'runtime', 'storage', 'version'}
    for path in files_below(*WITHOUT_JAX):
        inside = {name.split('.')[1] for name in imports_of(path) if name.startswith('autofuse_jax.')}
        assert inside <= allowed, name_of(path)


def test_grids_and_transforms_lie_below_data():
    inside = {name for path in files_below('transforms') for name in imports_of(path)}
    parts = {name.split('.')[1] for name in inside if name.startswith('autofuse_jax.')}
    assert parts <= {'errors', 'transforms'}


def test_pairs_are_scored_in_one_place():
    # Reports count overlap for pages and pictures of what nobody scored.
    measures = {'overlap.dice_per_label', 'surface.distances_per_label', 'folding.sdlogj'}
    rooms = {name_of(path).split('/')[0] for path in FILES if measures & _metrics_of(path)}
    assert rooms == {'evaluation', 'reports'}


def _metrics_of(path):
    return {name.removeprefix('autofuse_jax.metrics.') for name in imports_of(path)}


def test_classical_methods_know_images_and_files_only():
    inside = {name for path in files_below('classical') for name in imports_of(path) if '.' in name}
    parts = {name.split('.')[1] for name in inside if name.startswith('autofuse_jax.')}
    assert parts <= {'classical', 'choices', 'data', 'errors'}


def test_classical_methods_are_for_comparisons_only():
    assert {name.split('/')[0] for name in importers('autofuse_jax.classical')} == {'classical'}


def test_ants_is_in_one_file():
    assert importers('ants') == {'classical/syn.py'}


def test_networks_are_in_models_only():
    assert {name.split('/')[0] for name in importers('flax.linen')} == {'models'}


def test_checkpoints_are_in_one_file():
    assert importers('orbax') == {'training/checkpoints.py'}


def test_simpleitk_is_in_one_file():
    assert importers('SimpleITK') == {'data/itk_images.py'}


def test_torch_is_in_one_file():
    assert importers('torch') == {'porting/torch_files.py'}


def test_hdf5_is_in_one_file():
    assert importers('h5py') == {'transforms_io/itk_hdf5.py'}


def test_openvino_is_in_one_file():
    assert importers('openvino') == {'deployment/openvino_package.py'}


@pytest.mark.parametrize('module', ['tensorflow', 'keras', 'configs', 'tests', 'experiments'])
def test_modules_that_the_package_must_not_import(module):
    assert importers(module) == set()


@pytest.mark.parametrize('path', [path for path in FILES if path.stat().st_size], ids=name_of)
def test_everything_public_has_a_docstring(path):
    tree = ast.parse(path.read_text(encoding='utf-8'))
    assert ast.get_docstring(tree), 'the module has none'
    missing = [name for name, node in public_definitions(tree) if not ast.get_docstring(node)]
    assert missing == []


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_no_file_is_too_long(path):
    assert len(path.read_text(encoding='utf-8').splitlines()) <= LONGEST_FILE


def room_of(path):
    """Return the room that a file lies in, or the name of a loose file."""
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def test_every_room_has_its_floor():
    rooms = {room_of(path) for path in FILES} - {'__init__'}
    assert rooms == {room for floor in FLOORS for room in floor}


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_imports_lead_downwards(path):
    here = room_of(path)
    if here == '__init__':
        return  # It hands names on from where they live.
    below = {room for floor in FLOORS[: next(n for n, floor in enumerate(FLOORS) if here in floor)] for room in floor}
    reached = {name.split('.')[1] for name in imports_of(path) if name.startswith('autofuse_jax.')}
    rooms = {room for floor in FLOORS for room in floor}
    assert reached & rooms - {here} <= below


def test_few_modules_lie_loose():
    assert len(list(PACKAGE.glob('*.py'))) <= MOST_LOOSE_MODULES
