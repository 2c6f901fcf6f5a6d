"""HTML in one file without scripts: elements that escape their text, tables, embedded pictures, colour bars."""

import base64
import html
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from autofuse_jax.reports.page_style import STYLE

# Elements without content and end tag.
VOID = {'br', 'hr', 'img', 'meta'}
DASH = '–'


class Html(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def tag(element: str, /, *content: Any, **attributes: Any) -> Html:
    """Build an element; text is escaped unless it is `Html`.

    Args:
        element: Its name, such as 'p'.
        *content: Text, `Html`, numbers, None (left out) or lists of these.
        **attributes: Values; an underscore at the end of a name is dropped (`class_`), others become hyphens. True
            stands for an attribute without value; None and False leave it out.

    Returns:
        The element.
    """
    text = ''.join(
        f' {key.rstrip("_").replace("_", "-")}' + ('' if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f'<{element}{text}>' + ('' if element in VOID else f'{concatenate(content)}</{element}>'))


def concatenate(content: Iterable[Any]) -> Html:
    """Join text, `Html`, None and nested lists of these; all but `Html` is escaped."""
    parts: list[str] = []
    for item in content:
        if isinstance(item, Html):
            parts.append(item)
        elif isinstance(item, list | tuple):
            parts.append(concatenate(item))
        elif item is not None:
            parts.append(html.escape(str(item)))
    return Html(''.join(parts))


def document(title: str, *body: Any) -> Html:
    """Return a whole page.

    Args:
        title: Plain text for the window.
        *body: Content as `tag` takes it.

    Returns:
        HTML5 with the style inside; it refers to no other file or address.
    """
    head = tag(
        'head',
        tag('meta', charset='utf-8'),
        tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
        tag('meta', name='color-scheme', content='light dark'),
        tag('title', title),
        # Style is not escaped by browsers; it is a constant of this package.
        tag('style', Html(STYLE)),
    )
    return Html('<!DOCTYPE html>\n' + tag('html', head, tag('body', tag('main', *body)), lang='en') + '\n')


def section(title: str, *content: Any) -> Html:
    """Return a section under a heading of second level."""
    return tag('section', tag('h2', title), *content)


def table(header: Sequence[Any], rows: Iterable[Sequence[Any]], *, text_columns: Collection[int] = (0,)) -> Html:
    """Return a table in a box that scrolls when it is too wide or too long for the screen.

    Args:
        header: Column titles.
        rows: One cell for each column; a cell may be an element 'td' of its own.
        text_columns: Columns that are flush left; all others are flush right, as numbers are.

    Returns:
        The table.
    """

    def cell(kind: str, position: int, content: Any) -> Html:
        if isinstance(content, Html) and content.startswith('<td'):
            return content
        return tag(kind, content, class_=None if position in text_columns else 'number')

    head = tag('thead', tag('tr', [cell('th', *pair) for pair in enumerate(header)]))
    body = tag('tbody', [tag('tr', [cell('td', *pair) for pair in enumerate(row)]) for row in rows])
    return tag('div', tag('table', head, body), class_='scroll', tabindex=0)


def picture(png: bytes, alternative: str, caption: Any, size: tuple[int, int]) -> Html:
    """Return a figure with an embedded PNG.

    Args:
        png: Content of the PNG file.
        alternative: Content of the picture, for readers who do not see it.
        caption: Line below it.
        size: Width and height in pixels.

    Returns:
        The figure.
    """
    source = 'data:image/png;base64,' + base64.b64encode(png).decode('ascii')
    image = tag('img', src=source, alt=alternative, width=size[0], height=size[1])
    return tag('figure', image, tag('figcaption', caption))


def colour_bar(colours: Sequence[str], ticks: Sequence[str], label: str) -> Html:
    """Return a colour bar.

    Args:
        colours: Colours at equal distances, such as '#ff0000', from low to high.
        ticks: Texts at equal distances, the first and the last at the ends.
        label: Meaning of the colours.

    Returns:
        The bar with its label.
    """
    bar = tag('div', class_='ramp', style=f'background: linear-gradient(to right, {", ".join(colours)})')
    return tag(
        'div',
        tag('span', label),
        tag('div', bar, tag('div', [tag('i', t) for t in ticks], class_='ticks')),
        class_='bar',
    )


def chip(colour: str) -> Html:
    """Return a small square of a colour, for a legend."""
    return tag('span', class_='chip', style=f'background: {colour}')


def side_by_side(groups: Sequence[Sequence[Html]]) -> Html:
    """Put groups of pictures beside each other, the pictures of each group one below the other."""
    kind = 'views one' if len(groups) == 1 else 'views'
    return tag('div', [tag('div', list(group), class_='view') for group in groups], class_=kind)


def number(value: Any, digits: int = 2, factor: float = 1.0) -> str:
    """Return a number with a fixed count of decimals, or a dash for None, NaN, infinities and what is no number."""
    if isinstance(value, bool) or not is_number(value):
        return DASH
    text = f'{factor * float(value):.{digits}f}'
    # A rounded zero has no sign; a true minus sign is as wide as the digits.
    return text.lstrip('-') if not float(text) else text.replace('-', '−')


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    try:
        return value is not None and not isinstance(value, str) and math.isfinite(value)
    except TypeError:
        return False
