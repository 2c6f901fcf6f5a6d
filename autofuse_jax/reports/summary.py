"""Numbers over the pairs of a run: means, spreads, and which quantities there are."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.metrics.landmarks import ROBUST_PERCENTILE
from autofuse_jax.reports.evaluation_quantities import QUANTITIES, Quantity
from autofuse_jax.reports.markdown import MISSING

PER_LABEL = '_per_label'
# Entries that the numbers of a run have whether or not they were measured.
USUAL_KEYS = ('dsc_before', 'dsc_after', 'njd_percent', 'sdlogj')

Records = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class RunContent:
    """What the tables of a run report.

    Attributes:
        records: Records of `evaluation.case_scores`, at least one, in the order of evaluation.
        classes: Names of the scored structures by label id.
        title: Heading of the page.
        facts: Description of what was evaluated (data, split, checkpoint, commit, ...), shown as a list and stored.
        protocol: Protocol of the scores; None where unknown.
        notes: Sentences about how the pairs were read.

    Raises:
        UserError: There are no records.
    """

    records: Records
    classes: Mapping[int, str]
    title: str
    facts: Mapping[str, Any]
    protocol: Mapping[str, Any] | None
    notes: Sequence[str] = ()

    def __post_init__(self):
        if not self.records:
            raise UserError(
                'there are no pairs to report',
                expected='at least one evaluated pair',
                fix='check that the chosen split of the manifest has subjects with the frames to register',
            )


@dataclasses.dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of one quantity over pairs.

    Attributes:
        mean: Mean of the values that are numbers; nan where there is none.
        deviation: Standard deviation with divisor count - 1; nan for fewer than two values.
        count: Number of values that are numbers.
    """

    mean: float
    deviation: float
    count: int

    def text(self, decimals: int, factor: float = 1.0) -> str:
        """Write 'mean ± deviation', or what there is of it, after multiplying by `factor`."""
        if not self.count:
            return MISSING
        mean = f'{factor * self.mean:.{decimals}f}'
        return mean if math.isnan(self.deviation) else f'{mean} ± {factor * self.deviation:.{decimals}f}'


def spread(values: Iterable[float | None]) -> Spread:
    """Mean and standard deviation of the values that are neither nan nor None.

    Args:
        values: One number per pair.

    Returns:
        The spread.
    """
    numbers = _numbers(values)
    return Spread(
        mean=float(numbers.mean()) if numbers.size else math.nan,
        deviation=float(numbers.std(ddof=1)) if numbers.size > 1 else math.nan,
        count=int(numbers.size),
    )


def spread_of(records: Records, key: str, inner: Any = None) -> Spread:
    """Spread of `record[key]`, or of `record[key][inner]`, over the records that have it."""
    if inner is None:
        return spread(record.get(key) for record in records)
    return spread((record.get(key) or {}).get(inner) for record in records)


def spread_text(records: Records, quantity: Quantity, key: str, label: int | None = None) -> str:
    """Write the mean and deviation of a quantity in the state and, with a label, of the structure that a key names.

    Args:
        records: Records of a run.
        quantity: Quantity, which knows how its numbers are written.
        key: `quantity.key` or `quantity.before`; '' where there is nothing to write.
        label: Id of a structure, or None for the mean over structures.
    """
    if not key:
        return MISSING
    return spread_of(records, key if label is None else key + PER_LABEL, label).text(quantity.decimals, quantity.factor)


def seconds_apart(records: Records) -> tuple[float | None, Spread]:
    """Seconds of the pair that may include compilation, None where none says so, and the spread of all others'."""
    first = [record.get('seconds') for record in records if record.get('first_call')]
    return first[0] if first else None, spread_of(
        [record for record in records if not record.get('first_call')], 'seconds'
    )


def present(records: Records) -> list[Quantity]:
    """Return the quantities that any record has a number of."""
    return [quantity for quantity in QUANTITIES if spread_of(records, quantity.key).count]


def partial_sentences(records: Records) -> list[str]:
    """Say which means are over some of the pairs only, because the others have no number; empty where all have all."""
    titles: dict[int, list[str]] = {}
    for quantity in present(records):
        count = spread_of(records, quantity.key).count
        titles.setdefault(count, []).append(quantity.title)
        before = spread_of(records, quantity.before).count if quantity.before else count
        if before != count:
            titles.setdefault(before, []).append(f'{quantity.title} before')
    return [
        f'{", ".join(names)}: means over {count} of {len(records)} pairs, the others have no number.'
        for count, names in titles.items()
        if count < len(records)
    ]


def gates_of(records: Records) -> list[str]:
    """Return the names of the gates in any record, by level."""
    names = {gate for record in records for gate in record.get('gate_means') or {}}
    return sorted(names, key=lambda gate: (len(gate), gate))


def summary_numbers(content: RunContent) -> dict[str, Any]:
    """The numbers of a run as a plain dictionary, for comparing runs by program.

    Args:
        content: The run.

    Returns:
        Nested dictionary of numbers in the units of the records (DSC in [0, 1], NJD in percent, mm, seconds): 'pairs';
        mean, deviation, median, 30th percentile and count of every quantity, before and after; 'seconds_first_pair',
        'seconds_later_pairs'; 'structures' and 'gate_means' by name. nan where nothing was measured.
    """
    records = content.records
    keys = [key for quantity in present(records) for key in (quantity.before, quantity.key) if key]
    first, later = seconds_apart(records)
    labelled = [key for quantity in present(records) if quantity.per_label for key in (quantity.before, quantity.key)]
    gates = gates_of(records)
    return {
        'pairs': len(records),
        **{key: _with_percentiles(records, key) for key in dict.fromkeys([*USUAL_KEYS, *keys])},
        'seconds_first_pair': first,
        'seconds_later_pairs': dataclasses.asdict(later),
        'structures': {
            name: {key: dataclasses.asdict(spread_of(records, key + PER_LABEL, label)) for key in labelled if key}
            for label, name in content.classes.items()
        },
        **(
            {'gate_means': {g: dataclasses.asdict(spread_of(records, 'gate_means', g)) for g in gates}} if gates else {}
        ),
    }


def _with_percentiles(records: Records, key: str) -> dict[str, float]:
    numbers = _numbers(record.get(key) for record in records)
    return {
        **dataclasses.asdict(spread(numbers)),
        'median': float(np.median(numbers)) if numbers.size else math.nan,
        f'p{ROBUST_PERCENTILE}': float(np.percentile(numbers, ROBUST_PERCENTILE)) if numbers.size else math.nan,
    }


def _numbers(values: Iterable[float | None]) -> np.ndarray:
    return np.array([value for value in values if value is not None and not math.isnan(value)], np.float64)
