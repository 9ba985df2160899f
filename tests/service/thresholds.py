"""What a log tells of thresholds, and what it should: all uses counted again after each of its transactions."""

import secrets
from itertools import groupby
from typing import Any, NamedTuple

from ledger.application import BlockingLedger, DefineAllocationRule, Receipt
from ledger.store.database import Database, Role
from ledger.store.followed import followed, keep_followed
from service.threshold_reactor import ThresholdReactor
from tests.service.load import eventually

LOG = """
SELECT position, transaction_id, type, stream_id, use_at, currency, account_groups, amount, definition, causation_id
FROM movements WHERE account_groups IS NOT NULL OR type LIKE 'ledger.allocation-rule-%%' ORDER BY position
"""
RECORDED = """
SELECT stream_id, transaction_id, causation_id, definition FROM movements
WHERE type = 'ledger.threshold-reached' AND stream_id = coalesce(%(rule)s, stream_id) ORDER BY position
"""
UNITS = 10**9
SECONDS_MAX = 30.0


class Told(NamedTuple):
    """That a rule's threshold was reached: what was used of it in which month, by which event of which transaction."""

    rule: str
    month: str
    used: str
    allocated: int
    alarm_threshold: int
    position: int
    transaction: str


def recorded(database: Database, rule: str | None = None) -> list[Told]:
    """What the log tells of thresholds, of one rule or of all, in its order."""
    with database.connect(Role.READER) as connection:
        rows = connection.execute(RECORDED, {"rule": rule}).fetchall()
    return [
        Told(
            row["stream_id"],
            row["definition"]["month"],
            row["definition"]["used"],
            row["definition"]["allocated"],
            row["definition"]["alarm_threshold"],
            row["definition"]["reached_position"],
            row["causation_id"],
        )
        for row in rows
    ]


def reached(database: Database) -> list[Told]:
    """What it has to tell, in order of the positions, then of the rules and months."""
    with database.connect(Role.READER) as connection:
        rows = connection.execute(LOG).fetchall()
    uses: list[dict[str, Any]] = []
    rules: dict[str, dict[str, Any]] = {}
    told: dict[tuple[str, str], Told] = {}
    for transaction, each in groupby(rows, lambda row: row["transaction_id"]):
        events = list(each)
        last = events[-1]
        if last["amount"] is None:
            rules[last["stream_id"]] = last["definition"]["rule"]
            looked_at = [last["stream_id"]]
        else:
            uses += events
            looked_at = [] if last["amount"] > 0 else sorted(rules)
        for rule in looked_at:
            for month, used in _months(rules[rule], uses).items():
                if (rule, month) not in told and _is_reached(rules[rule], used):
                    allocated, threshold = rules[rule]["allocated"], rules[rule]["alarm_threshold"]
                    text = f"{used // UNITS}.{used % UNITS:09}"
                    told[rule, month] = Told(rule, month, text, allocated, threshold, last["position"], transaction)
    return sorted(told.values(), key=lambda each: (each.position, each.rule, each.month))


def _months(rule: dict[str, Any], uses: list[dict[str, Any]]) -> dict[str, int]:
    """What counts for a rule, by month, in billionths."""
    months: dict[str, int] = {}
    for use in uses:
        if rule["currency"] in (None, use["currency"]) and set(rule["account_groups"]) & set(use["account_groups"]):
            month = f"{use['use_at']:%Y-%m}"
            months[month] = months.get(month, 0) - use["amount"]
    return months


def _is_reached(rule: dict[str, Any], used: int) -> bool:
    gone = rule["removed_at"] is not None
    return not gone and used > 0 and used * 100 >= rule["alarm_threshold"] * rule["allocated"] * UNITS


def everything_is_told(database: Database) -> list[Told]:
    """Wait until the log tells as many thresholds as it should, and see that it tells these, each once."""
    wanted = reached(database)
    assert eventually(lambda: len(recorded(database)) >= len(wanted), SECONDS_MAX)
    told = sorted(recorded(database), key=lambda each: (each.position, each.rule, each.month))
    assert told == wanted
    return told


def head_of(database: Database) -> int:
    with database.connect(Role.READER) as connection:
        row = connection.execute("SELECT coalesce(max(position), 0) AS head FROM movements").fetchone()
    assert row is not None
    return int(row["head"])


def keep(database: Database, position: int) -> None:
    with database.connect(Role.WRITER) as connection:
        keep_followed(connection, ThresholdReactor.name, position)


def kept(database: Database) -> int:
    with database.connect(Role.WRITER) as connection:
        return followed(connection, ThresholdReactor.name)


def has_rule(books: BlockingLedger, *, lots: int = 1) -> int:
    """There are plenty of credits and a rule, that warns from 50 of 100 on; where the log ends then."""
    for _ in range(lots):
        books.issue_grant(holder="acme", currency="c", amount=1000 // lots, display_name="g", grant_type="PAID")
    rule = DefineAllocationRule(name="rule", account_groups=["g"], allocated=100, alarm_threshold=50)
    return books.execute(rule).position


def uses(books: BlockingLedger, amount: int) -> Receipt:
    key = secrets.token_hex(8)
    return books.consume(holder="acme", currency="c", amount=amount, account_groups=["g"], idempotency_key=key)
