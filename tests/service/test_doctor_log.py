"""Every fault that is planted in an event of the log is found and named."""

from collections.abc import Iterator

import pytest

from ledger.store.database import Database
from tests.service.test_doctor import Fault, lived_ledger

PLAIN = "min(position) FROM events WHERE type = 'ledger.debited' AND lot_balance > 0"
CHANGED = "min(position) FROM events WHERE type = 'ledger.grant-updated'"
PLANS = "movements WHERE type = 'ledger.grant-schedule-defined'"
PLAN = f"min(position) FROM {PLANS}"
COMING = f"position FROM {PLANS} AND definition #>> '{{plan,anchor_at}}' LIKE '2026-02%'"
END = f"position FROM {PLANS} AND version = 2"
ENDED = f"max(position) FROM {PLANS} AND version = 1 AND stream_id IN (SELECT stream_id FROM {PLANS} AND version = 2)"
PARTS = "movements WHERE type = 'ledger.granted' AND cause = 'SCHEDULED'"
PART = f"min(position) FROM {PARTS}"
LAST_PART = f"max(position) FROM {PARTS}"
LAST_OF_YEAR = f"position FROM {PARTS} AND grant_details #>> '{{scheduled,part}}' = '11'"
OUT = "min(position) FROM movements WHERE rolled_over_to IS NOT NULL"
REST = "min(position) + 2 FROM movements WHERE rolled_over_to IS NOT NULL AND amount = -0.5"
INTO = "min(position) FROM movements WHERE type = 'ledger.granted' AND cause = 'ROLLED_OVER'"
CARRIED_WHOLE = "min(position) FROM movements WHERE rolled_over_to IS NOT NULL AND lot_used = 0 AND lot_balance = 0"
TIED_SHARE = "min(position) FROM movements WHERE currency = 'tied parts' AND cause = 'ROLLED_OVER' AND amount > 0"
TIED_ORIGIN = "min(position) FROM movements WHERE currency = 'tied parts' AND cause = 'SCHEDULED'"
MISSING = "'00000000-0000-0000-0000-000000000000'"
AT = "'at position {row} '"
GRANT = "(SELECT 'at position {row} grant ' || stream_id FROM events WHERE position = {row})"
SCHEDULE = (
    "(SELECT 'at position {row} schedule ' || coalesce(grant_details #>> '{{scheduled,schedule_id}}', stream_id::text)"
    " FROM movements WHERE position = {row})"
)


def change(*changes: str) -> str:
    """Change a row of the log."""
    return f"UPDATE events SET {', '.join(changes)} WHERE position = {{row}}"


def data(path: str, value: str) -> str:
    return f"data = jsonb_set(data, '{{{{{path}}}}}', {value})"


def without(path: str) -> str:
    return f"data = data #- '{{{{{path}}}}}'"


@pytest.fixture(scope="module")
def lived(server_dsn: str) -> Iterator[Database]:
    with lived_ledger(server_dsn) as database:
        yield database


FAULTS = [
    Fault(
        "positions", "events", "max(position) FROM events",
        "UPDATE events SET position = position + 1, transaction_last = transaction_last + 1 WHERE position = {row}",
        "'position ' || {row} + 1 || ' comes where ' || {row} || ' should be'",
    ),
    Fault(
        "positions", "events", "min(position) FROM events WHERE position > 1",
        change("recorded_at = recorded_at - interval '10 years'"), "'position ' || {row} || ' was rec'",
    ),
    Fault(
        "transactions", "events", "position FROM events WHERE version > 1",
        change("transaction_last = transaction_last + 1"),
        "'transaction ' || (SELECT transaction_id FROM events WHERE position = {row}) || ' ends at'",
    ),
    Fault(
        "transactions", "events", "max(position) FROM events",
        change("transaction_id = (SELECT transaction_id FROM events WHERE position = 2)"),
        "'transaction ' || (SELECT transaction_id FROM events WHERE position = 2) || ' has 2 events, spread'",
    ),
    Fault(
        "streams", "events", "max(position) FROM events", change("version = version + 100"),
        "'position ' || {row} || ' is event '",
    ),
    *(
        Fault("lot-law", "events", where, change(to), f"{AT} || 'lot '", also)
        for where, to, also in [
            (PLAIN, "lot_balance = lot_balance - 0.000000001", ()),
            (PLAIN, "lot_used = lot_used - 0.000000001", ()),
            (PLAIN, "lot_granted = lot_granted + 1", ()),
            (PLAIN, "amount = amount - 0.000000001", ("pool-law",)),
            (CHANGED, "lot_balance = lot_balance - 0.000000001", ()),
            (CHANGED, "lot_used = lot_used + 0.000000001, lot_balance = lot_balance - 0.000000001", ()),
            (CHANGED, "amount = 0", ()),
            (CHANGED, "amount = 0.000000001", ("pool-law",)),
            (CHANGED, "terms_version = 1", ()),
            (CHANGED, "lot_granted = NULL, lot_used = NULL, lot_balance = NULL", ()),
            (CHANGED, "lot_granted = NULL, lot_used = NULL, lot_balance = NULL, pool_balance = NULL", ("pool-law",)),
            (CHANGED, "lot = NULL", ()),
        ]
    ),
    *(
        Fault("pool-law", "events", where, change("pool_balance = pool_balance + 0.000000001"), f"{AT} || 'pool '")
        for where in (PLAIN, CHANGED)
    ),
    Fault(
        "refunds", "events", "min(position) FROM events WHERE type = 'ledger.refunded'",
        change(f"debit_id = {MISSING}"), f"'debit ' || {MISSING} || ' drew 0'",
    ),
    *(
        Fault("schedules", "events", where, change(to), f"{SCHEDULE} || ' {said}'", also)
        for where, to, said, also in [
            (COMING, data("plan,ended_at", "'\"2030-01-01T00:00Z\"'"), "ended, but its part 0 was not", ("open-lots",)),
            (END, data("plan,ended_at", "'\"2026-03-31T12:00Z\"'"), "ended, but its part 2 was not", ()),
            (END, data("plan,priority", "'\"7\"'"), "has another plan than at first", ()),
            (END, "currency = 'else'", "has another pool than at first", ()),
            (PART, data("grant,scheduled,part", "'11'"), "grants part 11, where part 10 should be", ("claims",)),
            (LAST_PART, data("grant,scheduled,part", "'99'"), "grants part 99, where", ("claims", "open-lots")),
            (PART, "effective_at = effective_at + interval '1 second'", "grants part 10 at ", ()),
            (PART, data("terms,effective_at", "'\"2026-01-01T00:00Z\"'"), "grants part 10 at ", ()),
            (PART, data("terms,expires_at", "'\"2026-03-01T00:00Z\"'"), "grants part 10 at ", ()),
            (
                LAST_OF_YEAR, data("grant,cost,amount", "'\"0.583333333\"'"),
                "grants 0.833333337 at a cost of 0.583333333 as part 11, which has 0.833333337 at 0.583333337",
                ("rollovers",),
            ),
            (PART, "cause = 'ISSUED'", "grants part 10 as ISSUED, SUBSCRIPTION", ()),
            (PART, "grant_type = 'PAID'", "grants part 10 as SCHEDULED, PAID", ()),
        ]
    ),
    Fault(
        "schedules", "events", PART, change(without("grant,scheduled")),
        "'schedule ' || (SELECT stream_id FROM events WHERE position = {row}) || ' has neither a plan nor a part'",
        ("claims",),
    ),
    Fault(
        "schedules", "events", PART, change(data("grant,scheduled,schedule_id", f"to_jsonb({MISSING}::text)")),
        f"{AT} || 'schedule ' || {MISSING} || ' grants part 10, but it was not defined before'", ("claims",),
    ),
    Fault(
        "schedules", "events", PLAN, change(data("plan,amount", "'\"12\"'")),
        "'grants 0.833333333 at a cost of 0.583333333 as part 10, which has 1.000000000 at 0.583333333'",
    ),
    Fault(
        "schedules", "events", COMING, change(data("plan,first_part", "'99'")),
        "'grants part 0, where part 99 should be'", ("open-lots",),
    ),
    Fault(
        "schedules", "events", ENDED, change(data("plan,anchor_at", "'\"2026-02-01T00:00Z\"'")),
        "'grants part 0, which begins only at ' || '2026-02-01T00:00Z'::timestamptz",
    ),
    Fault(
        "schedules", "events", COMING, change(data("plan,ended_at", "'\"2026-02-01T00:00Z\"'")),
        "'schedule ' || (SELECT stream_id FROM events WHERE position = {row}) || ' goes on, though it has ended'",
        ("open-lots",),
    ),
    *(
        Fault("rollovers", "events", where, change(*to), named, also)
        for where, to, named, also in [
            (OUT, ["data = data - 'rolled_over_to'"], f"{GRANT} || ' rolls over to none, which came of no'", ()),
            (
                OUT, [data("rolled_over_to", f"to_jsonb({MISSING}::text)")],
                f"{GRANT} || ' rolls over to grant ' || {MISSING} || ', which came of no rollover'", (),
            ),
            (
                OUT, ["cause = 'LAPSED'", "data = data - 'rolled_over_to'"],
                "' carries on grant ' || (SELECT stream_id FROM events WHERE position = {row}) || ', of which'", (),
            ),
            (INTO, [without("grant,rolled_over_from")], "'carries on none, but it was grant '", ("claims",)),
            (
                INTO, [data("grant,rolled_over_from,grant_id", f"to_jsonb({MISSING}::text)")],
                f"{GRANT} || ' carries on grant ' || {MISSING} || ', but it was grant '", ("claims",),
            ),
            (INTO, ["cause = 'ISSUED'", without("grant,rolled_over_from")], "', which came of no roll'", ("claims",)),
            (
                REST, ["cause = 'ROLLED_OVER'", "data = data || (SELECT data FROM events WHERE position = {row} - 2)"],
                f"{GRANT} || ' rolls over once more'", (),
            ),
            (OUT, ["effective_at = effective_at + interval '1 second'"], f"{GRANT} || ' rolls over '", ()),
            (OUT, ["amount = amount - 0.000000001"], f"{GRANT} || ' rolls over '", ("lot-law", "pool-law")),
            (OUT, [f"transaction_id = {MISSING}"], "', in another transaction'", ("transactions",)),
            (INTO, ["currency = 'else'"], "' rolls over into another pool'", ("open-lots", "pool-law")),
            (OUT, ["cause = 'LAPSED'"], "' rolls over as LAPSED, SUBSCRIPTION, to ROLLED_OVER, ROLLOVER'", ()),
            (OUT, ["grant_type = 'ROLLOVER'"], "' rolls over as ROLLED_OVER, ROLLOVER, to ROLLED_OVER, ROLLOVER'", ()),
            (INTO, ["cause = 'ISSUED'"], "' rolls over as ROLLED_OVER, SUBSCRIPTION, to ISSUED, ROLLOVER'", ()),
            (INTO, ["grant_type = 'PAID'"], "' rolls over as ROLLED_OVER, SUBSCRIPTION, to ROLLED_OVER, PAID'", ()),
            *(  # the half of 1.5 goes to 2, that of 4.5 to 4
                (
                    TIED_SHARE, [data("grant,cost,amount", f"'\"0.00000000{wrong}\"'")],
                    f"{GRANT} || ' carries on a cost of 0.00000000{wrong} USD, but its share of that of grant '", (),
                )
                for wrong in (1, 3)
            ),
            (INTO, [data("grant,cost,currency", "'\"EUR\"'")], f"{GRANT} || ' carries on a cost of 0.350000000 E'", ()),
            (INTO, [without("grant,cost")], f"{GRANT} || ' carries on a cost of , but its share of that of'", ()),
            (
                TIED_ORIGIN, [data("grant,cost,amount", "'\"0.000000008\"'")],
                "stream_id || ' is 0.000000004 USD' FROM events WHERE position = {row}", ("schedules",),
            ),
            (
                OUT, ["terms_version = 99"], "stream_id || ' is unknown' FROM events WHERE position = {row}",
                ("lot-law",),
            ),
            (
                CARRIED_WHOLE, ["lot_granted = 0"], "stream_id || ' is unknown' FROM events WHERE position = {row}",
                ("lot-law",),
            ),
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.check}-{place}" for place, fault in enumerate(FAULTS)])
def test_a_fault_in_the_log_is_found_and_named(lived: Database, fault: Fault) -> None:
    fault.is_found_in(lived)
