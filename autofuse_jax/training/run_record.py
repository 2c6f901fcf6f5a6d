"""The record that a training keeps with its checkpoints, as far as resuming and reporting read it."""

from pathlib import Path
from typing import Any

from autofuse_jax.errors import Range
from autofuse_jax.records.forms import Anything, Entries, Fields, Number, OrNull, Table, Text
from autofuse_jax.records.reading import check_form

# Names of the validation means that choose the best parameters: where pairs are registered, and of frames alone.
MEASURES = REGISTRATION_MEASURE, SEGMENTATION_MEASURE = 'dsc_after', 'segmentation_dsc'
COUNT = Number(Range(least=0, whole=True))
# Runs from before there were several measures have none in their record.
RECORD = Fields(
    {
        'config': Table(Anything()),
        'best': OrNull(Number()),
        'train_seconds': Number(Range(least=0)),
        'data': Fields({'phase': Text(), 'iterator': Fields({'next_index': COUNT})}),
        'window': Entries(Table(Number())),
        'labelled_subjects': COUNT,
    },
    {'measure': Text(MEASURES)},
)


def check_record(record: dict[str, Any], workdir: Path) -> None:
    """Check the record of a checkpoint: those from before there were checksums may be damaged unseen.

    Args:
        record: The record as it was read.
        workdir: Folder of the run, for the message.

    Raises:
        UserError: A field is missing or is something else.
    """
    fix = 'remove that checkpoint to go back to what is left, or use another --workdir'
    check_form(record, RECORD, f'the record of a checkpoint in {workdir}', fix=fix)
