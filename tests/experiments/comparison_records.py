"""Small records of a comparison of methods, as `compare_methods` writes them."""

from typing import Any

from autofuse_jax.configs.comparison.rows import ROWS

PAIRS = [{'pair': f'p{number}_to_q{number}', 'subject': f'q{number}'} for number in range(6)]


def curve_of(*dsc: float) -> list[dict[str, float]]:
    """Return a curve with a validation every 100 steps."""
    return [
        {'step': 100 * number, 'dsc_after': value, 'njd_percent': 0.01, 'sdlogj': 0.2}
        for number, value in enumerate(dsc, 1)
    ]


def row_record(name: str, dsc: float = 0.75, **others: Any) -> dict[str, Any]:
    """Return a row of a record whose pairs spread around a DSC; `others` replace or add fields."""
    spread = {'deviation': 0.05, 'count': len(PAIRS)}
    values = [dsc + 0.01 * (number - 2) for number in range(len(PAIRS))]
    return {
        'title': ROWS[name].title,
        'method': ROWS[name].method,
        'semi': ROWS[name].semi,
        'config': '0123456789abcdef',
        'learning_rate': 3e-4,
        'diverged_before': None,
        'parameters': 2_000_000,
        'training_minutes': 12.34,
        'scores': {
            'dsc_before': {'mean': 0.6} | spread,
            'dsc_after': {'mean': dsc} | spread,
            'njd_percent': {'mean': 0.01} | spread,
            'sdlogj': {'mean': 0.2} | spread,
        },
        'machine': {'devices': '1 x cpu'},
        'best_step': 400,
        'seconds_a_pair': 0.5,
        'validation': curve_of(0.6, 0.7, 0.745, 0.747),
        'dsc_after': values,
        'njd_percent': [0.01 * number for number in range(len(PAIRS))],
        'sdlogj': [value / 4 for value in values],
    } | others


def comparison_record(*rows: tuple[str, dict[str, Any]], **others: Any) -> dict[str, Any]:
    """Return a record with (name, row) pairs."""
    recipe = {'task': 'cardiac', 'split': 'validation', 'steps': 400, 'grid': [64, 64, 16], 'schedule': 'cosine'}
    return recipe | {'not_done': [], 'diverged': {}, 'pairs': PAIRS, 'rows': dict(rows)} | others
