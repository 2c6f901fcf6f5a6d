"""What two configs differ in, and what a stored one lacks: fields that came later, and how those are filled."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from autofuse_jax.methods.registry import SECTIONS, section_options
from autofuse_jax.training.config_files import default_config

# What a field is in a config that lacks it.
ABSENT = object()


def with_absent_options(config: ConfigDict) -> ConfigDict:
    """Return a stored config with the options that its method, data and training have got since, at their defaults.

    The default of an option that comes later is what was done before there was one. Phases have none.

    Args:
        config: Config as a run wrote it.

    Raises:
        UserError: The method is unknown.
    """
    stored = config.to_dict()
    known = default_config().to_dict() | {section: section_options(config.method, section) for section in SECTIONS}
    return ConfigDict(_completed(stored, known | {'phases': {}}))


def _completed(stored: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Return a stored section with what is known and absent there, sections inside it likewise."""
    inside = {
        name: _completed(value, known[name])
        for name, value in stored.items()
        if isinstance(value, dict) and isinstance(known.get(name), dict)
    }
    return known | stored | inside


@dataclasses.dataclass(frozen=True)
class Difference:
    """A field in which two configs differ; as text, 'field: one -> other'.

    Attributes:
        field: Its name with those of its sections, such as 'model.fusion'.
        one: Its value in the first config; `ABSENT` where that has no such field.
        other: Its value in the second config, likewise.
    """

    field: str
    one: Any
    other: Any

    @property
    def in_both(self) -> bool:
        """Whether both configs have the field."""
        return self.one is not ABSENT and self.other is not ABSENT

    def __str__(self) -> str:
        one, other = ('absent' if value is ABSENT else value for value in (self.one, self.other))
        return f'{self.field}: {one} -> {other}'


def differing_fields(one: dict[str, Any], other: dict[str, Any]) -> list[Difference]:
    """List the fields in which two resolved configs differ.

    Args:
        one: Nested dictionary.
        other: Nested dictionary.

    Returns:
        Differences, sorted by field.
    """
    flat = [_flatten(config) for config in (one, other)]
    pairs = {field: [values.get(field, ABSENT) for values in flat] for field in sorted(set(flat[0]) | set(flat[1]))}
    return [Difference(field, *values) for field, values in pairs.items() if values[0] != values[1]]


def _flatten(config: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f'{prefix}{name}.')
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat
