"""Record what share of each brain the prepared grid cuts off.

python -m autofuse_jax.prepare --dataset=folder --source=MALC2012 --out=prepared/malc2012 --labels=neuromorphometrics
python -m experiments.comparison.brain_cut --data=prepared/malc2012 --out=experiments/results/prepare_brains.json
"""

import sys
from pathlib import Path

import numpy as np

from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.errors import run_command
from autofuse_jax.files import json_types, write_json
from autofuse_jax.provenance import provenance
from experiments.record_parser import record_parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = record_parser(__doc__)
    parser.add_argument('--data', type=Path, required=True, help='folder that prepare wrote')
    options = parser.parse_args(arguments)

    def command() -> int:
        manifest = read_manifest(options.data)
        settings = dict(manifest.settings)
        measured = settings.pop('measured')
        cut = np.array([one['cut_percent'] for one in measured.values()])
        record = provenance() | {
            'data': {'dataset': manifest.dataset, 'subjects': len(manifest.subjects), 'left_out': settings['left_out']},
            'settings': settings | {'shape': manifest.shape, 'spacing_mm': manifest.spacing},
            'cut_percent': {'mean': cut.mean(), 'largest': cut.max(), 'above_0.1': int((cut > 0.1).sum())},
            'fitted': sorted(name for name, one in measured.items() if 'fit_scale' in one),
            'measured': measured,
        }
        write_json(options.out, json_types(record))
        print(f'{len(cut)} brains: {cut.mean():.4f} % cut on average, {cut.max():.4f} % at most')
        return 0

    return run_command(command)


if __name__ == '__main__':
    sys.exit(main())
