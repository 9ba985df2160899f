"""How far reactors that must miss nothing have followed the log, and what they read of it."""

import json
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.domain.events import Debited, Refunded, RuleDetails, ThresholdReached
from ledger.domain.threshold_watch import Recorded, RuleTold, Step, Used
from ledger.domain.values import StreamId
from ledger.store.sql import query

USES = frozenset({Debited.TOPIC, Refunded.TOPIC})


class Stretch(NamedTuple):
    """Where a stretch of the log ends, and where the log does."""

    until: int
    head: int


def followed(connection: Connection[DictRow], reactor: str) -> int:
    """The position to which a reactor is kept to have come; 0 for one that has not begun."""
    row = connection.execute(query("followed"), {"reactor": reactor}).fetchone()
    return 0 if row is None else row["position"]


def keep_followed(connection: Connection[DictRow], reactor: str, position: int) -> None:
    """All that came of the events up to `position` is written. Never goes back."""
    connection.execute(query("keep_followed"), {"reactor": reactor, "position": position})


def log_stretch(connection: Connection[DictRow], *, after: int, events_max: int) -> Stretch:
    """The next about `events_max` events after a position; it ends where a transaction ends."""
    row = connection.execute(query("log_stretch"), {"after": after, "events_max": events_max}).fetchone()
    assert row is not None
    return Stretch(**row)


def threshold_steps(connection: Connection[DictRow], *, after: int, until: int) -> Sequence[Step]:
    """What may make a threshold reached in (after, until], in order; both are the ends of transactions.

    A transaction is one step: however many lots a debit draws from, it is one use.
    """
    rows = connection.execute(query("threshold_steps"), {"after": after, "until": until})
    return [_step(list(events)) for _, events in groupby(rows, itemgetter("transaction_id"))]


def thresholds_reached(connection: Connection[DictRow]) -> set[tuple[StreamId, str]]:
    """The rules and months for which it was recorded."""
    rows = connection.execute(query("thresholds_reached"))
    return {(row["stream_id"], json.loads(row["value"])[1]) for row in rows}


def _step(events: Sequence[DictRow]) -> Step:
    """What a transaction's events tell together."""
    row = events[-1]
    if row["type"] in USES:
        return Used(
            row["position"],
            row["transaction_id"],
            row["recorded_at"],
            row["use_at"],
            row["currency"],
            tuple(row["account_groups"]),
            sum(event["used"] for event in events),
        )
    if row["type"] == ThresholdReached.TOPIC:
        return Recorded(row["stream_id"], row["month"])
    rule = RuleDetails.model_validate(row["rule"])
    return RuleTold(row["position"], row["transaction_id"], row["recorded_at"], row["stream_id"], rule)
