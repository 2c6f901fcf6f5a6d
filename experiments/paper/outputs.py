"""Tables and figures as files: Markdown, LaTeX and CSV, PNG and PDF, each with where its numbers come from."""

import csv
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from PIL import Image

from autofuse_jax.files import replacing, write_text
from autofuse_jax.reports.latex import latex_table
from autofuse_jax.reports.markdown import markdown_table

RESOLUTION = 110
COLOURS = 256


@dataclasses.dataclass(frozen=True)
class PaperTable:
    """A table of numbers.

    Attributes:
        name: Name of its files.
        title: Heading.
        head: Titles of the columns.
        rows: Cells of each row, as texts.
        notes: Sentences below it.
        origin: Facts about where the numbers come from, in order: command, data, steps, date, commit.
    """

    name: str
    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def markdown(self) -> str:
        """Return the table with heading, notes and origin, ending with a line break."""
        parts = [f'## {self.title}', markdown_table(list(self.head), [list(row) for row in self.rows])]
        return '\n\n'.join([*parts, *_below(self)]) + '\n'

    def write(self, folder: Path) -> list[Path]:
        """Write NAME.md, NAME.tex and NAME.csv into a folder; returns their paths."""
        text = io.StringIO()
        csv.writer(text, lineterminator='\n').writerows([self.head, *self.rows])
        caption = ' '.join([self.title, *self.notes, f'({origin_line(self.origin)})'])
        contents = {'md': self.markdown(), 'tex': latex_table(self.head, self.rows, caption), 'csv': text.getvalue()}
        return [_written(folder / f'{self.name}.{ending}', content) for ending, content in contents.items()]


@dataclasses.dataclass(frozen=True)
class PaperFigure:
    """A figure.

    Attributes:
        name: Name of its files.
        title: Heading.
        draw: Function that returns the figure.
        notes: Sentences below it.
        origin: Facts about where it comes from, as of a table.
    """

    name: str
    title: str
    draw: Callable[[], Figure]
    notes: Sequence[str] = ()
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def markdown(self, pictures: str = '') -> str:
        """Return the figure with heading, notes and origin; `pictures` is the way to the folder of its PNG."""
        parts = [f'## {self.title}', f'![{self.title}]({pictures}{self.name}.png)', *_below(self)]
        return '\n\n'.join(parts) + '\n'

    def write(self, folder: Path) -> list[Path]:
        """Write NAME.png, NAME.pdf and NAME.md into a folder; returns their paths."""
        figure = self.draw()
        png, pdf = folder / f'{self.name}.png', folder / f'{self.name}.pdf'
        drawn = io.BytesIO()
        figure.savefig(drawn, format='png', dpi=RESOLUTION)
        with replacing(png) as temporary:
            # A third of the size; no picture has more colours that anybody tells apart.
            Image.open(drawn).convert('RGB').quantize(COLOURS).save(temporary, format='PNG', optimize=True)
        with replacing(pdf) as temporary:
            # Without the moment of writing, the same records give the same bytes.
            FigureCanvasPdf(figure).print_pdf(temporary, metadata={'CreationDate': None})
        return [png, pdf, _written(folder / f'{self.name}.md', self.markdown())]


Output = PaperTable | PaperFigure


def origin_line(origin: Mapping[str, Any]) -> str:
    """Return facts about where numbers come from in one line; those that are unknown are left out."""
    return '; '.join(f'{name}: {value}' for name, value in origin.items() if value not in (None, ''))


def _below(output: Output) -> list[str]:
    return [*output.notes, *([f'*{origin_line(output.origin)}*'] if output.origin else [])]


def _written(path: Path, content: str) -> Path:
    write_text(path, content)
    return path
