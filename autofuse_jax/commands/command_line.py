"""What all command lines share: a parser that knows its program, and the way from arguments to an exit status."""

import argparse
import sys
from collections.abc import Callable, Sequence

from autofuse_jax.choices import AUTO, MINIMUM
from autofuse_jax.commands.needs import given_options
from autofuse_jax.errors import NOTHING_WRITTEN, run_command
from autofuse_jax.runtime import Part

# Images are written in this type, in which larger numbers would become infinite.
LARGEST_FLOAT32 = float.fromhex('0x1.fffffep127')

# Does what the options of a command say, and returns the exit status or None.
Worker = Callable[[argparse.Namespace], int | None]


def command_parser(description: str, module_program: str, program: str) -> argparse.ArgumentParser:
    """Return a parser whose help speaks of the program as it was started.

    Args:
        description: Text above the options, with examples that begin with `module_program`.
        module_program: The program as the module starts it, such as 'python -m autofuse_jax.register'.
        program: The program as it was started, which takes the place of `module_program` in the text.
    """
    return argparse.ArgumentParser(
        prog=program,
        description=description.replace(module_program, program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run_parsed(
    parser: argparse.ArgumentParser,
    worker: Worker,
    argv: Sequence[str] | None,
    interrupted: Callable[[argparse.Namespace], str] = lambda _: NOTHING_WRITTEN,
) -> int:
    """Parse arguments and let a worker do what they say.

    Args:
        parser: Parser from `command_parser`.
        worker: Function of the options, among them `command_line`, the whole command for records, and `given`, the
            names of those that are no defaults.
        argv: Arguments without the program's name; None takes those of the process.
        interrupted: Function of the options that says what an interrupt leaves, see `errors.run_command`; default for
            commands whose results appear at the end.

    Returns:
        The exit status: 0, 2 after an error that the user can act on, 130 after an interrupt.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parser.parse_args(arguments, argparse.Namespace(command_line=' '.join([parser.prog, *arguments])))
    options.given = given_options(parser, options)
    return run_command(lambda: worker(options), interrupted=interrupted(options))


def background_value(text: str) -> float | str:
    """Return what an option says of the value where an image does not reach: 'auto', 'min' or a number.

    Args:
        text: Text behind the option.

    Raises:
        ValueError: It is neither, or more than float32 holds; argparse says so.
    """
    if text in (AUTO, MINIMUM):
        return text
    value = float(text)
    if abs(value) > LARGEST_FLOAT32:
        raise ValueError(text)
    return value


background_value.__name__ = 'min or number'


def parse_part(text: str) -> Part:
    """Turn '3/20' into a part.

    Args:
        text: Number and count, 1 <= number <= count.

    Raises:
        argparse.ArgumentTypeError: It is no such text.
    """
    numbers = text.split('/')
    if len(numbers) != 2 or not all(number.strip().isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f'{text} is not a part such as 3/20')
    number, count = map(int, numbers)
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f'{text} is not one of the parts 1/{count} to {count}/{count}')
    return Part(number, count)


def add_part_option(parser: argparse._ActionsContainer, what: str) -> None:
    """Add --part, for the job arrays of a cluster.

    Args:
        parser: A parser or a group of one.
        what: Words for what is shared out, and anything else to say of it.
    """
    parser.add_argument(
        '--part',
        type=parse_part,
        metavar='K/N',
        help=f'do the K-th of N shares only, such as 3/20 in a job array, of the {what}',
    )
