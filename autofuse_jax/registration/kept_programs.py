"""Programs that are traced once: what JAX makes of a Python function is kept on disk, beside what XLA makes of that.

The compilation cache of JAX saves compiling, but each process still traces every function and writes it down as
StableHLO before it can look there. For a registration of two small images that is half of its time.
"""

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp

from autofuse_jax.files import replacing
from autofuse_jax.registration.turns import call_in_turn
from autofuse_jax.version import __version__

PACKAGE = Path(__file__).resolve().parents[1]
# Folder inside JAX's compilation cache, and the ending of a traced program.
FOLDER, ENDING = 'traced', '.stablehlo'
# Characters of a name: enough that two programs never share one.
NAME_LENGTH = 40
DIGEST_BYTES = hashlib.sha256().digest_size
# Settings of JAX that change what a function is traced to.
SETTINGS = ('jax_enable_x64', 'jax_default_matmul_precision', 'jax_numpy_dtype_promotion')
# Settings for finding mistakes, which need the function itself.
DEBUGGING = ('jax_disable_jit', 'jax_debug_nans', 'jax_debug_infs')

# (arrays) -> a tree of the structure of the result, whatever its leaves.
Structure = Callable[..., Any]


class Signature(NamedTuple):
    """What calls of a function have in common that one program computes.

    Within a process, signatures are compared; `text` tells them from one another in any process, for names of files.

    Attributes:
        structure: Structure of the arrays, as JAX tells it.
        leaves: Shape and type of each of them.
        static: Names and values of the static arguments, by name.
        surroundings: All else that changes what a function is traced to, see `_surroundings`.
    """

    structure: Any
    leaves: tuple[tuple[tuple[int, ...], str], ...]
    static: tuple[tuple[str, Any], ...]
    surroundings: tuple[Any, ...]

    @classmethod
    def of(cls, arrays: tuple[Any, ...], static: dict[str, Any]) -> 'Signature':
        """Return the signature of a call."""
        leaves, structure = jax.tree.flatten(arrays)
        shapes = tuple((jnp.shape(leaf), jnp.result_type(leaf).name) for leaf in leaves)
        return cls(structure, shapes, tuple(sorted(static.items(), key=lambda item: item[0])), _surroundings())

    def text(self, function: Callable[..., Any]) -> str:
        """Return in words what tells the program of a function and this signature from all others."""
        static = [(name, _text_of(value)) for name, value in self.static]
        return repr((_text_of(function), self.leaves, str(self.structure), static, self.surroundings))


class KeptProgram:
    """A function compiled by `jax.jit` whose trace is kept where compiled programs are kept.

    A trace is found again by the function, the shapes, types and structure of its arguments, its static arguments, the
    source of this package, the version and the settings of JAX and the kind of device. Where JAX has no compilation
    cache, where it looks for mistakes, and for functions of other packages, this is `jax.jit`. Results can not be
    differentiated.

    There are two forms of the function, each with programs of its own: of one call, and of several calls at once, which
    is the same mapped over one more axis in front of all arrays and results.
    """

    def __init__(self, function: Callable[..., Any], static: tuple[str, ...], result_like: Structure):
        """Wrap a function.

        Args:
            function: Function of this package: arrays or trees of arrays by position, static arguments by name.
            static: Names of the static arguments: values or functions of this package, whose text says all of them.
            result_like: Structure of the result.
        """
        self._function = function
        # By whether it is the form of several calls.
        self._forms: dict[bool, Callable[..., Any]] = {False: function, True: functools.partial(_for_each, function)}
        self._jitted = {batched: jax.jit(form, static_argnames=static) for batched, form in self._forms.items()}
        self._result_like = result_like
        # What this process has opened; each takes leaves and returns leaves.
        self._programs: dict[tuple[bool, Signature], Callable[..., list[jax.Array]]] = {}

    def __call__(self, *arrays: Any, **static: Any) -> Any:
        """Compute the function; inside `turns.do_in_turns` for several callers at once.

        Args:
            *arrays: Arrays and trees of arrays.
            **static: All of the static arguments.
        """
        return call_in_turn(self, arrays, static)

    def key(self, arrays: tuple[Any, ...], static: dict[str, Any]) -> Signature:
        """Return what tells one program from another, see `Signature`."""
        return Signature.of(arrays, static)

    def compute(self, arrays: tuple[Any, ...], static: dict[str, Any], *, batched: bool = False) -> Any:
        """Compute the function here and now.

        Args:
            arrays: Arrays and trees of arrays.
            static: All of the static arguments.
            batched: Whether all arrays and results have one more axis in front, for as many calls; default False.
        """
        folder = _folder()
        if folder is None or not all(_is_ours(value) for value in (self._function, *static.values())):
            return self._jitted[batched](*arrays, **static)
        signature = self.key(arrays, static)
        # Numbers of Python, too, as arrays of the types that the signature says.
        leaves = [jnp.asarray(leaf, jnp.result_type(leaf)) for leaf in jax.tree.leaves(arrays)]
        program = self._programs.get((batched, signature))
        if program is None:
            program = self._open(folder, signature, leaves, batched)
            self._programs[batched, signature] = program
        return jax.tree.unflatten(jax.tree.structure(self._result_like(*arrays)), program(*leaves))

    def _open(
        self, folder: Path, signature: Signature, leaves: list[jax.Array], batched: bool
    ) -> Callable[..., list[jax.Array]]:
        """Read the program of a signature, or trace the function and write it."""
        path = folder / _file_name(signature.text(self._function) + ' batched' * batched)
        content = _read(path)
        if content is None:
            content = _trace(self._forms[batched], signature, leaves)
            _write(path, content)
        return jax.jit(jax.export.deserialize(bytearray(content)).call)


def _trace(function: Callable[..., Any], signature: Signature, leaves: list[jax.Array]) -> bytes:
    """Trace a function of trees as one of their leaves, which any process can read without the classes of the trees."""
    static = dict(signature.static)

    def flat(*leaves: jax.Array) -> list[jax.Array]:
        return jax.tree.leaves(function(*jax.tree.unflatten(signature.structure, leaves), **static))

    return bytes(jax.export.export(jax.jit(flat))(*leaves).serialize())


def _surroundings() -> tuple[Any, ...]:
    """What a program depends on beside the function and its arguments, now and here."""
    settings = tuple((name, getattr(jax.config, name)) for name in SETTINGS)
    return __version__, _source(), jax.__version__, jax.default_backend(), settings


def _file_name(text: str) -> str:
    """Name of the file of a program, by all its words."""
    return hashlib.sha256(text.encode()).hexdigest()[:NAME_LENGTH] + ENDING


def _for_each(function: Callable[..., Any], *arrays: Any, **static: Any) -> Any:
    """The form of a function for several calls."""
    return jax.vmap(functools.partial(function, **static))(*arrays)


def _read(path: Path) -> bytes | None:
    """Content of a file of the cache; None where it is absent, unreadable or damaged, and is to be made anew."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    content = stored[DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == stored[:DIGEST_BYTES] else None


def _write(path: Path, content: bytes) -> None:
    # A cache that cannot be written, for the disk is full or belongs to another user, costs time and nothing else.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)


def _folder() -> Path | None:
    """Where traces are kept; None where none are."""
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]  # jax adds options at run time
    if not folder or any(getattr(jax.config, name) for name in DEBUGGING):
        return None
    return Path(folder) / FOLDER


def _is_ours(value: Any) -> bool:
    """Whether a function belongs to this package, and by its name alone; other values always do."""
    return not callable(value) or (
        value.__module__.startswith(f'{PACKAGE.name}.') and value.__qualname__ == value.__name__
    )


def _text_of(value: Any) -> str:
    """Words for a value or a function; those that Python has for a function hold its place in the memory."""
    return f'{value.__module__}.{value.__qualname__}' if callable(value) else repr(value)


@functools.cache
def _source() -> str:
    """Digest of the source of this package."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob('*.py')):
        digest.update(os.fsencode(path.relative_to(PACKAGE)) + b'\0' + path.read_bytes())
    return digest.hexdigest()
