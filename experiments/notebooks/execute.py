"""Execute the notebooks from their sources and store them with outputs, with a record of the time of each.

    make notebooks
    python -m experiments.notebooks.execute                    # the same, in an environment with the extra 'notebooks'
    python -m experiments.notebooks.execute notebooks/3_cine.py --no-record

A notebook is `notebooks/NAME.py` in percent format; `NAME.ipynb` beside it is made from it here. For the
record compiled programs are kept in an empty folder, so that times are those of a machine that has never seen them.
"""

import argparse
import datetime
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import write_json, write_text
from autofuse_jax.provenance import provenance
from autofuse_jax.runtime import available_cores
from experiments.notebooks.sources import NOTEBOOKS, sources

REPOSITORY = Path(__file__).resolve().parents[2]
RECORD = REPOSITORY / 'experiments' / 'results' / 'notebooks.json'
KERNEL = 'python3'
# A notebook that takes longer than this has gone wrong; each is meant to take less than three minutes.
CELL_SECONDS = 1200
TOOLS = ('jupytext', 'nbclient', 'ipykernel')
DIRTY = '-dirty'
PROGRESS = re.compile(r'step \d+/\d+, |\d+/\d+ (pairs|subjects)')


def execute(path: Path, home: str | None = None) -> tuple[Any, dict[str, float]]:
    """Run a notebook from top to bottom.

    Args:
        path: The source, percent format.
        home: Home folder of the kernel; None: that of this process.

    Returns:
        The notebook with outputs; its wall 'seconds' and the 'processor_seconds' of its kernel and what that started.
    """
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    before = _processor_seconds()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=CELL_SECONDS, kernel_name=KERNEL, resources={'metadata': {'path': folder}}
        )
        client.execute(env=kernel_environment(home))
    seconds = time.perf_counter() - started
    for number, cell in enumerate(notebook.cells):
        cell['id'] = f'cell-{number}'
        # When a cell ran changes with every run.
        cell.metadata.pop('execution', None)
        if cell.cell_type == 'code':
            cell.outputs = without_progress(joined_streams(cell.outputs))
    notebook.metadata.pop('language_info', None)
    return notebook, {'seconds': seconds, 'processor_seconds': _processor_seconds() - before}


def kernel_environment(home: str | None) -> dict[str, str]:
    """Return the variables of a kernel with another home folder, which sees what matplotlib knows of the machine."""
    if home is None:
        return dict(os.environ)
    import matplotlib

    return os.environ | {'HOME': home, 'MPLCONFIGDIR': matplotlib.get_configdir()}


def joined_streams(outputs: Sequence[Any]) -> list[Any]:
    """Return outputs with neighbouring texts of one stream in one piece, as a kernel cuts them by chance."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last is not None and output.output_type == last.output_type == 'stream' and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def without_progress(outputs: Sequence[Any]) -> list[Any]:
    """Return outputs without lines of progress, which are for who waits and depend on the speed of the machine."""
    kept = []
    for output in outputs:
        if output.output_type == 'stream' and output.name == 'stderr':
            lines = [line for line in output.text.splitlines(keepends=True) if not PROGRESS.search(line)]
            output.text = ''.join(lines)
        if output.output_type != 'stream' or output.text:
            kept.append(output)
    return kept


def _processor_seconds() -> float:
    """Processor seconds of processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('notebooks', nargs='*', type=Path, help='sources; default all of notebooks/')
    parser.add_argument('--no-record', dest='record', action='store_false', help='leave the record of times alone')
    options = parser.parse_args(argv)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    # Before anything is written: the notebooks themselves are part of the sources.
    about = provenance()
    paths = options.notebooks or sources()
    for path in paths:
        if not path.is_file():
            raise UserError(f'there is no {path}', expected=f'a source in {NOTEBOOKS}', fix='correct the name')
    if options.record and str(about['commit']).endswith(DIRTY):
        raise UserError(
            'the sources differ from the last commit, so that a record would not say what ran',
            fix='commit them first, or add --no-record',
        )
    times = {}
    for path in paths:
        with tempfile.TemporaryDirectory() as home:
            # Compiled programs are kept in the home folder, which is another one where times are recorded.
            notebook, times[path.stem] = execute(path, home=home if options.record else None)
        store(path, notebook)
        print(f'{path.stem}: {times[path.stem]["seconds"]:.0f} s', flush=True)
    if options.record:
        about['versions'] |= {tool: version(tool) for tool in TOOLS}
        about['date'] = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
        write_json(RECORD, about | {'cores': available_cores(), 'compilation_cache': 'empty', 'notebooks': times})


def store(path: Path, notebook: Any) -> None:
    """Write a notebook beside its source."""
    import nbformat

    write_text(path.with_suffix('.ipynb'), nbformat.writes(notebook) + '\n')


if __name__ == '__main__':
    sys.exit(main())
