"""The command line of an experiment that writes a record."""

import argparse
from pathlib import Path


def record_parser(description: str, *, beside: str = '') -> argparse.ArgumentParser:
    """Return a parser with the option --out, the JSON file that the record is written to.

    Args:
        description: Text above the options.
        beside: What is written beside the record, such as 'the table'; default nothing.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    help_text = 'JSON file to write' + (f'; {beside} goes beside it' if beside else '')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help=help_text)
    return parser
