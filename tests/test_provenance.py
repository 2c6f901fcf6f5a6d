"""Where results come from."""

import pytest

from autofuse_jax import provenance


@pytest.mark.parametrize(
    ('flags', 'widest'),
    [('fpu avx avx2', 'avx2'), ('avx512f avx avx2', 'avx512f'), ('fp asimd', 'asimd'), ('fpu', None)],
)
def test_the_widest_vector_instructions_are_named(monkeypatch, flags, widest):
    lines = {'model name': 'Some Processor', 'flags': flags}
    monkeypatch.setattr(provenance, '_processor_says', lines.get)
    machine = provenance.provenance()['machine']
    assert machine['processor'] == 'Some Processor' and machine['vectors'] == widest


def test_a_processor_that_says_nothing(monkeypatch):
    monkeypatch.setattr(provenance, '_processor_says', lambda what: None)
    machine = provenance.provenance()['machine']
    assert machine['processor'] and machine['vectors'] is None
