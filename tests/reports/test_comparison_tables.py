"""Pages and tables of a comparison."""

import csv
import dataclasses
import math

from autofuse_jax.evaluation.comparison import compare
from autofuse_jax.evaluation.protocol import PROTOCOLS
from autofuse_jax.reports.comparison_tables import (
    ComparisonContent,
    comparison_csv,
    comparison_latex,
    comparison_page,
    p_text,
    protocol_table,
)

CLASSES = {1: 'left_ventricle'}
DEFAULT = PROTOCOLS['default'].as_record()


def records(start, step):
    values = [start + step * number for number in range(8)]
    return [
        {
            'pair': f'p{number}',
            'subject': f's{number % 4}',
            'dsc_before': 0.5,
            'dsc_after': value,
            'dsc_before_per_label': {1: 0.5},
            'dsc_after_per_label': {1: value},
            'njd_percent': 0.0,
        }
        for number, value in enumerate(values)
    ]


RUNS = {'base': records(0.6, 0.01), 'new_one': records(0.7, 0.02)}


def content(reference='base'):
    rows = [dataclasses.asdict(row) for row in compare(RUNS, reference, CLASSES)]
    return ComparisonContent(RUNS, reference, CLASSES, rows, ['8 pairs are in every run.'], DEFAULT)


def test_csv_holds_every_number():
    rows = list(csv.DictReader(comparison_csv(content()).splitlines()))
    assert [(row['quantity'], row['structure']) for row in rows] == [
        ('dsc_after', ''),
        ('dsc_after', 'left_ventricle'),
        ('njd_percent', ''),
    ]
    # Differences 0.1 + 0.01 n: mean 0.135; all of one sign, P = 2 / 2^8.
    assert math.isclose(float(rows[0]['difference']), 0.135) and float(rows[0]['p']) == 2 / 256


def test_page_by_hand():
    page = comparison_page(content())
    assert page.startswith('# Comparison of 2 runs\n\n8 pairs are in every run.')
    # 0.7 + 0.02 n: mean 0.77, deviation 0.02 sqrt(6).
    assert '| new_one | 77.0 ± 4.9 | 0.000 ± 0.000 |' in page
    assert '| new_one | DSC % | +13.5 |' in page and '| yes | +1.00 | 0.0078 | 0.0078 | 8 |' in page
    assert '| left_ventricle | 50.0 ± 0.0 | 63.5 ± 2.4 | 77.0 ± 4.9* |' in page
    assert 's per pair' not in page and 'HD95' not in page


def test_improvement_depends_on_the_quantity():
    assert '| base | DSC % | -13.5 |' in comparison_page(content('new_one'))
    assert '| no | -1.00 | 0.0078 |' in comparison_page(content('new_one'))


def test_latex_marks_what_differs():
    text = comparison_latex(content())
    assert text.count(r'\begin{tabular}') == 2
    assert r'new\_one & 77.0 $\pm$ 4.9* & 0.000 $\pm$ 0.000 \\' in text
    assert r'structure & before & base & new\_one \\' in text


def test_p_values():
    assert (p_text(0.04321), p_text(1e-9), p_text(1.0)) == ('0.0432', '< 0.0001', '1.0000')


def test_protocols_side_by_side():
    protocols = [PROTOCOLS[name].as_record() for name in ('default', 'linear')]
    page = protocol_table({'default': RUNS, 'linear': {**RUNS, 'base': records(0.8, 0.0)}}, protocols)
    assert '| DSC %, base | 63.5 ± 2.4 | 80.0 ± 0.0 |' in page
    assert '| label_interpolation | nearest | linear |' in page
    assert 'missing_structures' not in page


def test_protocols_that_score_other_structures_differ():
    whole = PROTOCOLS['default'].as_record()
    some = [whole | {'name': name, 'labels': labels} for name, labels in (('one', {'3': 'left'}), ('two', {'4': 'x'}))]
    page = protocol_table(dict.fromkeys(('default', 'one', 'two'), RUNS), [whole, *some])
    settings = page.split('## Where the protocols differ')[1]
    assert '| labels | None | – | – |' in settings
    assert '| labels.3 | – | left | – |\n| labels.4 | – | – | x |' in settings
