"""Scoring a list of pairs, each read once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from autofuse_jax.errors import UserError
from autofuse_jax.evaluation.pair_data import PairData
from autofuse_jax.evaluation.pair_scores import score_pair
from autofuse_jax.evaluation.protocol import Protocol
from autofuse_jax.evaluation.runs import Case

Record = dict[str, Any]
# Called with each pair after it has been scored, and with its records by the name of the protocol.
OnCase = Callable[[Case, PairData, Mapping[str, Record]], None]


def score_cases(
    cases: Iterable[Case], protocols: Sequence[Protocol], on_case: OnCase | None = None
) -> dict[str, list[Record]]:
    """Score every pair under every protocol.

    Args:
        cases: The pairs.
        protocols: Protocols of different names.
        on_case: Callback after each pair, for pictures or a line of progress.

    Returns:
        Records by the name of the protocol, one a pair: 'pair', 'subject', the facts of the case and what
        `pair_scores.score_pair` returns.

    Raises:
        UserError: A pair cannot be read or scored.
    """
    records_of: dict[str, list[Record]] = {protocol.name: [] for protocol in protocols}
    for case in cases:
        pair = case.load()
        names = {'pair': case.name, 'subject': case.group}
        try:
            records = {protocol.name: {**names, **case.facts, **score_pair(pair, protocol)} for protocol in protocols}
        except UserError as error:
            # Of what is in memory nobody knows the file any more.
            raise UserError(f'the pair {case.name}: {error.found}', expected=error.expected, fix=error.fix) from error
        for protocol, record in records.items():
            records_of[protocol].append(record)
        if on_case is not None:
            on_case(case, pair, records)
    return records_of
