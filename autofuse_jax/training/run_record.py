"""The record that a training keeps with its checkpoints, as far as resuming and reporting read it."""

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class RunSoFar:
    """What a run has come to besides its state, where training goes on. The defaults are those of a fresh run.

    Attributes:
        best: Best validation mean so far; -inf before there is one.
        measure: Name of that mean, of `MEASURES`.
        seconds: Time that earlier invocations trained.
        data: Place in the data, from `TrainingData.get_state`; None: at the beginning. It belongs to a phase.
        window: Metrics of the steps since the last logged row, so that the next row averages over them as if nothing
            had been interrupted.
    """

    best: float = float('-inf')
    measure: str = REGISTRATION_MEASURE
    seconds: float = 0.0
    data: dict[str, Any] | None = None
    window: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, record: dict[str, Any]) -> 'RunSoFar':
        """Return what a checked record says."""
        return cls(
            best=float('-inf') if record['best'] is None else record['best'],
            measure=record.get('measure', REGISTRATION_MEASURE),
            seconds=record['train_seconds'],
            data=record['data'],
            window=record['window'],
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
