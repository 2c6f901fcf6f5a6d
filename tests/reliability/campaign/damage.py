"""Ways to damage a file: by the structure of its text, by its words, by its bytes, by a single bit."""

import copy
import json
import re

# Values that stand in JSON where another one is expected; the words become raw text below.
HOSTILE = (
    None,
    True,
    -1,
    0,
    0.5,
    1e300,
    '',
    '..',
    '/etc/passwd',
    '../../x',
    '\ud800',
    '\0',
    'x' * 5000,
    [],
    {},
    [[]],
    {'': 1},
)
RAW = (
    '1e999',
    '-Infinity',
    'NaN',
    '9' * 5000,
    '[' * 100_000 + ']' * 100_000,
    '{"a":' * 70 + '1' + '}' * 70,
    '"\\u12"',
    '',
)
RAW_MARK = '"here stands raw text"'
NUMBERS = ('nan', 'inf', '-inf', '1e308', '-1e308', '1e999', '9' * 5000, '', 'x', '0', '1e-320', '\xff', '1,5')


def damaged_json(content, rng):
    """Return the bytes of a JSON text with one fault, by its structure or by its bytes."""
    text = json.dumps(content)
    kind = rng.randrange(4)
    if kind == 0:
        return damaged_bytes(text.encode(), rng)
    changed = copy.deepcopy(content)
    *way, last = rng.choice(places(content))
    inner = changed
    for step in way:
        inner = inner[step]
    if kind == 1 and isinstance(inner, dict):
        del inner[last]
        return json.dumps(changed).encode()
    inner[last] = json.loads(RAW_MARK) if kind == 2 else rng.choice(HOSTILE)
    return json.dumps(changed).replace(RAW_MARK, rng.choice(RAW)).encode()


def places(content, way=()):
    """Return where values stand in nested JSON: keys and positions that lead there."""
    steps = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for step, inner in steps for place in ((*way, step), *places(inner, (*way, step)))]


def damaged_words(text, rng):
    """Return the bytes of a text with one word replaced by a hostile number, or damaged as bytes are."""
    # Words at even places, what separates them between.
    words = re.split(r'([ ,]+)', text)
    words[2 * rng.randrange(1, (len(words) + 1) // 2)] = rng.choice(NUMBERS)
    return rng.choice([''.join(words).encode('latin-1'), damaged_bytes(text.encode(), rng)])


def damaged_bytes(content, rng):
    """Return bytes cut off, with a flipped bit, without some of them, with strange ones among them, or none."""
    place = rng.randrange(max(len(content), 1))
    return rng.choice(
        [
            content[:place],
            flipped_bit(content, rng),
            content[:place] + content[place + 7 :],
            content[:place] + b'\xff\xfe\x80' + content[place:],
            b'',
        ]
    )


def flipped_bit(content, rng, first=0):
    """Return bytes with a single bit flipped, at the place `first` or behind it."""
    flipped = bytearray(content)
    flipped[rng.randrange(first, len(content))] ^= 1 << rng.randrange(8)
    return bytes(flipped)
