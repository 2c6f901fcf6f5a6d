"""Every name that an option offers stands for something, and everything that there is can be chosen."""

from autofuse_jax import choices
from autofuse_jax.applying.points import POINT_FRAMES
from autofuse_jax.evaluation.protocol import PROTOCOLS
from autofuse_jax.porting import ARCHITECTURES
from autofuse_jax.preparation.brain_extraction import TOOLS
from autofuse_jax.preparation.brain_labels import LABEL_TABLES
from autofuse_jax.preparation.brain_layouts import BRAIN_FINDERS
from autofuse_jax.registration.linear_maps import PARAMETER_COUNT
from autofuse_jax.transforms_io.conventions import CONVENTIONS


def test_tables_have_the_names_that_can_be_chosen():
    assert tuple(ARCHITECTURES) == choices.ARCHITECTURES
    assert tuple(BRAIN_FINDERS) == choices.BRAIN_DATA_SETS
    assert tuple(CONVENTIONS) == choices.CONVENTIONS
    assert [name for name, convention in CONVENTIONS.items() if convention.suffixes] == list(choices.FORMATS)
    assert (choices.IDS, *LABEL_TABLES) == choices.LABEL_MEANINGS
    assert (choices.NONE, *PARAMETER_COUNT) == choices.LINEAR_MAPS
    assert tuple(POINT_FRAMES) == choices.POINT_UNITS
    assert tuple(PROTOCOLS) == choices.PROTOCOLS
    assert tuple(TOOLS) == choices.EXTRACTION_PROGRAMS


def test_protocols_are_called_as_they_are_chosen():
    assert [protocol.name for protocol in PROTOCOLS.values()] == list(choices.PROTOCOLS)
    assert [architecture.name for architecture in ARCHITECTURES.values()] == list(choices.ARCHITECTURES)
