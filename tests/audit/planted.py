"""Faults to be planted in the log of a ledger that has lived, at least one for every law."""

from datetime import timedelta
from typing import Any

from ledger.application import BlockingLedger
from ledger.domain.values import Kind
from tests.audit.replaying import Planted
from tests.conftest import START, Hands

DEBITS = "movements WHERE type = 'ledger.debited'"
KEPT = f"{DEBITS} AND debit_id NOT IN (SELECT debit_id FROM movements WHERE type = 'ledger.refunded')"
PLAIN = f"max(position) FROM {KEPT} AND currency = 'ruled'"
FIRST = f"min(position) FROM {DEBITS}"
REFUND = "min(position) FROM movements WHERE type = 'ledger.refunded'"
ENDED = "min(position) FROM movements WHERE cause = 'REFUND'"
LAPSE = "min(position) FROM movements WHERE cause = 'LAPSED' AND grant_type = 'PAID'"
VOID = "min(position) FROM movements WHERE cause = 'VOIDED'"
ISSUE = "min(position) FROM movements WHERE type = 'ledger.granted' AND cause = 'ISSUED' AND kind = 'CREDIT_GRANT'"
CHANGED = "min(position) FROM movements WHERE type = 'ledger.grant-updated'"
PAYMENTS = "movements WHERE type = 'ledger.grant-payment-recorded' AND grant_details #>> '{{payment,paid_at}}'"
PROCESSING = f"min(position) FROM {PAYMENTS} IS NULL"
PAID = f"min(position) FROM {PAYMENTS} IS NOT NULL"
PARTS = "movements WHERE type = 'ledger.granted' AND cause = 'SCHEDULED'"
PART = f"min(position) FROM {PARTS}"
PLAN_END = "position FROM movements WHERE type = 'ledger.grant-schedule-defined' AND version = 2"
OUT = "min(position) FROM movements WHERE rolled_over_to IS NOT NULL"
INTO = "min(position) FROM movements WHERE type = 'ledger.granted' AND cause = 'ROLLED_OVER'"
RENEWAL = "min(position) FROM movements WHERE cause = 'RENEWED'"
CREDITS = "movements WHERE type = 'ledger.execution-credit-defined'"
TURN = f"min(position) FROM {CREDITS} AND definition -> 'first_month' IS NOT NULL"
DELETED = f"min(position) FROM {CREDITS} AND deleted_at IS NOT NULL"
DEFINED = f"min(position) FROM {CREDITS} AND version > 1"
TWO = f"min(position) FROM {DEBITS} AND kind = 'EXECUTION_CREDIT'"
"""The first of two debits that draw from one lot."""
AFTER_10_DAYS = (
    "min(position) FROM movements WHERE currency = 'credits' AND recorded_at > '2026-02-10'"
    " AND holder = (SELECT holder FROM events WHERE position = {row})"
)
AS_ONE = (
    "UPDATE events SET (transaction_id, debit_id) ="
    " (SELECT transaction_id, debit_id FROM events WHERE position = {row}) WHERE position = {row} + 1"
)
LATER_END = (
    "UPDATE events SET data = jsonb_set(data, '{{terms,expires_at}}', '\"2099-01-01T00:00:00Z\"')"
    " WHERE (stream_id, version) = (SELECT stream_id, terms_version FROM events WHERE position = {row})"
)
LAST = "max(position) FROM movements"
LATER = "min(position) FROM movements WHERE version > 1 AND position = transaction_last"
TOGETHER = "min(position) FROM movements WHERE position < transaction_last"
RULE = "min(position) FROM movements WHERE type = 'ledger.allocation-rule-changed'"
RECHARGE = "min(position) FROM movements WHERE type = 'ledger.auto-recharge-defined' AND version > 1"


def change(*changes: str) -> str:
    """Change a row of the log."""
    return f"UPDATE events SET {', '.join(changes)} WHERE position = {{row}}"


def data(path: str, value: str) -> str:
    return f"data = jsonb_set(data, '{{{{{path}}}}}', {value})"


MISSING = "'00000000-0000-0000-0000-000000000000'"
SECOND = "interval '1 second'"
LONG_SINCE = "'\"2020-01-01T00:00:00Z\"'"
OF_GRANTS = [
    (CHANGED, data("grant,cost,amount", "'\"1\"'")),
    (CHANGED, data("grant,readable_id", "'\"another\"'")),
    (CHANGED, data("terms,created_at", LONG_SINCE)),
    (CHANGED, data("terms,effective_at", LONG_SINCE)),
    (CHANGED, data("terms,awaiting_payment", "'false'")),
    (PROCESSING, data("terms,awaiting_payment", "'false'")),
    (PAID, data("grant,cost,amount", "'\"1\"'")),
    (PAID, data("grant,payment,paid_at", LONG_SINCE)),
    (PAID, "data = data #- '{{grant,payment,paid_at}}'"),
]
"""What no update and no payment may make of a grant."""

CAPPED = "position FROM movements WHERE definition #>> '{{plan,rollover,max_amount}}' = '0.500000000'"
LOWER_CAP = data("plan,rollover,max_amount", "'\"0.400000000\"'")
TO_FIRST = (
    "min(position) FROM movements WHERE type = 'ledger.refunded'"
    " AND lot = (SELECT lot FROM events WHERE position = {row} - 2)"
)

FAULTS = [
    Planted(
        "positions",
        LAST,
        change("position = position + 1", "transaction_last = transaction_last + 1"),
        "position",
        at="{row} + 1",
    ),
    Planted("time", VOID, change("recorded_at = recorded_at - interval '10 years'"), "recorded at"),
    Planted("transactions", LATER, change("transaction_last = transaction_last + 1"), "as the one before it"),
    Planted(
        "transactions",
        LAST,
        change("transaction_id = (SELECT transaction_id FROM events WHERE position = 2)"),
        "another: it has ended",
        ("burn-down",),
    ),
    Planted(
        "transactions",
        TOGETHER,
        "UPDATE events SET actor_key = 'other' WHERE position = {row} + 1",
        "as the one before it",
        at="{row} + 1",
    ),
    Planted(
        "transactions",
        TOGETHER,
        f"UPDATE events SET transaction_id = {MISSING} WHERE position = {{row}} + 1",
        "ends at position",
        ("burn-down",),
    ),
    Planted("topics", PLAIN, change("type = 'ledger.debitted'"), "a type of this ledger", ("streams",)),
    Planted("topics", PLAIN, change("schema_version = 2"), "schema version 2"),
    Planted("topics", PLAIN, change("data = data || '{{\"odd\": 1}}'"), "cannot be read"),
    Planted("topics", ISSUE, change("data = data #- '{{grant,readable_id}}'"), "cannot be read"),
    Planted("topics", RULE, change(data("rule,allocated", "'-1'")), "cannot be read"),
    Planted("topics", PLAIN, change("lot_used = NULL"), "cannot be read"),
    Planted("topics", VOID, change("use_at = recorded_at"), "no use"),
    Planted("streams", LAST, change("version = version + 100"), "version"),
    Planted("streams", PLAIN, change("version = version + 100"), "version"),
    Planted(
        "streams",
        CHANGED,
        change(f"stream_id = {MISSING}", "version = 1"),
        "begins with ledger.grant-updated",
        ("pool-law", "terms"),
    ),
    Planted("streams", RULE, change("type = 'ledger.allocation-rule-defined'"), "what follows in a stream"),
    Planted("lot-law", PLAIN, change("lot_balance = lot_balance - 0.000000001"), "balance"),
    Planted("lot-law", PLAIN, change("lot_used = lot_used - 0.000000001"), "used"),
    Planted("lot-law", PLAIN, change("lot_granted = lot_granted + 1"), "granted"),
    Planted("lot-law", PLAIN, change("amount = amount - 0.000000001"), "balance", ("pool-law",)),
    Planted(
        "lot-law",
        CHANGED,
        change("lot_used = lot_used + 0.000000001", "lot_balance = lot_balance - 0.000000001"),
        "used",
    ),
    Planted("lot-law", VOID, change(f"lot = {MISSING}"), "a lot that was granted before"),
    Planted("pool-law", PLAIN, change("pool_balance = pool_balance + 0.000000001"), "pool balance"),
    Planted("pool-law", CHANGED, change("pool_balance = pool_balance + 0.000000001"), "pool balance"),
    Planted("pool-law", PLAIN, change("currency = 'other'"), "other"),
    Planted("pool-law", PLAIN, change("grant_type = 'ROLLOVER'"), "ROLLOVER"),
    Planted("signs", VOID, change("amount = -amount"), "the sign -1", ("lot-law", "pool-law")),
    Planted("signs", PLAIN, change("cause = 'VOIDED'"), "one of CONSUMED"),
    Planted("topics", CHANGED, change("amount = 0"), "cannot be read", ("terms",)),
    Planted("terms", PLAIN, change("terms_version = 99"), "terms of version 1"),
    Planted("terms", CHANGED, change("terms_version = 1"), "terms of version 2"),
    Planted("burn-down", ISSUE, change(data("terms,priority", "'\"99\"'")), "which comes first", at=FIRST),
    Planted(
        "burn-down",
        f"{FIRST} AND lot_balance = 0",
        change("amount = amount + 1", "lot_used = lot_used - 1", "lot_balance = 1", "pool_balance = pool_balance + 1"),
        "which comes first",
        ("due-first", "lot-law", "pool-law", "refunds"),
        at="{row} + 1",
    ),
    Planted(
        "burn-down",
        FIRST,
        change("account_groups = NULL"),
        "draws on",
        ("refunds",),
        at="{row} + 1",
    ),
    Planted(
        "burn-down",
        TWO,
        AS_ONE,
        "draws on",
        ("transactions",),
        at="{row} + 1",
    ),
    Planted("burn-down", PLAIN, change(f"debit_id = {MISSING}"), "is of debit"),
    Planted("usable", ISSUE, change(data("terms,awaiting_payment", "'true'")), "a lot that is usable", at=FIRST),
    Planted(
        "due-first",
        LAPSE,
        LATER_END,
        "nothing before",
        ("dates",),
    ),
    Planted(
        "due-first",
        "2",
        change(data("terms,expires_at", "'\"2026-02-10T12:00:00Z\"'")),
        "comes before the end of lot",
        ("burn-down", "refunds"),
        at=AFTER_10_DAYS,
    ),
    Planted("dates", PLAIN, change(f"effective_at = effective_at - {SECOND}"), "effective at"),
    Planted(
        "dates", PLAIN, change(f"use_at = recorded_at + {SECOND}", f"effective_at = recorded_at + {SECOND}"), "used by"
    ),
    Planted("dates", PLAIN, change("use_at = '-infinity'"), "used by"),
    Planted("dates", LAPSE, change(f"effective_at = effective_at + {SECOND}"), "effective at"),
    Planted("dates", REFUND, change(f"effective_at = effective_at + {SECOND}"), "effective at"),
    Planted("dates", VOID, change(f"effective_at = effective_at + {SECOND}"), "effective at"),
    Planted("dates", ISSUE, change(f"effective_at = effective_at - {SECOND}"), "effective at"),
    Planted("dates", CHANGED, change(f"effective_at = effective_at - {SECOND}"), "effective at"),
    Planted("refunds", REFUND, change(f"debit_id = {MISSING}"), "a debit of the same pool"),
    Planted("refunds", REFUND, change(f"use_at = use_at - {SECOND}"), "used at"),
    Planted("refunds", REFUND, change("account_groups = NULL"), "used at"),
    Planted("refunds", REFUND, change("amount = amount + 1000"), "came back", ("lot-law", "pool-law")),
    Planted("refunds", REFUND, change("amount = 0.5"), "drawn last", ("lot-law", "pool-law"), at=TO_FIRST),
    Planted("refunds", ENDED, change("cause = 'LAPSED'"), "right after the refund", ("dates",)),
    Planted(
        "rollovers",
        OUT,
        change(f"{data('rolled_over_to', f'to_jsonb({MISSING}::text)')}"),
        "in the same transaction",
        at="{row} + 1",
    ),
    Planted("rollovers", OUT, change("cause = 'LAPSED'", "data = data - 'rolled_over_to'"), "lapses", ("lot-law",)),
    Planted("rollovers", CAPPED, change(LOWER_CAP), "should be 0.4", at=OUT),
    Planted("rollovers", INTO, change(data("grant,cost,amount", "'\"0.1\"'")), "its share"),
    Planted(
        "rollovers",
        INTO,
        change(data("grant,rolled_over_from,grant_id", f"to_jsonb({MISSING}::text)")),
        "carries on grant",
    ),
    Planted("rollovers", INTO, change(data("terms,expires_at", "'\"2099-01-01T00:00:00Z\"'")), "ends at"),
    Planted("schedules", PART, change(data("grant,scheduled,part", "'11'")), "part 10"),
    Planted(
        "schedules",
        PART,
        change(data("terms,expires_at", "'\"2026-03-01T00:00:00Z\"'")),
        "lasts",
        ("dates", "rollovers"),
    ),
    Planted("schedules", PART, change(data("grant,cost,amount", "'\"0.5\"'")), "0.5", ("rollovers",)),
    Planted("schedules", PLAN_END, change(data("plan,priority", "'\"7\"'")), "another plan"),
    Planted("renewals", RENEWAL, change(data("terms,expires_at", "'\"2099-01-01T00:00:00Z\"'")), "a period"),
    Planted(
        "renewals",
        RENEWAL,
        change(*(f"{name} = {name} + 1" for name in ("amount", "lot_granted", "lot_balance", "pool_balance"))),
        "the allotment",
        ("lot-law", "pool-law"),
    ),
    Planted("renewals", TURN, change(data("rollup_type", "'\"YEARLY\"'")), "YEARLY"),
    Planted(
        "definitions",
        DEFINED,
        change(data("anchor_at", "'\"2020-01-01T00:00:00Z\"'")),
        "another type, anchor",
        ("renewals",),
    ),
    Planted("renewals", DELETED, change(data("deleted_at", LONG_SINCE)), "deleted at"),
    *(Planted("terms", row, change(harm), "another grant") for row, harm in OF_GRANTS),
    Planted("renewals", DEFINED, change(data("credits", "'\"999.000000000\"'")), "leaves 8"),
    Planted(
        "topics",
        PART,
        change(data("grant,scheduled,part", "'999999'")),
        "beyond the year 9999",
        ("rollovers", "schedules"),
    ),
    Planted(
        "definitions", RULE, change(data("rule,removed_at", "'\"2026-02-01T00:00:00Z\"'")), "removal by its event alone"
    ),
]

SOONER = (START + timedelta(days=2)).isoformat()
BEGINS_SOONER = change(data("terms,effective_at", f"'\"{SOONER}\"'"), f"effective_at = '{SOONER}'")
FROM_THE_NEXT = """
UPDATE events SET (lot, stream_id, version, grant_type, lot_granted, lot_used, lot_balance, terms_version) =
    (SELECT lot, stream_id, 2, grant_type, lot_granted, 1, lot_balance - 1, 1 FROM events WHERE position = 3)
WHERE position = {row}
"""
VOIDED_BEFORE = """
UPDATE events SET type = 'ledger.voided', cause = 'VOIDED', data = '{{}}', terms_version = 1, amount = -lot_balance
WHERE position = {row};
UPDATE events SET lot_balance = 0, pool_balance = 0 WHERE position >= {row}
"""
OF_DRAWS = [
    Planted(
        "burn-down",
        "2",
        BEGINS_SOONER,
        "which comes first",
        at="5",
    ),
    Planted("burn-down", "6", change(data("terms,priority", "'\"1\"'")), "which comes first", at="7"),
    Planted("burn-down", "8", FROM_THE_NEXT, "which comes first"),
    Planted("due-first", "11", change(data("plan,anchor_at", f"'\"{SOONER}\"'")), "part 0 of schedule", at="12"),
    Planted(
        "usable",
        "16",
        change("data = jsonb_set(data, '{{deleted_at}}', to_jsonb(recorded_at))"),
        "a lot that is usable",
        ("renewals",),
        at="17",
    ),
    Planted("terms", "20", VOIDED_BEFORE, "another grant", at="21"),
]
"""Of the pools of `pay_in_turns`: what pays first changes without an event, by a grant, and not at all; it is paid from
while a part is due, and after its end; and what is void is paid."""


def pay_in_turns(books: BlockingLedger, hands: Hands) -> None:
    """Four debits of one lot: beside one that comes first once it has begun, and two that come later."""
    grant: dict[str, Any] = {"holder": "acme", "currency": "credits", "amount": 100, "grant_type": "PAID"}
    for priority, effective_at in ((50, START), (10, START + timedelta(days=10)), (60, START)):
        books.issue_grant(**grant, display_name="grant", priority=priority, effective_at=effective_at)
    books.consume(holder="acme", currency="credits", amount=1)
    hands.set(START + timedelta(days=5))
    books.consume(holder="acme", currency="credits", amount=1)
    books.issue_grant(**grant, display_name="grant", priority=90)
    for _ in range(2):
        books.consume(holder="acme", currency="credits", amount=1)
    pay_while_it_changes(books)


def pay_while_it_changes(books: BlockingLedger) -> None:
    """Debits on both sides of a schedule's and of a credit's definition, and a payment after an update."""
    named: dict[str, Any] = {"holder": "acme", "currency": "parts", "display_name": "grant"}
    books.issue_grant(**named, amount=100, grant_type="PAID")
    books.consume(holder="acme", currency="parts", amount=1)
    whole = {"billing_period": "MONTH", "cadence": "BEGINNING_OF_BILLING_PERIOD"}
    books.create_grant_schedule(**named, **whole, amount=10, anchor_at=START + timedelta(days=10))
    books.consume(holder="acme", currency="parts", amount=1)
    credit = books.open_execution_credit(company="acme", credit_type="DAST", credits=20, rollup_type="MONTHLY")
    tests: dict[str, Any] = {"holder": "acme", "currency": "DAST", "amount": 1, "kind": Kind.EXECUTION_CREDIT}
    books.consume(**tests)
    books.update_execution_credit(credit=credit.stream_id, rollup_type="QUARTERLY")
    for _ in range(2):
        books.consume(**tests)
    invoiced = {"grant_type": "PAID", "cost": 50, "payment_method": "INVOICE"}
    grant = books.issue_grant(**named | {"currency": "invoiced"}, amount=100, **invoiced).stream_id
    books.update_grant(grant=grant, display_name="named anew")
    books.record_grant_payment(grant=grant, collection="PROCESSING")
