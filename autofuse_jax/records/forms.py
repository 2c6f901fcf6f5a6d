"""Forms of JSON values: types, ranges and sizes, put together as the values are.

A form is asked with a value and its place, and raises where they do not fit; nothing is converted.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from autofuse_jax.errors import Range

LONGEST_TEXT = 100_000
MOST_ENTRIES = 10_000_000
SHOWN_CHARACTERS = 60
# What the id of a label looks like as a name in an object.
LABEL_ID = r'-?\d{1,10}'


class FormError(ValueError):
    """A value that does not fit its form.

    Args:
        place: Where the value stands, such as 'subjects[3].split'; '' for the whole.
        value: Value that stands there.
        expected: Form that it should have, in words.
    """

    def __init__(self, place: str, value: Any, expected: str):
        self.expected = expected
        super().__init__(f'{place or "the whole"} is {shown(value)}')


class Form(Protocol):
    """What a value must be."""

    def check(self, value: Any, place: str) -> None:
        """Check a value.

        Args:
            value: The value, of JSON types.
            place: Where it stands, for the message.

        Raises:
            FormError: It is something else.
        """


@dataclasses.dataclass(frozen=True)
class Anything:
    """Any value of JSON."""

    def check(self, value: Any, place: str) -> None:
        """See `Form`."""


@dataclasses.dataclass(frozen=True)
class Number:
    """A finite number.

    Attributes:
        range: Range of the number; default any.
    """

    range: Range = Range()

    def check(self, value: Any, place: str) -> None:
        """See `Form`."""
        if value not in self.range:
            raise FormError(place, value, str(self.range))


@dataclasses.dataclass(frozen=True)
class Text:
    """A text.

    Attributes:
        words: Texts that are allowed; default any.
        longest: Most characters.
    """

    words: tuple[str, ...] = ()
    longest: int = LONGEST_TEXT

    def check(self, value: Any, place: str) -> None:
        """See `Form`."""
        if self.words and value not in self.words:
            raise FormError(place, value, ' or '.join(map(repr, self.words)))
        if not isinstance(value, str) or len(value) > self.longest:
            raise FormError(place, value, 'a text')


@dataclasses.dataclass(frozen=True)
class Flag:
    """True or false."""

    def check(self, value: Any, place: str) -> None:
        """See `Form`."""
        if not isinstance(value, bool):
            raise FormError(place, value, 'true or false')


@dataclasses.dataclass(frozen=True)
class OrNull:
    """Null or a value of another form.

    Attributes:
        form: The other form.
    """

    form: Form

    def check(self, value: Any, place: str) -> None:
        """See `Form`."""
        if value is not None:
            self.form.check(value, place)


@dataclasses.dataclass(frozen=True)
class Entries:
    """A list.

    Attributes:
        form: Form of each entry.
        least: Fewest entries; default none.
        most: Most entries.
    """

    form: Form
    least: int = 0
    most: int = MOST_ENTRIES

    def check(self, value: Any, place: str) -> None:
        """See `Form`."""
        if not isinstance(value, list) or not self.least <= len(value) <= self.most:
            few, many = self.least, self.most
            count = f'{few} entries' if few == many else f'{few} or more entries' if few else 'entries'
            raise FormError(place, value, f'a list of {count}')
        for index, entry in enumerate(value):
            self.form.check(entry, f'{place}[{index}]')


@dataclasses.dataclass(frozen=True)
class Table:
    """An object whose names are data, such as label ids.

    Attributes:
        form: Form of each value.
        names: Regular expression that all of each name must match; default any name.
        least: Fewest entries; default none.
    """

    form: Form
    names: str = r'(?s:.*)'
    least: int = 0

    def check(self, value: Any, place: str) -> None:
        """See `Form`."""
        if not isinstance(value, dict) or len(value) < self.least:
            raise FormError(place, value, f'an object with {self.least} or more entries' if self.least else 'an object')
        for name, entry in value.items():
            if len(name) > LONGEST_TEXT or re.fullmatch(self.names, name) is None:
                raise FormError(f'a name in {place}' if place else 'a name', name, f'what fits {self.names}')
            self.form.check(entry, inside(place, name))


@dataclasses.dataclass(frozen=True, eq=False)
class Fields:
    """An object with known fields.

    Attributes:
        required: Form of each field that must be there.
        optional: Form of each field that may be there.
        others: Form of all other fields; default any, None: there may be no others.
    """

    required: Mapping[str, Form]
    optional: Mapping[str, Form] = dataclasses.field(default_factory=dict)
    others: Form | None = Anything()

    def check(self, value: Any, place: str) -> None:
        """See `Form`."""
        names = ', '.join([*self.required, *self.optional])
        if not isinstance(value, dict):
            raise FormError(place, value, f'an object with {names}')
        for name in self.required:
            if name not in value:
                raise FormError(inside(place, name), 'missing', f'an object with {", ".join(self.required)}')
        forms = {**self.optional, **self.required}
        for name, entry in value.items():
            form = forms.get(name, self.others)
            if form is None:
                raise FormError(f'a field of {place}' if place else 'a field', name, f'one of {names}')
            form.check(entry, inside(place, name))


@dataclasses.dataclass(frozen=True)
class OneOf:
    """A value of one of several forms.

    Attributes:
        forms: The forms.
    """

    forms: Sequence[Form]

    def check(self, value: Any, place: str) -> None:
        """See `Form`."""
        expected = []
        for form in self.forms:
            try:
                form.check(value, place)
                return
            except FormError as error:
                expected.append(error.expected)
        raise FormError(place, value, ', or '.join(expected))


def inside(place: str, name: str) -> str:
    """Return the place of a field."""
    return f'{place}.{shown(name, quoted=False)}' if place else shown(name, quoted=False)


def shown(value: Any, *, quoted: bool = True) -> str:
    """Return a value in a few characters."""
    if value == 'missing':
        return value
    text = repr(value) if quoted or not str(value).isprintable() else str(value)
    return text if len(text) <= SHOWN_CHARACTERS else f'{text[:SHOWN_CHARACTERS]}...'
