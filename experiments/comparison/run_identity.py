"""When two configs are those of the same run: on another machine, or written before a field of today existed."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from autofuse_jax.errors import UserError
from autofuse_jax.records.run_folder import CONFIG_NAME
from autofuse_jax.training.config_differences import ABSENT, Difference, differing_fields

# Runs whose settings differ in these only are the same.
FREE_FIELDS = (
    'data.cache_gib',
    'data.threads',
    'training.depth_devices',
    'training.check_memory',
    'training.compilation_cache',
    'training.log_every',
    'training.checkpoint_every',
)
# Where the same data lies on another machine says nothing about a run.
PLACES = ('data.root',)
# Fields that configs did not have when runs were recorded first: with these values, a run is what it was without them.
LATER_FIELDS = {
    'data.augmentation.elastic': 0.0,
    'data.teacher': '',
    'loss.fusion_phases': [],
    'loss.segmentation_phases': [],
    'loss.teacher': 0.0,
    'loss.teacher_phases': [],
    'model.background_in_padding': False,
    'model.compare_slices': False,
    'model.fine_channels': 0,
    'model.fine_pooling': [0, 0, 0],
    'model.fusion_channels': 0,
    'model.fusion_pooling': [1, 1, 1],
    'model.refining_channels': 0,
    'model.plane_channels': 0,
    'model.descent_channels': 0,
    'model.descent_steps': 3,
    'model.thin_levels': 0,
    'optimizer.average_decay': 0.0,
    'optimizer.multiples': [],
}


def fingerprint(config: ConfigDict) -> str:
    """Return what is the same for two configs of the same run, wherever its data lies."""
    # As lines, so that rows of earlier records are found again.
    kept = [str(one) for one in _distinctive_fields(_json_of(config)) if one.field not in PLACES]
    return hashlib.sha256('\n'.join(kept).encode()).hexdigest()[:16]


def holds_run(folder: Path, config: ConfigDict) -> bool:
    """Tell whether a folder holds the run of a config, complete or not.

    Args:
        folder: A run's folder; it need not exist.
        config: What would be trained in it.

    Raises:
        UserError: It holds a run with another config.
    """
    if not (folder / CONFIG_NAME).is_file():
        return False
    stored = json.loads((folder / CONFIG_NAME).read_text(encoding='utf-8'))
    before, now = ({one.field: one.other for one in _distinctive_fields(c)} for c in (stored, _json_of(config)))
    differences = differing_fields(before, now)
    if differences:
        raise UserError(
            f'{folder} holds a run with another config: {"; ".join(map(str, differences[:3]))}',
            fix='use another --workdir, or delete that folder',
        )
    return True


def _distinctive_fields(config: dict[str, Any]) -> list[Difference]:
    """Return the fields that tell a run from others, as differences from an empty config."""
    return [
        one
        for one in differing_fields({}, config)
        if one.field not in FREE_FIELDS and LATER_FIELDS.get(one.field, ABSENT) != one.other
    ]


def _json_of(config: ConfigDict) -> dict[str, Any]:
    return json.loads(config.to_json_best_effort())
