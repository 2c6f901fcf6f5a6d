"""The colours of all pictures, told apart by colour-blind readers on dark images and on white paper."""

import dataclasses
import math
from collections.abc import Iterable, Mapping

import matplotlib
import numpy as np
from matplotlib import colors

# Structures; those beyond the last start again. With any kind of colour blindness two of them differ by at
# least 22 in CIELAB, where 2 is just visible.
PALETTE = ('#35c9ff', '#ffd23f', '#ff4d5e', '#9933ff', '#bf4d99', '#ddff99', '#ff2a00', '#2e8ae6')
FIXED_OUTLINE, MOVING_OUTLINE = '#35c9ff', '#ff9f1c'
FOLDED_COLOUR = '#39ff14'
# Structures of a plot that are too many for colours of their own, and values before smoothing.
FAINT = '0.75'
# The palette is made for dark images; mixed with this much black it stands out on white as well.
BLACK_SHARE = 0.28
# Volume changes beyond a factor of four either way are shown in the end colours.
JACOBIAN_LIMIT = 4.0
RAMP_STEPS = 9


@dataclasses.dataclass(frozen=True)
class Scale:
    """What colours of a picture stand for.

    Attributes:
        label: Name of the quantity, with its unit.
        colour_map: Colours from low to high.
        norm: Values of the first and the last colour, and how the others lie between them.
        ticks: Text at some values, the first and the last at the ends and all at equal distances on the scale.
    """

    label: str
    colour_map: colors.Colormap
    norm: colors.Normalize
    ticks: Mapping[float, str]

    @property
    def ramp(self) -> list[str]:
        """Colours at equal distances, from low to high."""
        return [colors.to_hex(self.colour_map(share)) for share in np.linspace(0, 1, RAMP_STEPS)]


JACOBIAN_SCALE = Scale(
    'volume in moving ÷ in fixed',
    matplotlib.colormaps['RdBu_r'].with_extremes(bad=FOLDED_COLOUR),
    # Equal steps of colour for equal factors of volume.
    colors.LogNorm(1 / JACOBIAN_LIMIT, JACOBIAN_LIMIT, clip=True),
    {0.25: '¼', 0.5: '½', 1.0: '1', 2.0: '2', 4.0: '4'},
)


def difference_scale(limit: float) -> Scale:
    """Return the scale of absolute differences of grey values, 0 to `limit`."""
    return _from_zero('difference of grey values', matplotlib.colormaps['inferno'], limit, digits=2)


def displacement_scale(limit: float) -> Scale:
    """Return the scale of local displacements, 0 to `limit` millimetres."""
    # Without the dark end of the colours, which is lost on a dark image.
    colour_map = colors.ListedColormap(matplotlib.colormaps['viridis'](np.linspace(0.35, 1, 256)))
    return _from_zero('local displacement, mm', colour_map, limit, digits=1)


def _from_zero(label: str, colour_map: colors.Colormap, limit: float, digits: int) -> Scale:
    # Half of a small limit must not read as the whole of it.
    digits = max(digits, 1 - math.floor(math.log10(limit)))
    ticks = {share * limit: f'{share * limit:.{digits}f}' for share in (0.0, 0.5, 1.0)}
    return Scale(label, colour_map, colors.Normalize(0, limit), ticks)


def structure_colours(labels: Iterable[int]) -> dict[int, str]:
    """Give every label a colour of the palette, in order."""
    return {label: PALETTE[position % len(PALETTE)] for position, label in enumerate(labels)}


def on_white(colour: str) -> str:
    """Return a colour of the palette a little darker, for lines on white paper."""
    red, green, blue = ((1 - BLACK_SHARE) * share for share in colors.to_rgb(colour))
    return colors.to_hex((red, green, blue))
