"""Reading a report page in tests: every opened tag must be closed, nothing may point outside."""

import base64
import functools
import io
from html.parser import HTMLParser

import numpy as np
from matplotlib.image import imread

VOID = {'area', 'base', 'br', 'col', 'embed', 'hr', 'img', 'input', 'link', 'meta', 'source', 'track', 'wbr'}


class ParsedPage(HTMLParser):
    """Tags, attributes, text and pictures of a page; reading fails where a tag is closed that is not open."""

    def __init__(self, content: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(content)
        self.close()
        assert self.open == [], 'tags that were never closed'

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f'{tag} has an attribute twice'
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f'</{tag}> closes another tag'

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else '', data))

    def count(self, tag: str, **attributes: str) -> int:
        return len(self.find(tag, **attributes))

    def find(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        wanted = {key.rstrip('_'): value for key, value in attributes.items()}
        return [found for name, found in self.tags if name == tag and wanted.items() <= found.items()]

    @property
    def text(self) -> str:
        """All text outside the style sheet, spaces joined."""
        return ' '.join(' '.join(data for tag, data in self.texts if tag != 'style').split())

    @functools.cached_property
    def pictures(self) -> list[np.ndarray]:
        """Pixels of the embedded pictures, uint8 (rows, columns, 3)."""
        sources = [image['src'] for image in self.find('img')]
        start = 'data:image/png;base64,'
        assert all(source.startswith(start) for source in sources)
        files = [io.BytesIO(base64.b64decode(source.removeprefix(start))) for source in sources]
        return [np.rint(255 * imread(file, format='png')[..., :3]).astype(np.uint8) for file in files]

    def rows(self) -> list[list[str]]:
        """Text of the cells of every table row of the page."""
        rows: list[list[str]] = []
        reader = _Rows(rows)
        reader.feed(self.rawdata_copy)
        return rows

    def feed(self, data):
        self.rawdata_copy = data
        super().feed(data)


class _Rows(HTMLParser):
    def __init__(self, rows):
        super().__init__()
        self.rows_found, self.inside = rows, False

    def handle_starttag(self, tag, attrs):
        if tag == 'tr':
            self.rows_found.append([])
        if tag in ('td', 'th'):
            self.rows_found[-1].append('')
            self.inside = True

    def handle_endtag(self, tag):
        if tag in ('td', 'th'):
            self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows_found[-1][-1] += data


def assert_stands_alone(content: str) -> None:
    """Nothing is loaded from elsewhere and nothing runs."""
    for outside in ('http:', 'https:', 'url(', '<script', '<link', '<iframe', '@import', ' href=', 'srcset', 'onload'):
        assert outside not in content, outside
