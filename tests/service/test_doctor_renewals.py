"""Every fault in the definitions and periods of execution credits is found and named; a log without one is healthy."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import permutations, product
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from ledger.application import BlockingLedger, CreditLedger
from ledger.domain.instants import Instant
from ledger.domain.values import Kind, RollupType
from ledger.store.clock import settable_clock
from ledger.store.database import Database, Role
from ledger.store.migrate import migrate
from ledger.store.sql import statement
from service.doctor import WHOLE
from tests.conftest import START, Hands, drop
from tests.history import Play
from tests.projections.test_execution_credits import histories
from tests.projections.test_large_windows import read_again
from tests.service.test_doctor import Fault, asked, harmed, sick
from tests.service.test_doctor_log import data, without

MONTHLY, QUARTERLY, YEARLY, ADDON = (
    RollupType.MONTHLY, RollupType.QUARTERLY, RollupType.YEARLY, RollupType.ADDON,
)  # fmt: skip
RENEWING = [rollup for rollup in RollupType if rollup is not ADDON]


@contextmanager
def a_ledger(server_dsn: str) -> Iterator[tuple[Database, BlockingLedger, Hands]]:
    database = Database(server_dsn, f"t_{secrets.token_hex(6)}")
    migrate(database)
    try:
        with CreditLedger(database, clock=settable_clock()) as ledger:
            yield database, BlockingLedger(ledger), Hands(database)
    finally:
        drop(database)


def opened(books: BlockingLedger, company: str, rollup: RollupType, anchor: Instant | None = None) -> str:
    return books.open_execution_credit(
        company=company, credit_type="DAST", credits=10, rollup_type=rollup, period_anchor=anchor
    ).stream_id


def debit(books: BlockingLedger, company: str, amount: int) -> str:
    return books.consume(holder=company, currency="DAST", amount=amount, kind=Kind.EXECUTION_CREDIT).transaction_id


@pytest.fixture(scope="module")
def lived(server_dsn: str) -> Iterator[Database]:
    """Of each of four companies a credit: plain, turning, deleted and an ADDON; a test that harms them heals them."""
    with a_ledger(server_dsn) as (database, books, hands):
        plain, turning = opened(books, "plain", MONTHLY), opened(books, "turning", MONTHLY)
        gone, addon = opened(books, "gone", MONTHLY), opened(books, "addon", ADDON)
        for company in ("plain", "gone", "addon"):
            debit(books, company, 3)
        for credit in (plain, addon):
            books.update_execution_credit(credit=credit, credits=20)
        books.update_execution_credit(credit=turning, rollup_type=QUARTERLY)
        books.delete_execution_credit(credit=gone)
        hands.set(START + timedelta(days=40))
        books.settle_due()
        debit(books, "plain", 4)
        books.update_execution_credit(credit=plain, credits=6)
        hands.set(START + timedelta(days=80))
        books.settle_due()
        yield database
        assert sick(database) == {}


def defined(company: str, number: int) -> str:
    definitions = f"movements WHERE definition IS NOT NULL AND holder = '{company}'"
    return f"position FROM {definitions} ORDER BY version OFFSET {number}"


def granted(company: str, number: int) -> str:
    causes = "cause IN ('ISSUED', 'RENEWED')"
    return f"position FROM movements WHERE {causes} AND holder = '{company}' ORDER BY version OFFSET {number}"


def at(place: str, *changes: str) -> str:
    return f"UPDATE events SET {', '.join(changes)} WHERE position = {{row}}{place}; "


def before(*changes: str) -> str:
    """Change the credit's definition before the row."""
    whose = "(SELECT stream_id FROM events WHERE position = {row})"
    last = f"SELECT max(position) FROM events WHERE lot IS NULL AND stream_id = {whose} AND position < {{row}}"
    return f"UPDATE events SET {', '.join(changes)} WHERE position = ({last})"


def throughout(path: str, value: str) -> str:
    """Change what every definition of the credit says."""
    whose = "(SELECT stream_id FROM events WHERE position = {row})"
    return f"UPDATE events SET {data(path, value)} WHERE lot IS NULL AND stream_id = {whose}"


JUNE = "'\"2026-06-01T00:00:00Z\"'"
DEFINITIONS = [
    (granted("plain", 0), at(" - 1", "kind = 'CREDIT_GRANT'"), "is granted something before it was defined", ()),
    (defined("plain", 1), at("", "holder = 'else'"), "has another pool than at first", ()),
    (granted("plain", 0), before(data("deleted_at", JUNE)), "goes on, though it is deleted", ()),
    *(
        (defined("plain", 1), at("", data(path, value)), "has another type, anchor or creation than at first", ())
        for path, value in [("credit_type", "'\"AI_PENTEST\"'"), ("anchor_at", JUNE), ("created_at", JUNE)]
    ),
    (
        defined("plain", 0), throughout("credit_type", "'\"AI_PENTEST\"'"),
        "has another type, anchor or creation than at first", ("claims",),
    ),
    (
        defined("plain", 0), throughout("anchor_at", JUNE),
        "is anchored at 2026-06-01 00:00:00+00, but it was created at 2026-01-31 12:00:00+00", (),
    ),
    (defined("addon", 0), at(" + 1", "cause = 'RESIZED'"), "is defined, but not issued", ()),
    *(
        (defined(company, number), at("", harm), f"is {said} on, which should be {due}", ())
        for company, number, harm, said, due in [
            ("plain", 0, data("first_month", "'1'"), "MONTHLY from month 1", "MONTHLY from month 0"),
            ("plain", 1, data("first_month", "'1'"), "MONTHLY from month 1", "MONTHLY from month 0"),
            ("plain", 1, data("rollup_type", "'\"YEARLY\"'"), "YEARLY from month 0", "MONTHLY from month 0"),
            ("plain", 1, data("rollup_type", "'\"ADDON\"'"), "ADDON from month 0", "MONTHLY from month 0"),
            ("turning", 1, data("rollup_type", "'\"YEARLY\"'"), "YEARLY from month 0", "MONTHLY from month 0"),
            ("turning", 2, data("rollup_type", "'\"MONTHLY\"'"), "MONTHLY from month 1", "QUARTERLY from month 1"),
            ("turning", 2, data("first_month", "'3'"), "QUARTERLY from month 3", "QUARTERLY from month 1"),
            ("turning", 2, without("first_month"), "QUARTERLY from month 0", "QUARTERLY from month 1"),
        ]
    ),
    *(
        (defined(company, number), at("", data("next_rollup_type", f"'\"{to}\"'")), f"is to turn from {what}", ())
        for company, number, to, what in [
            ("turning", 1, "MONTHLY", "MONTHLY to MONTHLY"),
            ("turning", 1, "ADDON", "MONTHLY to ADDON"),
            ("turning", 2, "QUARTERLY", "QUARTERLY to QUARTERLY"),
            ("addon", 1, "MONTHLY", "ADDON to MONTHLY"),
            ("addon", 1, "ADDON", "ADDON to ADDON"),
        ]
    ),
    *(
        (
            defined(company, number), at("", data(path, value)),
            f"has {left} left of its period, of which {due} should be", also,
        )
        for company, number, path, value, left, due, also in [
            ("plain", 1, "credits", "'\"21\"'", "17.000000000", "18.000000000", ()),
            ("plain", 2, "credits", "'\"7\"'", "2.000000000", "3.000000000", ()),
            ("turning", 2, "credits", "'\"9\"'", "10.000000000", "9.000000000", ()),
            ("gone", 1, "deleted_at", "'null'", "0.000000000", "7.000000000", ("open-lots", "claims")),
            ("addon", 1, "deleted_at", JUNE, "17.000000000", "0", ("open-lots", "claims")),
        ]
    ),
]  # fmt: skip
FEB, MARCH, MAY = "2026-02-28 12:00:00+00", "2026-03-31 12:00:00+00", "2026-05-31 12:00:00+00"
ISSUE = "begins at {}, but it was created at 2026-01-31 12:00:00+00"
RENEWAL = "is renewed at {} from {}, but its period before ended at {}"
LASTS = "has a period from {} to {}, which should last to {}"
LATER = "2026-03-15 00:00:00+00"
END_LATER = data("terms,expires_at", f"'\"{LATER}\"'")
BEGIN_LATER = data("terms,effective_at", f"'\"{LATER}\"'")
PERIODS = [
    (granted("plain", 1), at("", "cause = 'ISSUED'"), "is issued twice", ()),
    (
        granted("plain", 0), before(data("credits", "'\"11\"'")),
        "is granted 10.000000000 for a period, which has 11", (),
    ),
    (granted("plain", 0), at("", BEGIN_LATER), ISSUE.format(LATER), ()),
    (granted("plain", 0), at("", f"effective_at = '{LATER}'"), ISSUE.format("2026-01-31 12:00:00+00"), ()),
    (granted("plain", 1), at("", BEGIN_LATER), RENEWAL.format(FEB, LATER, FEB), ()),
    (granted("plain", 1), at("", f"effective_at = '{LATER}'"), RENEWAL.format(LATER, FEB, FEB), ()),
    (
        granted("plain", 1), at(" - 1", "amount = amount + 1", "lot_balance = 1", "pool_balance = pool_balance + 1"),
        "is renewed, though 1.000000000 are left of its period before", ("pool-law",),
    ),
    (
        granted("plain", 1), at("", "recorded_at = '2026-02-28 11:59:59.999999Z'"),
        f"has a period that begins only at {FEB}", ("positions",),
    ),
    (granted("plain", 0), at("", END_LATER), LASTS.format("2026-01-31 12:00:00+00", LATER, FEB), ()),
    (granted("plain", 1), at("", END_LATER), LASTS.format(FEB, LATER, MARCH), ()),
    (granted("turning", 1), at("", END_LATER), LASTS.format(FEB, LATER, MAY), ("open-lots",)),
    (
        granted("addon", 0), at("", END_LATER), LASTS.format("2026-01-31 12:00:00+00", LATER, "no instant"), (),
    ),
    (
        granted("plain", 1), at("", data("terms,expires_at", "'null'")),
        f"has a period from {FEB} without an end, which should last to {MARCH}", (),
    ),
    (
        granted("turning", 1), at(" + 1", "kind = 'CREDIT_GRANT'"), "is renewed as QUARTERLY, but not defined so", (),
    ),
]  # fmt: skip
CREDIT = "(SELECT 'at position {row} execution credit ' || stream_id FROM events WHERE position = {row})"
FAULTS = [
    Fault("renewals", "events", row, harm, f"{CREDIT} || ' {said}'", also)
    for row, harm, said, also in (*DEFINITIONS, *PERIODS)
]


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{place}" for place in range(len(FAULTS))])
def test_a_fault_in_the_renewals_is_found_and_named(lived: Database, fault: Fault) -> None:
    fault.is_found_in(lived)


def moved_before_its_movement(row: int) -> str:
    """Let the definition at this position and the movement before it change places, as they stood in older logs."""
    return (
        f"UPDATE events SET position = -position, version = -version WHERE position IN ({row}, {row} - 1);"
        f" UPDATE events SET position = CASE WHEN lot IS NULL THEN {row} - 1 ELSE {row} END,"
        " version = CASE WHEN lot IS NULL THEN -version - 1 ELSE -version + 1 END WHERE position < 0;"
        " UPDATE events AS later SET terms_version = moved.version FROM events AS moved"
        f" WHERE moved.position = {row} AND moved.type = 'ledger.granted' AND later.lot = moved.lot"
        " AND later.version >= moved.version"
    )


@pytest.mark.parametrize(
    ("company", "number", "path", "value", "left", "due"),
    [
        ("plain", 1, "credits",    "'\"21\"'", "17.000000000", "18.000000000"),
        ("plain", 2, "credits",    "'\"7\"'",  "2.000000000",  "3.000000000"),
        ("gone",  1, "deleted_at", "'null'",   "0.000000000",  "7.000000000"),
    ],
)  # fmt: skip
def test_definitions_before_their_movements_are_healthy_and_their_faults_are_found(
    lived: Database, company: str, number: int, path: str, value: str, left: str, due: str
) -> None:
    row = int(asked(lived, f"SELECT {defined(company, number)}"))
    with harmed(lived, "events", moved_before_its_movement(row)):
        assert asked(lived, f"SELECT {defined(company, number)}") == str(row - 1)
        assert set(sick(lived)) <= {"open-lots"}  # which tells where the definition in force stands
        with harmed(lived, "events", at(" - 1", data(path, value)).format(row=row)):
            assert f"has {left} left of its period, of which {due} should be" in sick(lived)["renewals"]


ANCHORS = [
    None,
    *(datetime(2026, 1, day, hour, tzinfo=UTC) for day, hour in [(29, 12), (30, 12), (31, 0), (31, 12)]),
    *(datetime(year, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC) for year in (1996, 2024)),
    datetime(2000, 12, 31, tzinfo=UTC),
    datetime(2025, 8, 31, 18, tzinfo=UTC),
]


def test_credits_of_every_cycle_and_anchor_are_healthy_however_long_nobody_looks(server_dsn: str) -> None:
    with a_ledger(server_dsn) as (database, books, hands):
        for (place, anchor), rollup in product(enumerate(ANCHORS), RollupType):
            opened(books, f"{rollup} {place}", rollup, anchor)
        for days in (30, 60, 61, 334, 335, 1200):
            hands.set(START + timedelta(days=days))
            for rollup in RollupType:
                debit(books, f"{rollup} {days % len(ANCHORS)}", 1)
            assert sick(database) == {}
        books.settle_due()
        assert sick(database) == {}


THEN = ("on", "back", "away", "again")


def test_credits_that_turn_turn_back_and_are_deleted_are_healthy(server_dsn: str) -> None:
    with a_ledger(server_dsn) as (database, books, hands):
        turning: dict[tuple[RollupType, RollupType], list[str]] = {
            pair: [
                opened(books, f"{pair[0]} to {pair[1]}, {then}", pair[0]) for then in ("on", "back", "away", "again")
            ]
            for pair in permutations(RENEWING, 2)
        }
        debits = turn_all(books, turning)
        assert sick(database) == {}
        hands.set(START + timedelta(days=400))
        for former_debit, ((former, coming), (on, _, _, again)) in zip(debits, turning.items(), strict=True):
            debit(books, f"{former} to {coming}, again", 2)
            books.update_execution_credit(credit=again, rollup_type=former)
            books.refund(transaction_id=former_debit, amount=1, kind=Kind.EXECUTION_CREDIT)
            books.update_execution_credit(credit=on, rollup_type=former)
            books.update_execution_credit(credit=on, credits=3)
        assert sick(database) == {}
        for days in (800, 1500):
            hands.set(START + timedelta(days=days))
            books.settle_due()
            assert sick(database) == {}


def turn_all(books: BlockingLedger, turning: Mapping[tuple[RollupType, RollupType], list[str]]) -> list[str]:
    """Each is to turn; one of them then takes it back, and one is deleted before it does; answers their debits."""
    debits: list[str] = []
    for (former, coming), (on, back, away, again) in turning.items():
        debits.append(debit(books, f"{former} to {coming}, on", 4))
        for credit in (on, back, away):
            books.update_execution_credit(credit=credit, rollup_type=coming)
        books.update_execution_credit(credit=again, rollup_type=coming, credits=20)
        books.update_execution_credit(credit=back, rollup_type=former)
        books.delete_execution_credit(credit=away)
        books.refund(transaction_id=debits[-1], amount=1, kind=Kind.EXECUTION_CREDIT)
    return debits


def test_a_period_that_would_end_beyond_the_calendar_is_healthy_without_an_end(server_dsn: str) -> None:
    with a_ledger(server_dsn) as (database, books, hands):
        hands.set(datetime(9998, 12, 30, tzinfo=UTC))
        made = [opened(books, rollup, rollup, datetime(9996, 2, 29, tzinfo=UTC)) for rollup in RollupType]
        books.update_execution_credit(credit=made[0], rollup_type=YEARLY)
        for instant in (datetime(9999, 6, 30, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)):
            hands.set(instant)
            books.settle_due()
            assert sick(database) == {}
        endless = "SELECT count(DISTINCT stream_id) FROM movements WHERE lot IS NOT NULL AND lot_expires_at IS NULL"
        assert asked(database, endless) == str(len(RollupType))


def test_a_log_without_statistics_is_not_read_once_for_each_definition(database: Database) -> None:
    """As after a restore, when the doctor is asked first of all."""
    with database.connect(Role.READER, **WHOLE) as connection:
        check = statement("service", "queries/doctor/renewals.sql")
        explained: Any = connection.execute("EXPLAIN (FORMAT JSON) " + check).fetchone()
    assert read_again(explained["QUERY PLAN"]) == []


@settings(max_examples=4, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=histories)
def test_random_histories_of_execution_credits_are_healthy_at_every_stop(server_dsn: str, acts: list[Any]) -> None:
    with a_ledger(server_dsn) as (database, books, hands):
        play = Play(books, hands)
        for first in range(0, len(acts), 20):
            play.all(acts[first : first + 20])
            assert sick(database) == {}
