"""What the records that tables and figures are made of must hold."""

from autofuse_jax.errors import Range
from autofuse_jax.records.forms import Entries, Fields, Number, OrNull, Table, Text

NUMBER, COUNT = Number(), Number(Range(least=0, whole=True))
ORIGIN = {'command': Text(), 'commit': OrNull(Text()), 'date': Text()}
SPREAD = Fields({'mean': OrNull(NUMBER)})
ROW = Fields(
    {
        'title': Text(),
        'parameters': COUNT,
        'learning_rate': NUMBER,
        'seconds_a_pair': OrNull(NUMBER),
        'machine': Fields({'devices': Text()}),
        'scores': Fields({'dsc_before': SPREAD, 'dsc_after': SPREAD, 'njd_percent': SPREAD}),
        'dsc_after': Entries(OrNull(NUMBER)),
    }
)
PAIR = Fields({'pair': Text(), 'subject': Text()})
# Of experiments.compare_methods, and of what is trained for this package.
COMPARISON = Fields(
    ORIGIN
    | {
        'task': Text(),
        'split': Text(),
        'steps': COUNT,
        'not_done': Entries(Text()),
        'pairs': Entries(PAIR, least=1),
        'rows': Table(ROW, least=1),
    }
)
METHOD_MEANS = Fields({'pairs': COUNT, 'dsc': NUMBER})
# Of experiments.comparison.compare_with_syn.
ROUTES = Fields(
    ORIGIN
    | {
        'data': Fields({'task': Text(), 'split': Text(), 'pairs': Entries(Text(), least=1)}),
        'summary': Table(METHOD_MEANS, least=1),
        'records': Table(Table(Fields({'dsc': NUMBER})), least=1),
    }
)
LEVEL = Fields(
    {'mean': NUMBER, 'deviation': NUMBER, 'deviation_over_voxels': NUMBER, 'deviation_over_pairs': OrNull(NUMBER)}
)
# Of the mean weights of gates.
GATES = Fields(
    ORIGIN
    | {
        'networks': Entries(
            Fields(
                {
                    'weights': Text(),
                    'data': Text(),
                    'shown': Text(),
                    'pairs': Entries(Text(), least=1),
                    'gates': Table(LEVEL, least=1),
                }
            ),
            least=1,
        )
    }
)
SHARE = Number(Range(least=0, most=1))
# Of one pair through several methods.
PAIR_PICTURE = Fields(
    ORIGIN
    | {
        'pair': Text(),
        'data': Text(),
        'kind': Text(),
        'methods': Entries(Fields({'title': Text(), 'dsc': SHARE}), least=2),
    }
)
# Of predicted segmentations.
SEGMENTATIONS = Fields(
    ORIGIN
    | {
        'weights': Text(),
        'data': Text(),
        'kind': Text(),
        'classes': Table(Text(), least=1),
        'shown': Entries(Text(), least=1),
        'frames': Entries(Fields({'dsc': OrNull(SHARE), 'dsc_per_label': Table(OrNull(SHARE))}), least=1),
    }
)
