"""The quantities of an evaluation: their keys in records, and how tables write them."""

import dataclasses

from autofuse_jax.reports.markdown import MISSING


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One quantity that is measured on a registered pair.

    Attributes:
        key: Entry of a record, after registration.
        title: Name in tables.
        unit: Unit in tables; '' for none.
        factor: Factor from the number in a record to the number in a table.
        decimals: Decimals of the number in a table.
        higher_is_better: Direction of improvement.
        before: Entry of the state before registration; '' where it has none.
        per_label: Whether records also have '<key>_per_label'.
    """

    key: str
    title: str
    unit: str
    factor: float
    decimals: int
    higher_is_better: bool
    before: str = ''
    per_label: bool = False

    @property
    def heading(self) -> str:
        """Title with the unit."""
        return f'{self.title} {self.unit}'.strip()

    def write(self, value: float | None, *, signed: bool = False) -> str:
        """Write a number of a record as it stands in tables; '–' where there is none."""
        if value is None or value != value:
            return MISSING
        return f'{self.factor * value:{"+" if signed else ""}.{self.decimals}f}'


QUANTITIES = (
    Quantity('dsc_after', 'DSC', '%', 100, 1, True, 'dsc_before', True),
    Quantity('hd95_mm_after', 'HD95', 'mm', 1, 2, False, 'hd95_mm_before', True),
    Quantity('assd_mm_after', 'ASSD', 'mm', 1, 2, False, 'assd_mm_before', True),
    Quantity('tre_mm_after', 'TRE', 'mm', 1, 2, False, 'tre_mm_before'),
    Quantity('njd_percent', 'NJD', '%', 1, 3, False),
    Quantity('ndv_percent', 'NDV', '%', 1, 3, False),
    Quantity('sdlogj', 'SDlogJ', '', 1, 3, False),
    Quantity('segmentation_dsc', 'segmentation DSC', '%', 100, 1, True, per_label=True),
)
